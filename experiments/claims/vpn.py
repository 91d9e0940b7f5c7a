"""C6: what one more edge costs the origin, with multicast and with an ESP tunnel to each edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.cells import Method
from experiments.claims.model import Claim, Evidence, compared
from experiments.claims.sync import all_cells, edges_text, of_method
from experiments.statistics import significant, slope
from experiments.sync_records import SyncCell, TunnelCount
from lab.pcap import ETHERNET_BYTES

SLOPE_LIMIT = 0.01
GROWTH_LIMIT = 1.02
TUNNELS = "one ESP tunnel per edge"
_MAY_BE_OTHER = 0.01
"""Of the frames of a publication, what may be neither ESP nor content: neighbour discovery, resets."""


def per_edge(cells: Sequence[SyncCell]) -> float | None:
    """Copies of the content that the origin sends for one more edge: the slope of a line of least squares."""
    points = [(cell.edges, cell.origin_share) for cell in cells if cell.is_whole]
    return slope(points) if len({edges for edges, _ in points}) > 1 else None


def tunnels(evidence: Evidence) -> list[Claim]:
    """The claims of C6, and whether the baseline is what it says."""
    cells = all_cells(evidence)
    ours, theirs = of_method(cells, Method.MULTICAST), of_method(cells, Method.TUNNEL)
    counts = [count for scenario in evidence.scenarios.values() for count in scenario.tunnels]
    names = [name for name, scenario in evidence.scenarios.items() if scenario.cells]
    source = tuple(f"raw/{name}/{file}" for name in names for file in ("cells.csv", "tunnels.csv"))
    claims = (
        _slope(ours, theirs, of_method(cells, Method.PUSH)),
        _growth(ours, theirs),
        _configured(ours, theirs, counts),
        _is_esp(theirs, counts),
    )
    return [replace(claim, source=source) for claim in claims]


def _slope(ours: Sequence[SyncCell], theirs: Sequence[SyncCell], plain: Sequence[SyncCell]) -> Claim:
    found, other, unprotected = per_edge(ours), per_edge(theirs), per_edge(plain)
    notes: tuple[str, ...] = ()
    if other is not None and unprotected:
        notes = (f"the same push without tunnels: {unprotected:.4f}; ESP adds {other / unprotected - 1:.2%}",)
    claim = Claim(
        "C6",
        "what the origin sends for one more edge",
        None if found is None else significant(found, 9),
        "bytes / content size",
        rule=f"at most {SLOPE_LIMIT:g}, where tunnels take at least 1",
        holds=found is not None
        and other is not None
        and found <= SLOPE_LIMIT
        and other >= 1
        and all(cell.is_whole for cell in (*ours, *theirs)),
        notes=notes,
    )
    return compared(claim, None if other is None else significant(other, 9), TUNNELS)


def _growth(ours: Sequence[SyncCell], theirs: Sequence[SyncCell]) -> Claim:
    found, other = _ratio(ours), _ratio(theirs)
    most = max((cell.edges for cell in ours), default=0)
    claim = Claim(
        "C6",
        f"what the origin sends to {edges_text(most)}, against one",
        None if found is None else significant(found, 9),
        "times",
        rule=f"at most {GROWTH_LIMIT:g}",
        holds=found is not None and most > 1 and found <= GROWTH_LIMIT,
        notes=tuple(f"{edges_text(cell.edges)}: {cell.origin_bytes:,} bytes" for cell in _by_edges(ours)),
    )
    return compared(claim, None if other is None else significant(other, 9), TUNNELS)


def _ratio(cells: Sequence[SyncCell]) -> float | None:
    whole = [cell for cell in _by_edges(cells) if cell.is_whole]
    if not whole or whole[0].edges != 1:
        return None
    return whole[-1].origin_bytes / whole[0].origin_bytes


def _configured(ours: Sequence[SyncCell], theirs: Sequence[SyncCell], counts: Sequence[TunnelCount]) -> Claim:
    """Security associations and policies for one more edge, by what the kernels said that they held."""
    at_origin = [(count.edges, count.origin_associations + count.origin_policies) for count in counts]
    everywhere = [
        (count.edges, held + count.edge_associations + count.edge_policies)
        for count, (_, held) in zip(counts, at_origin, strict=True)
    ]
    several = len({count.edges for count in counts}) > 1
    baseline = significant(slope(everywhere), 9) if several else None
    mine = [(cell.edges, cell.origin_ipsec) for cell in ours]
    value = significant(slope(mine), 9) if len({edges for edges, _ in mine}) > 1 else None
    notes = tuple(
        f"{edges_text(count.edges)}: {count.origin_associations} associations and {count.origin_policies}"
        f" policies at the origin, {count.edge_associations} and {count.edge_policies} at the edges"
        for count in sorted(counts, key=lambda count: count.edges)
    )
    claim = Claim(
        "C6",
        "security associations and policies for one more edge, at both ends",
        value,
        "entries",
        rule="none: edges check the origin's signature, whose key is the same for all",
        holds=value == 0 and baseline is not None and baseline > 0 and bool(theirs),
        notes=notes,
    )
    return compared(claim, baseline, TUNNELS)


def _is_esp(theirs: Sequence[SyncCell], counts: Sequence[TunnelCount]) -> Claim:
    """Whether the baseline is what it says: all its packets were ESP on the line."""
    frames = sum(count.esp_frames for count in counts)
    clear = sum(count.clear_frames for count in counts)
    sent = sum(cell.origin_packets for cell in theirs)
    most = max(counts, key=lambda count: count.edges, default=None)
    notes = [f"{frames:,} of {sent:,} frames on the origin's line were ESP (protocol 50)"]
    cell = next((cell for cell in theirs if most is not None and cell.edges == most.edges), None)
    if cell is not None and most is not None and most.inner_packets:
        each = (cell.origin_bytes - most.inner_bytes) / most.inner_packets - ETHERNET_BYTES
        notes.append(f"{edges_text(most.edges)}: ESP and the outer header add {each:.0f} bytes to a packet")
    return Claim(
        "C6",
        "frames to a site behind a tunnel that left the origin without ESP",
        clear if counts else None,
        "frames",
        rule="none, and all but 1 % of what left is ESP: the baseline is what it says",
        holds=bool(counts)
        and len(counts) == len(theirs)
        and clear == 0
        and frames >= (1 - _MAY_BE_OTHER) * sent > 0,
        total=frames + clear,
        notes=tuple(notes),
    )


def _by_edges(cells: Sequence[SyncCell]) -> list[SyncCell]:
    return sorted(cells, key=lambda cell: cell.edges)
