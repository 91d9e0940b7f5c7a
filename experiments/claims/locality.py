"""C4: what users upload stays at their edge until another edge asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from experiments.claims.model import Claim, Evidence, compared
from experiments.locality import ITEM_BYTES
from experiments.records import Request, ScenarioRecords
from experiments.statistics import significant
from experiments.stream_loads import (
    backbone_directions,
    busiest_backbone,
    bytes_by_direction,
    chosen,
    phases_of,
)

UNASKED = ("unasked", "forgotten")
PUSHED_LIMIT = 1.15
LIMITS = {"too-large": 413, "too-much": 429, "again": 201}
"""What uploads beyond the limits are answered, and one after the time that the edge has asked for."""
SOURCES = tuple(
    f"raw/{name}/{file}" for file in ("streams.csv", "requests.csv") for name in ("edge", "central")
)
REQUESTS = ("raw/edge/requests.csv", "raw/central/requests.csv")


def local_content(evidence: Evidence) -> list[Claim]:
    """All claims about local content, in the order of the table."""
    return [
        _unasked(evidence),
        _pushed(evidence),
        _waiting(evidence, "neighbour", "a neighbour"),
        _waiting(evidence, "asking", "the first user of another edge"),
        _waiting(evidence, "subscribed", "a user of an edge that has subscribed"),
        _limits(evidence),
    ]


def _rows(records: ScenarioRecords | None, *steps: str) -> list[Request]:
    return [row for row in (records.requests if records else ()) if row.window in steps]


def _between_switches(records: ScenarioRecords | None, phases: Collection[str]) -> int | None:
    """Bytes of local content on the backbone; None when nobody looked or frames were lost."""
    spans = [span for name, span in phases_of(records).items() if name in phases]
    if records is None or not spans or any(span.lost for span in spans):
        return None
    found = bytes_by_direction(chosen(records, phases))
    return sum(found.get(way, 0) for way in backbone_directions(records.topology))


def _failures(rows: Sequence[Request]) -> tuple[str, ...]:
    return tuple(
        f"{row.user} at {row.started_s:.3f} s: {row.path}: {row.error or row.status}"
        for row in rows
        if not row.ok
    )


def _unasked(evidence: Evidence) -> Claim:
    records = evidence.get("edge")
    value, central = (_between_switches(evidence.get(name), UNASKED) for name in ("edge", "central"))
    rows = _rows(records, "upload", "neighbour")
    claim = Claim(
        "C4",
        "bytes of local content on the backbone that no other edge has asked for",
        value,
        "bytes",
        rule="none, and neighbours read all of it",
        holds=value == 0 and bool(central) and bool(rows) and all(row.ok for row in rows),
        notes=_failures(rows)[:5],
        source=SOURCES,
    )
    return compared(claim, central, "central cloud")


def _pushed(evidence: Evidence) -> Claim:
    records, central = evidence.get("edge"), evidence.get("central")
    # With three edges that have users there is a second one to subscribe.
    phase = "both" if "both" in phases_of(records) else "subscribed"
    copies = [
        None if found is None else significant(found / ITEM_BYTES, 6)
        for found in (busiest_backbone(each, chosen(each, (phase,))) for each in (records, central))
    ]
    rows = _rows(records, "subscribed")
    edges = sorted({row.edge for row in rows})
    claim = Claim(
        "C4",
        "most-loaded backbone link, upload for edges that have subscribed",
        copies[0],
        "bytes / size",
        rule=f"at most {PUSHED_LIMIT:g}, and everybody there has all of it",
        holds=copies[0] is not None
        and 1 <= copies[0] <= PUSHED_LIMIT
        and bool(rows)
        and all(row.ok for row in rows),
        notes=(f"subscribed: {', '.join(edges)}", *_failures(rows)[:5]),
        source=SOURCES,
    )
    return compared(claim, copies[1], "central cloud")


def _slowest_ms(rows: Sequence[Request]) -> float | None:
    return significant(max(row.total_s for row in rows) * 1000, 6) if rows else None


def _waiting(evidence: Evidence, step: str, who: str) -> Claim:
    rows, central = (_rows(evidence.get(name), step) for name in ("edge", "central"))
    claim = Claim(
        "C4",
        f"reading an upload, {who}, slowest",
        _slowest_ms(rows),
        "ms",
        rule="sooner than in the central cloud, all of it, at the first try",
        holds=False,
        notes=_failures(rows)[:5],
        source=REQUESTS,
    )
    claim = compared(claim, _slowest_ms(central), "central cloud")
    is_whole = bool(rows) and all(row.ok for row in rows)
    return replace(claim, holds=is_whole and claim.ratio is not None and claim.ratio < 1)


def _limits(evidence: Evidence) -> Claim:
    rows = _rows(evidence.get("edge"), *LIMITS)
    right = [row for row in rows if row.status == LIMITS[row.window]]
    seen = {row.window for row in rows}
    return Claim(
        "C4",
        "uploads at the limits that are answered as they should",
        len(right) if rows else None,
        "uploads",
        rule="413 for one that is too large, 429 for too much at once, 201 after waiting",
        holds=seen == LIMITS.keys() and len(right) == len(rows),
        total=len(rows),
        notes=tuple(f"{row.window}: {row.status or row.error}" for row in rows),
        source=("raw/edge/requests.csv",),
    )
