"""What streams put on links, who watched, and the trees they should have taken; computed from records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from experiments.loads import Direction, Load, backbone
from experiments.records import ScenarioRecords
from experiments.stream_records import StreamBytes, StreamPhase, Viewing
from experiments.streams import MULTICAST, UNICAST
from experiments.viewer import SEGMENT
from topologies.graph import shortest_path_tree
from topologies.spec import Role, Topology

CONTENT = (MULTICAST, UNICAST)
"""The ways that content takes."""


def chosen(
    records: ScenarioRecords | None, phases: Collection[str], ways: Collection[str] = CONTENT
) -> list[StreamBytes]:
    """The rows of these phases and ways."""
    rows = records.streams if records else ()
    return [row for row in rows if row.phase in phases and row.way in ways]


def bytes_by_direction(rows: Iterable[StreamBytes]) -> Mapping[Direction, int]:
    """Bytes on each direction of a link that has any."""
    total: Counter[Direction] = Counter()
    for row in rows:
        total[row.source, row.target] += row.bytes
    return total


def as_loads(rows: Iterable[StreamBytes], seconds: float) -> dict[Direction, Load]:
    """The same as loads, for pictures."""
    found: dict[Direction, Load] = {}
    for row in rows:
        place = (row.link, row.source, row.target, row.layer)
        before = found.get((row.source, row.target), Load(*place, 0, 0, 0, seconds))
        size, packets = before.bytes + row.bytes, before.packets + row.packets
        found[row.source, row.target] = Load(*place, size, packets, 0, seconds)
    return found


def tree(topology: Topology, source: str, receivers: Iterable[str]) -> frozenset[Direction]:
    """The union of the shortest paths from a source to all receivers, as directions of links."""
    paths = shortest_path_tree(topology, source)
    return frozenset(
        (parent, child) for receiver in receivers for child, parent in pairwise(paths.path(receiver))
    )


def phases_of(records: ScenarioRecords | None) -> Mapping[str, StreamPhase]:
    """The phases by name."""
    return {phase.phase: phase for phase in (records.phases if records else ())}


def watching(records: ScenarioRecords, phase: str) -> tuple[str, ...]:
    """The edges that answered viewers during a phase."""
    span = phases_of(records).get(phase)
    if span is None:
        return ()
    rows = (row for row in records.viewings if span.begin_s <= row.started_s < span.end_s and row.edge)
    edges = {row.edge for row in rows}
    return tuple(edge for edge in records.topology.of_role(Role.EDGE) if edge in edges)


def zap_ms(records: ScenarioRecords | None, kinds: Collection[str]) -> dict[str, float]:
    """From each user's first request to the last byte of the first segment it got; users by `viewing`."""
    first: dict[str, Viewing] = {}
    shown: dict[str, float] = {}
    for row in sorted(records.viewings if records else (), key=lambda row: row.started_s):
        if row.viewing in kinds:
            begin = first.setdefault(row.user, row)
            if row.kind == SEGMENT and row.ok:
                shown.setdefault(row.user, (row.ended_s - begin.started_s) * 1000)
    return shown


def busiest_backbone(records: ScenarioRecords | None, rows: Iterable[StreamBytes]) -> int | None:
    """The bytes of the backbone's busiest direction; None without records."""
    if records is None or not records.phases:
        return None
    found = bytes_by_direction(rows)
    return max((found.get(way, 0) for way in backbone_directions(records.topology)), default=0)


def backbone_directions(topology: Topology) -> list[Direction]:
    """Both directions of the links between switches and of the origin's."""
    return [way for link in backbone(topology) for way in ((link.a, link.b), (link.b, link.a))]
