"""C1: a user reaches the service within the access layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from experiments.claims.model import Claim, Evidence, compared
from experiments.loads import page_load_times
from experiments.records import ScenarioRecords, Transfer
from experiments.statistics import median, percentile, significant

ROUND_TRIP_TOLERANCE = 0.005
"""How far a measured round trip may be from the configured one under the virtual clock."""
_TTFB = "median time to first byte"
_PAGE = "95th percentile page load"


def first_bytes_ms(transfers: Sequence[Transfer]) -> list[float]:
    """Time to first byte of every page (curl's time_starttransfer: name look-up and connect included)."""
    return [row.ttfb_s * 1000 for row in transfers if row.kind == "page" and row.ok]


def page_loads_ms(transfers: Sequence[Transfer]) -> list[float]:
    """Page load times in milliseconds."""
    return [seconds * 1000 for seconds in page_load_times(transfers)]


def against_central(evidence: Evidence) -> list[Claim]:
    """Median time to first byte and 95th percentile page load, edges against the central cloud."""
    return [
        _compare(evidence, _TTFB, first_bytes_ms, median),
        _compare(evidence, _PAGE, page_loads_ms, lambda values: percentile(values, 95)),
    ]


def _compare(
    evidence: Evidence,
    statement: str,
    measure: Callable[[Sequence[Transfer]], list[float]],
    reduce: Callable[[Sequence[float]], float],
) -> Claim:
    notes: list[str] = []
    values: dict[str, float | None] = {}
    for name in ("edge", "central"):
        scenario = evidence.get(name)
        found = measure(scenario.transfers) if scenario else []
        values[name] = significant(reduce(found), 9) if found else None
        notes += _troubles(name, scenario)
    claim = Claim(
        "C1",
        statement,
        values["edge"],
        "ms",
        rule="lower than at the central cloud (ratio < 1), every transfer answered",
        holds=False,
        notes=tuple(notes),
        source=("raw/edge/transfers.csv", "raw/central/transfers.csv"),
    )
    claim = compared(claim, values["central"], "central")
    return replace(claim, holds=claim.ratio is not None and claim.ratio < 1 and not notes)


def _troubles(name: str, scenario: ScenarioRecords | None) -> list[str]:
    if scenario is None or not scenario.transfers:
        return [f"no transfers in raw/{name}/transfers.csv"]
    failed = sum(not row.ok for row in scenario.transfers)
    return [f"{failed} of {len(scenario.transfers)} transfers failed in {name}"] if failed else []


def as_configured(evidence: Evidence) -> list[Claim]:
    """User-edge pairs whose measured round trip is the configured one, and the largest deviation."""
    scenario = evidence.get("paths")
    pairs = scenario.round_trips if scenario else ()
    good = sum(abs(pair.deviation) <= ROUND_TRIP_TOLERANCE for pair in pairs)
    largest = max((abs(pair.deviation) for pair in pairs), default=None)
    notes = () if pairs else ("no round trips in raw/paths/rtt.csv",)
    holds = bool(pairs) and good == len(pairs)
    source = ("raw/paths/rtt.csv",)
    percent = None if largest is None else significant(largest * 100, 9)
    return [
        Claim(
            "C1",
            "user-edge pairs with the configured round trip",
            good,
            "",
            rule="every pair within 0.5 %",
            holds=holds,
            total=len(pairs),
            notes=notes,
            source=source,
        ),
        Claim(
            "C1",
            "largest deviation of a round trip",
            percent,
            "%",
            rule="at most 0.5 %",
            holds=holds,
            notes=notes,
            source=source,
        ),
    ]
