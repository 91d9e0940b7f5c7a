"""C3: what the origin sends to bring content to all edges, and how soon the last one has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from experiments.cells import Method
from experiments.claims.model import Claim, Evidence, compared
from experiments.statistics import significant
from experiments.sync_records import SyncCell

LARGE_LIMIT = 1.05
LOSS_PERCENT, LOSSY_LIMIT, FLAT_LIMIT = 5.0, 1.12, 0.03
GOODPUT_SHARE, LOSSY_GOODPUT_SHARE = 0.92, 2 / 3
MANY_LIMIT, MANY_OBJECTS = 1.35, 10_000
LARGE_BYTES = 100_000_000
NAMES = {
    Method.MULTICAST: "multicast",
    Method.UFTP: "UFTP",
    Method.PUSH: "unicast push",
    Method.TUNNEL: "push through ESP tunnels",
    Method.RSYNC: "rsync",
    Method.PULL: "HTTP pull",
}
Wanted = Callable[[SyncCell], bool]


def all_cells(evidence: Evidence) -> list[SyncCell]:
    """The cells of all labs of the run."""
    return [cell for scenario in evidence.scenarios.values() for cell in scenario.cells]


def of_method(cells: Iterable[SyncCell], method: Method) -> list[SyncCell]:
    """The cells of one way of sync."""
    return [cell for cell in cells if cell.method == method]


def peer(cells: Iterable[SyncCell], cell: SyncCell, method: Method) -> SyncCell | None:
    """The cell of another method with the same edges, content and loss, if it came to its end."""
    key = (cell.edges, cell.content, cell.loss_percent)
    others = (other for other in of_method(cells, method) if other.is_whole)
    return next((o for o in others if (o.edges, o.content, o.loss_percent) == key), None)


def edges_text(count: int) -> str:
    """A number of edges in words."""
    return "1 edge" if count == 1 else f"{count} edges"


def synced(evidence: Evidence) -> list[Claim]:
    """Every C3 claim of the sweep."""
    cells = all_cells(evidence)
    ours = of_method(cells, Method.MULTICAST)
    source = tuple(f"raw/{name}/cells.csv" for name, scenario in evidence.scenarios.items() if scenario.cells)
    claims = [
        _largest(cells, ours),
        _lossy(cells, ours),
        _many(cells, ours),
        *_against_uftp(cells, ours),
        _goodput(evidence, cells, ours, 0.0, GOODPUT_SHARE),
        _goodput(evidence, cells, ours, LOSS_PERCENT, LOSSY_GOODPUT_SHARE),
        _identical(ours),
    ]
    return [replace(claim, source=source) for claim in claims]


def largest(cells: Sequence[SyncCell], loss_percent: float) -> SyncCell | None:
    """The cell with the most content of several sorts, at this loss."""
    found = [cell for cell in cells if cell.loss_percent == loss_percent and cell.content.startswith("mixed")]
    return max(found, key=lambda cell: (cell.content_bytes, cell.edges), default=None)


def _largest(cells: Sequence[SyncCell], ours: Sequence[SyncCell]) -> Claim:
    cell = largest(ours, 0.0)
    share = None if cell is None else significant(cell.busiest_share, 9)
    is_large = cell is not None and cell.content_bytes >= LARGE_BYTES
    notes = _described(cell)
    if cell is not None and not is_large:
        notes += (f"the largest content was {cell.content_bytes / 1e6:g} MB, not 100 MB",)
    claim = Claim(
        "C3",
        "most-loaded backbone link for 100 MB of mixed objects",
        share,
        "bytes / content size",
        rule=f"at most {LARGE_LIMIT:g} without loss, headers included, every edge bit-identical",
        holds=share is not None and share <= LARGE_LIMIT and is_large and cell is not None and cell.is_whole,
        notes=notes,
    )
    push = None if cell is None else peer(cells, cell, Method.PUSH)
    return compared(claim, None if push is None else significant(push.busiest_share, 9), NAMES[Method.PUSH])


def _lossy(cells: Sequence[SyncCell], ours: Sequence[SyncCell]) -> Claim:
    swept = [cell for cell in _swept(ours) if cell.loss_percent == LOSS_PERCENT]
    shares = {cell.edges: cell.origin_share for cell in swept}
    most, least = max(shares.values(), default=None), min(shares.values(), default=None)
    is_flat = most is not None and least is not None and most <= least * (1 + FLAT_LIMIT)
    claim = Claim(
        "C3",
        f"bytes the origin sends at {LOSS_PERCENT:g} % loss at each edge, the most of any number of edges",
        None if most is None else significant(most, 9),
        "bytes / content size",
        rule=f"at most {LOSSY_LIMIT:g}, and at most {FLAT_LIMIT * 100:g} % more than the least",
        holds=len(shares) > 1 and is_flat and most is not None and most <= LOSSY_LIMIT and _all_whole(swept),
        notes=tuple(f"{edges_text(edges)}: {share:.4f}" for edges, share in sorted(shares.items())),
    )
    others = [found for cell in swept if (found := peer(cells, cell, Method.UFTP)) is not None]
    baseline = max((cell.origin_share for cell in others), default=None)
    return compared(claim, None if baseline is None else significant(baseline, 9), NAMES[Method.UFTP])


def _many(cells: Sequence[SyncCell], ours: Sequence[SyncCell]) -> Claim:
    small = [cell for cell in ours if cell.content.startswith("small") and cell.loss_percent == 0]
    cell = max(small, key=lambda cell: cell.objects, default=None)
    share = None if cell is None else significant(cell.origin_share, 9)
    is_one_pass = cell is not None and cell.repair_symbols == 0
    notes = _described(cell)
    if cell is not None and not is_one_pass:
        notes += (f"{cell.repair_symbols or 0:g} repair symbols were sent although nothing was lost",)
    claim = Claim(
        "C3",
        f"bytes the origin sends for {MANY_OBJECTS:,} files of 1 to 8 kB",
        share,
        "bytes / content size",
        rule=f"at most {MANY_LIMIT:g}, in one pass: no repair symbols without loss",
        holds=cell is not None
        and cell.is_whole
        and cell.objects >= MANY_OBJECTS
        and cell.origin_share <= MANY_LIMIT
        and is_one_pass,
        notes=notes,
    )
    other = None if cell is None else peer(cells, cell, Method.UFTP)
    return compared(claim, None if other is None else significant(other.origin_share, 9), NAMES[Method.UFTP])


def _against_uftp(cells: Sequence[SyncCell], ours: Sequence[SyncCell]) -> list[Claim]:
    """Cell by cell: bytes, and when the last edge was complete."""
    pairs = [(cell, other) for cell in ours if (other := peer(cells, cell, Method.UFTP)) is not None]
    fewer = [(a, b) for a, b in pairs if a.is_whole and a.origin_bytes < b.origin_bytes]
    sooner = [(a, b) for a, b in pairs if a.is_whole and _seconds(a) <= _seconds(b)]
    claims = []
    for what, rule, good, text in (
        ("the origin sends fewer bytes than UFTP", "fewer in every cell", fewer, _bytes_text),
        ("the last edge is complete no later than with UFTP", "no later in any cell", sooner, _seconds_text),
    ):
        worse = [pair for pair in pairs if pair not in good]
        claims.append(
            Claim(
                "C3",
                f"cells of the sweep in which {what}",
                len(good) if pairs else None,
                "cells",
                rule=rule,
                holds=bool(pairs) and not worse,
                total=len(pairs),
                notes=tuple(f"not {a.cell}, {edges_text(a.edges)}: {text(a, b)}" for a, b in worse[:6]),
            )
        )
    return claims


def _seconds(cell: SyncCell) -> float:
    return float("inf") if cell.last_s is None else cell.last_s


def _bytes_text(ours: SyncCell, other: SyncCell) -> str:
    return f"{ours.origin_bytes:,} against {other.origin_bytes:,} bytes"


def _seconds_text(ours: SyncCell, other: SyncCell) -> str:
    return f"{_seconds(ours):.3f} against {_seconds(other):.3f} s"


def _goodput(
    evidence: Evidence, cells: Sequence[SyncCell], ours: Sequence[SyncCell], loss: float, least: float
) -> Claim:
    cell = largest(ours, loss)
    rate_mbps = _rate_mbps(evidence)
    share = None if cell is None or rate_mbps is None else significant(cell.goodput_mbps / rate_mbps, 9)
    claim = Claim(
        "C3",
        f"content per second until the last edge has it, at {loss:g} % loss",
        share,
        "of the session's rate",
        rule=f"at least {least:.3g}, for the largest content",
        holds=share is not None and share >= least and cell is not None and cell.is_whole,
        notes=_described(cell),
    )
    other = None if cell is None else peer(cells, cell, Method.UFTP)
    known = other is not None and rate_mbps is not None
    baseline = significant(other.goodput_mbps / rate_mbps, 9) if known and other and rate_mbps else None
    return compared(claim, baseline, NAMES[Method.UFTP])


def _rate_mbps(evidence: Evidence) -> float | None:
    rates = {
        scenario.facts["scenario"]["rate_mbps"]
        for scenario in evidence.scenarios.values()
        if "scenario" in scenario.facts
    }
    return float(rates.pop()) if len(rates) == 1 else None


def _identical(ours: Sequence[SyncCell]) -> Claim:
    bad = [cell for cell in ours if not cell.is_whole]
    return Claim(
        "C3",
        "multicast cells in which every edge has every file bit by bit",
        len(ours) - len(bad) if ours else None,
        "cells",
        rule="all",
        holds=bool(ours) and not bad,
        total=len(ours),
        notes=tuple(
            f"{cell.cell}: {cell.identical} of {cell.edges} edges {cell.error}".strip() for cell in bad
        ),
    )


def _swept(cells: Sequence[SyncCell]) -> list[SyncCell]:
    """The cells of the content that was sent to most numbers of edges."""
    content = swept_content(cells)
    return [cell for cell in cells if cell.content == content]


def swept_content(cells: Iterable[SyncCell]) -> str:
    """The content that was sent to most numbers of edges."""
    edges: dict[str, set[int]] = {}
    for cell in cells:
        edges.setdefault(cell.content, set()).add(cell.edges)
    return max(edges, key=lambda name: (len(edges[name]), name), default="")


def _all_whole(cells: Sequence[SyncCell]) -> bool:
    return all(cell.is_whole for cell in cells)


def _described(cell: SyncCell | None) -> tuple[str, ...]:
    if cell is None:
        return ("no such cell in raw/*/cells.csv",)
    took = "not complete" if cell.last_s is None else f"{cell.last_s:.3f} s"
    return (f"{cell.objects:,} files, {cell.content_bytes:,} bytes, {edges_text(cell.edges)}, {took}",)
