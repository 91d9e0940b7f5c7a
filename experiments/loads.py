"""Link loads and page loads, computed from the samples and transfers of a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.records import LinkSample, ScenarioRecords, Transfer
from lab.pcap import ETHERNET_BYTES
from topologies.spec import Link, Role, Topology

Direction = tuple[str, str]
"""One direction of a link: from, to."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one direction carried during a phase; `drops` packets were sent but did not arrive."""

    link: str
    source: str
    target: str
    layer: str
    bytes: int
    packets: int
    drops: int
    seconds: float

    def sent_bytes(self, mtu_bytes: int) -> int:
        """Bytes sent, taking every lost packet for a full-size frame."""
        return self.bytes + self.drops * (mtu_bytes + ETHERNET_BYTES)


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of one direction between two samples; `t_s` is the middle of the interval."""

    t_s: float
    seconds: float
    mbps: float


def phase_loads(samples: Iterable[LinkSample], phase: str) -> dict[Direction, Load]:
    """The load of each direction: last minus first sample of the phase. Empty without such a phase."""
    first: dict[Direction, LinkSample] = {}
    last: dict[Direction, LinkSample] = {}
    for sample in samples:
        if sample.phase == phase:
            first.setdefault((sample.source, sample.target), sample)
            last[sample.source, sample.target] = sample
    return {
        direction: Load(
            link=begin.link,
            source=begin.source,
            target=begin.target,
            layer=begin.layer,
            bytes=last[direction].bytes - begin.bytes,
            packets=last[direction].packets - begin.packets,
            drops=last[direction].drops - begin.drops,
            seconds=last[direction].t_s - begin.t_s,
        )
        for direction, begin in first.items()
    }


def rates(samples: Iterable[LinkSample], phase: str) -> dict[Direction, list[Rate]]:
    """Throughput of each direction between consecutive samples of a phase."""
    series: dict[Direction, list[LinkSample]] = {}
    for sample in samples:
        if sample.phase == phase:
            series.setdefault((sample.source, sample.target), []).append(sample)
    return {
        direction: [
            Rate((a.t_s + b.t_s) / 2, b.t_s - a.t_s, (b.bytes - a.bytes) * 8e-6 / (b.t_s - a.t_s))
            for a, b in pairwise(points)
            if b.t_s > a.t_s
        ]
        for direction, points in series.items()
    }


def backbone(topology: Topology) -> tuple[Link, ...]:
    """The links content crosses on its way to the access layer: between switches, and the origin's."""
    roles = [(link, topology.role(link.a), topology.role(link.b)) for link in topology.links]
    return tuple(link for link, a, b in roles if (a.is_switch and b.is_switch) or Role.ORIGIN in (a, b))


def most_loaded(topology: Topology, loads: Mapping[Direction, Load]) -> tuple[Load, int] | None:
    """The direction of a backbone link that was sent the most bytes, and how many; None without samples."""
    found = [
        (loads[direction].sent_bytes(link.mtu_bytes), loads[direction])
        for link in backbone(topology)
        for direction in ((link.a, link.b), (link.b, link.a))
        if direction in loads
    ]
    if not found:
        return None
    size, load = max(found, key=lambda item: item[0])
    return load, size


def page_load_times(transfers: Sequence[Transfer]) -> list[float]:
    """Seconds from the start of a page's first transfer to the end of its last, one value for each page
    whose transfers were all answered, in the order of the file. Videos are not pages."""
    pages: dict[tuple[str, str], list[Transfer]] = {}
    for transfer in transfers:
        if transfer.kind != "video":
            pages.setdefault((transfer.user, transfer.page), []).append(transfer)
    return [
        max(part.ended_s for part in parts) - min(part.started_s for part in parts)
        for parts in pages.values()
        if all(part.ok for part in parts)
    ]


def content_bytes(scenario: ScenarioRecords) -> int | None:
    """The size of what was published: what an edge with everything holds; None when no edge has it."""
    complete = [row.bytes for row in scenario.sync if row.identical and row.bytes > 0]
    return max(complete) if complete else None
