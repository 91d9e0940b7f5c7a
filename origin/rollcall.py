"""Which edges have told that they hold the version that was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ReportError(ValueError):
    """A report that does not follow docs/architecture.md; the message says how."""


@dataclass(frozen=True, slots=True)
class Report:
    """One edge's report: `missing` maps TOI to symbols."""

    edge: str
    version: int
    complete: bool
    missing: Mapping[int, int]


def parse_report(document: Any) -> Report:
    """Check a decoded JSON report. Raises ReportError."""
    if not isinstance(document, dict):
        raise ReportError("a report is a JSON object")
    edge, version = document.get("edge"), document.get("version")
    complete, missing = document.get("complete"), document.get("missing", {})
    if not isinstance(edge, str) or not 0 < len(edge) <= 255 or not edge.isprintable():
        raise ReportError("edge: a name is missing")
    if type(version) is not int or version < 0 or not isinstance(complete, bool):
        raise ReportError("version: an integer, complete: true or false")
    if not isinstance(missing, dict) or len(missing) > 100_000:
        raise ReportError("missing: an object of TOI to symbols")
    counts = {}
    for toi, symbols in missing.items():
        if (
            not (toi.isascii() and toi.isdecimal() and len(toi) < 16)
            or type(symbols) is not int
            or symbols < 1
        ):
            raise ReportError(f"missing: {toi[:40]!r}: {symbols!r} is no TOI with a number of symbols")
        counts[int(toi)] = symbols
    return Report(edge, version, complete, counts)


@dataclass
class RollCall:
    """Waits for the edges in `names`, or for any `count` of them, to complete `version`."""

    version: int
    names: tuple[str, ...] = ()
    count: int = 0
    completed_s: dict[str, float] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    """Every edge that reported, with the symbols it missed when it last said."""

    def note(self, report: Report, elapsed_s: float) -> None:
        """Take a report that came `elapsed_s` after the publication began."""
        self.heard[report.edge] = sum(report.missing.values())
        if report.complete and report.version == self.version:
            self.completed_s.setdefault(report.edge, elapsed_s)

    @property
    def is_complete(self) -> bool:
        """Whether nobody is waited for any more."""
        if self.names:
            return all(name in self.completed_s for name in self.names)
        return len(self.completed_s) >= self.count

    @property
    def missing(self) -> tuple[str, ...]:
        """Those still waited for; when only a number was given, the incomplete edges that were heard of."""
        names = self.names or tuple(sorted(self.heard))
        return tuple(name for name in names if name not in self.completed_s)

    def shortfall(self) -> str:
        """Who did not complete, in words."""
        expected = len(self.names) or self.count
        done = sum(name in self.completed_s for name in self.names) if self.names else len(self.completed_s)
        parts = [f"{done} of {expected} edges complete"]
        parts += [
            f"{name} misses {self.heard[name]} symbols" if name in self.heard else f"{name} was not heard of"
            for name in self.missing
        ]
        return "; ".join(parts)
