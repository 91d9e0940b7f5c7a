"""One edge fares badly among healthy ones: it gets everything in the end, and the others hardly notice.

What an edge does when multicast does not help is the rule of `edge_node.receiver`: it fetches the rest by
unicast, which takes no part of the stream, and leaves the group meanwhile when its link is too slow for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

from delivery.events import RepairNeeded
from delivery.sender import Sender
from edge_node.catch_up import RepairWatch, is_hopeless
from tests.unit.delivery.simulation import TSI, Edge, Group, make_site

RATE_MBPS = 20.0
HEALTHY = 5
HEALTHY_LOSS = 0.01
UNICAST_MBPS = 5.0
HOUR_S = 3600.0
CONTENT = random.Random(0)
SITE = make_site(
    [CONTENT.randbytes(size) for size in (3_000_000, 1_200_000, 40_000, 100, 0, 1_800_000)],
    bundle_bytes=1 << 20,
)
ALONE_S = 8 * sum(outgoing.size for outgoing in SITE.objects) / (RATE_MBPS * 1e6)
"""What the content takes at the session's rate, without headers and repair."""
OBJECT_S = 8 * max(outgoing.size for outgoing in SITE.objects) / (RATE_MBPS * 1e6)
LATER_S = 1.2 * OBJECT_S
"""How much later healthy edges may be because of the bad one: when they ask for the last symbols they lack,
the sender may just be sending one whole object to it, which it does not break off."""


class SlowLink:
    """A link of `rate_mbps` with a queue of `queue_s`; what does not fit is dropped."""

    def __init__(self, rate_mbps: float, queue_s: float = 0.05) -> None:
        self.dropped = 0
        self._bytes_per_s = rate_mbps * 125_000
        self._queue_s = queue_s
        self._free_at = 0.0

    def delay_s(self, size: int, now: float) -> float | None:
        """How long a packet takes that comes now; None when it is dropped."""
        starts_at = max(now, self._free_at)
        if starts_at - now > self._queue_s:
            self.dropped += 1
            return None
        self._free_at = starts_at + size / self._bytes_per_s
        return self._free_at - now


@dataclass
class Hardship(Group):
    """A group whose last edge is the one that fares badly, with what its shell does."""

    bad_loss: float = HEALTHY_LOSS
    link: SlowLink | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alter = self._path
        self.bad = self.edges[-1]
        self.fetching: set[str] = set()
        """Edges that fetch by unicast what they lack; those `away` have left the group for as long."""
        self.away: set[str] = set()
        self._watches = {edge.name: RepairWatch() for edge in self.edges}
        self.at(1.0, self.describe_again)

    def describe_again(self) -> None:
        """As the origin does while edges lack something and nothing is sent."""
        if any(SITE.manifest.version not in edge.complete for edge in self.edges):
            if self.sender.idle:
                self.sender.announce(self.now)
            self.at(self.now + 1.0, self.describe_again)

    def _path(self, edge: Edge, datagram: bytes, rnd: random.Random) -> list[tuple[float, bytes]]:
        is_bad = edge is self.bad
        if edge.name in self.away or rnd.random() < (self.bad_loss if is_bad else HEALTHY_LOSS):
            return []
        if not is_bad or self.link is None:
            return [(0.0, datagram)]
        delay_s = self.link.delay_s(len(datagram) + 62, self.now)
        return [] if delay_s is None else [(delay_s, datagram)]

    def _report(self, edge: Edge, report: RepairNeeded) -> None:
        if edge.name in self.away:
            return
        if is_hopeless(report.missing, report.of):
            self.away.add(edge.name)
            self._fetch(edge)
            return
        if self._watches[edge.name].asked(report.version, report.missing):
            self._fetch(edge)
        super()._report(edge, report)

    def _fetch(self, edge: Edge) -> None:
        if edge.name in self.fetching:
            return
        self.fetching.add(edge.name)
        lacked = sum(len(content) for name, content in SITE.blobs.items() if name not in edge.store)
        self.at(self.now + 8 * lacked / (UNICAST_MBPS * 1e6), lambda: self._fetched(edge))

    def _fetched(self, edge: Edge) -> None:
        self.fetching.discard(edge.name)
        self.away.discard(edge.name)
        if edge.version == 0:
            edge.receiver.manifest_available(SITE.signed, self.now)
            edge.drain(self.now)
        for name, content in SITE.blobs.items():
            if name not in edge.store:
                edge.store[name] = content
                edge.receiver.blob_available(name, self.now)
        edge.drain(self.now)


def make_group(bad: bool = True, *, bad_loss: float = HEALTHY_LOSS, link: SlowLink | None = None) -> Hardship:
    sender = Sender(TSI, rate_mbps=RATE_MBPS, collection_window_s=0.06, hold_off_s=0.05)
    edges = [Edge(f"edge{number}", seed=number) for number in range(HEALTHY + bad)]
    for edge in edges:
        sender.hear(edge.name)
    sender.publish(SITE.objects, 0.0)
    return Hardship(sender, edges, seed=3, bad_loss=bad_loss, link=link)


def lose_the_disk(group: Hardship) -> None:
    group.bad.complete.clear()
    group.bad.store.clear()
    group.bad.pieces.clear()
    group.bad.signed, group.bad.version = None, 0
    group.bad.restart(group.now)


def everybody_is_well() -> Hardship:
    return make_group()


def joins_late() -> Hardship:
    group = make_group()
    group.bad.up = False
    group.at(0.4 * ALONE_S, lambda: setattr(group.bad, "up", True))
    return group


def reboots() -> Hardship:
    group = make_group()

    def start() -> None:
        group.bad.up = True
        group.bad.restart(group.now)

    group.at(0.3 * ALONE_S, lambda: setattr(group.bad, "up", False))
    group.at(0.6 * ALONE_S, start)
    return group


def loses_its_disk() -> Hardship:
    group = make_group()
    group.at(0.7 * ALONE_S, lambda: lose_the_disk(group))
    return group


def loses_its_disk_when_all_is_sent() -> Hardship:
    group = make_group()
    group.at(3 * ALONE_S, lambda: lose_the_disk(group))
    group.at(3 * ALONE_S, group.describe_again)
    return group


def loses_a_tenth() -> Hardship:
    return make_group(bad_loss=0.1)


def has_a_slow_link() -> Hardship:
    return make_group(link=SlowLink(1.0))


def is_cut_off_for_an_hour() -> Hardship:
    group = make_group()
    group.at(0.3 * ALONE_S, lambda: setattr(group.bad, "up", False))
    group.at(0.3 * ALONE_S + HOUR_S, lambda: setattr(group.bad, "up", True))
    return group


HARDSHIPS = (
    everybody_is_well,
    joins_late,
    reboots,
    loses_its_disk,
    loses_its_disk_when_all_is_sent,
    loses_a_tenth,
    has_a_slow_link,
    is_cut_off_for_an_hour,
)


def healthy_s(group: Hardship) -> float:
    """When the last healthy edge was complete."""
    return max(edge.complete[SITE.manifest.version] for edge in group.edges[:HEALTHY])


@cache
def healthy_alone_s() -> float:
    """The same without the bad edge."""
    group = make_group(bad=False)
    group.run(until=60.0)
    return healthy_s(group)


@pytest.mark.parametrize("hardship", HARDSHIPS, ids=lambda hardship: hardship.__name__)
def test_everybody_is_complete_in_the_end_and_the_healthy_ones_hardly_later(
    hardship: Callable[[], Hardship],
) -> None:
    group = hardship()
    group.run(until=2 * HOUR_S)
    assert not group.fetching
    for edge in group.edges:
        assert edge.store == SITE.blobs, f"{edge.name} lacks blobs"
        assert SITE.manifest.version in edge.complete
    assert healthy_s(group) <= healthy_alone_s() + LATER_S
