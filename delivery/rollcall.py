"""Which edges have told that they hold the version that was published last, and what the others miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_EDGES = 4096
"""Names remembered; reports of further ones are answered but not noted."""


MAX_LISTENING_S = 3600


class ReportError(ValueError):
    """A report that does not follow docs/architecture.md; the message says how."""


@dataclass(frozen=True, slots=True)
class Report:
    """One edge's report: `missing` maps TOI to symbols."""

    edge: str
    version: int
    complete: bool
    missing: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """What an edge said last, at `heard_at_s` of the clock that `RollCall` is used with."""

    version: int
    complete: bool
    missing_symbols: int
    heard_at_s: float


@dataclass(frozen=True, slots=True)
class Listener:
    """An edge that listens to a session for the next `listening_s` seconds; 0: it has left."""

    edge: str
    listening_s: float


def parse_listener(document: Any) -> Listener:
    """Check a decoded JSON message of a listener. Raises ReportError."""
    if not isinstance(document, dict):
        raise ReportError("a listener is a JSON object")
    listening_s = document.get("listening_s")
    if not isinstance(listening_s, int | float) or not 0 <= listening_s <= MAX_LISTENING_S:
        raise ReportError(f"listening_s: seconds from 0 to {MAX_LISTENING_S}")
    return Listener(_edge_name(document), float(listening_s))


def _edge_name(document: dict[str, Any]) -> str:
    edge = document.get("edge")
    if not isinstance(edge, str) or not 0 < len(edge) <= 255 or not edge.isprintable():
        raise ReportError("edge: a name is missing")
    return edge


def parse_report(document: Any) -> Report:
    """Check a decoded JSON report. Raises ReportError."""
    if not isinstance(document, dict):
        raise ReportError("a report is a JSON object")
    edge, version = _edge_name(document), document.get("version")
    complete, missing = document.get("complete"), document.get("missing", {})
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


class RollCall:
    """Waits for the edges in `names`, or for any `count` of them, to complete the version that began last."""

    def __init__(self, names: tuple[str, ...] = (), count: int = 0) -> None:
        self.version = 0
        self.standings: dict[str, Standing] = {}
        """Every edge that reported."""
        self.completed_s: dict[str, float] = {}
        """The edges that hold the version, with the seconds it took from `begin` until they said so."""
        self._names, self._count = names, count
        self._began_at = 0.0

    def begin(self, version: int, now: float) -> None:
        """From now on `version` counts."""
        self.version, self._began_at = version, now
        self.completed_s = {}

    def note(self, report: Report, now: float) -> bool:
        """Take a report; whether it was the first to say that its edge is complete."""
        if report.edge not in self.standings and len(self.standings) >= MAX_EDGES:
            return False
        self.standings[report.edge] = Standing(
            report.version, report.complete, sum(report.missing.values()), now
        )
        is_new = report.complete and report.version == self.version and report.edge not in self.completed_s
        if is_new:
            self.completed_s[report.edge] = now - self._began_at
        return is_new

    @property
    def expected(self) -> int:
        """How many edges are waited for."""
        return len(self._names) or self._count

    @property
    def is_complete(self) -> bool:
        """Whether nobody is waited for any more."""
        if self._names:
            return all(name in self.completed_s for name in self._names)
        return len(self.completed_s) >= self._count

    @property
    def missing(self) -> tuple[str, ...]:
        """Those still waited for; when only a number was given, the incomplete edges that were heard of."""
        names = self._names or tuple(sorted(self.standings))
        return tuple(name for name in names if name not in self.completed_s)

    @property
    def behind(self) -> tuple[str, ...]:
        """Every edge, expected or heard of, that has not told that it holds the version."""
        names = dict.fromkeys((*self._names, *sorted(self.standings)))
        return tuple(name for name in names if name not in self.completed_s)

    def shortfall(self) -> str:
        """Who did not complete, in words."""
        done = len(self.completed_s)
        if self._names:
            done = sum(name in self.completed_s for name in self._names)
        parts = [f"{done} of {self.expected} edges complete"]
        parts += [
            f"{name} misses {self.standings[name].missing_symbols} symbols"
            if name in self.standings
            else f"{name} was not heard of"
            for name in self.missing
        ]
        return "; ".join(parts)

    def status(self, now: float) -> dict[str, dict[str, Any]]:
        """Every edge expected or heard of, as plain data: `version`, `complete` (it holds the newest one),
        `missing_symbols`, `heard_s_ago`, `completed_s`; the last three are None when unknown."""
        rows: dict[str, dict[str, Any]] = {}
        for name in dict.fromkeys((*self._names, *sorted(self.standings))):
            standing = self.standings.get(name)
            completed_s = self.completed_s.get(name)
            rows[name] = {
                "version": standing.version if standing else 0,
                "complete": completed_s is not None,
                "missing_symbols": standing.missing_symbols if standing else None,
                "heard_s_ago": round(now - standing.heard_at_s, 3) if standing else None,
                "completed_s": None if completed_s is None else round(completed_s, 6),
            }
        return rows
