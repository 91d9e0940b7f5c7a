"""The claims as a table for the terminal, and how numbers are written everywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.claims.model import Claim, Interval, Number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from experiments.summary import Summary


def number(value: Number | None) -> str:
    """A number for people: whole numbers in full with separators, others with three significant digits."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    # Three significant digits, trailing zeros kept so that a column reads evenly, and no exponent.
    decimals = 2 - math.floor(math.log10(abs(float(f"{value:.3g}"))))
    return f"{value:.{decimals}f}"


def measured(claim: Claim) -> str:
    """The claim's value, with what it is out of."""
    return f"{number(claim.value)}/{claim.total}" if claim.total is not None else number(claim.value)


def ratio(claim: Claim) -> str:
    """The ratio to the baseline, with its confidence interval."""
    if claim.ratio_interval is None:
        return number(claim.ratio)
    return f"{number(claim.ratio)} ({_bounds(claim.ratio_interval)})"


def intervals(claim: Claim) -> str:
    """The confidence intervals of value and baseline in words; empty when there are none."""
    known = ((claim.interval, "value"), (claim.baseline_interval, claim.baseline_name))
    parts = [f"{name} {_bounds(bounds)}" for bounds, name in known if bounds is not None]
    return f"95 % intervals: {', '.join(parts)}" if parts else ""


def _bounds(bounds: Interval) -> str:
    return " to ".join(number(bound) for bound in bounds)


def baseline(claim: Claim) -> str:
    """The baseline's value and name."""
    return "-" if claim.baseline is None else f"{number(claim.baseline)} {claim.baseline_name}"


def verdict(claim: Claim) -> str:
    """`yes` or `no`."""
    return "yes" if claim.holds else "no"


def render(summary: Summary) -> RenderableType:
    """The claims of a run, with the reasons when something does not hold, ready for a rich console."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_edge=False, header_style="bold")
    table.add_column("claim", overflow="fold")
    table.add_column("edge", justify="right", no_wrap=True)
    table.add_column("baseline", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("holds", no_wrap=True)
    for claim in summary.claims:
        style = "green" if claim.holds else "bold red"
        row = (
            claim.label,
            measured(claim),
            baseline(claim),
            ratio(claim),
            Text(verdict(claim), style),
        )
        table.add_row(*row)
    parts: list[RenderableType] = [table]
    reasons = [f"{claim.id}: {note}" for claim in summary.claims if not claim.holds for note in claim.notes]
    if summary.receipt.suspect:
        reasons = [f"suspect: {reason}" for reason in summary.receipt.reasons]
    parts += [Text(reason, style="red") for reason in dict.fromkeys(reasons)]
    return Group(*parts)
