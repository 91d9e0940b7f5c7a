"""A receiver under fire: everything that can be sent to a group, between the packets of the true stream.

The suite sends 50,000 packets. A long run, with its time and peak memory printed:

    PACKETS=1000000 python -m pytest -s tests/property/test_delivery_fuzz.py
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from delivery.sender import Sender
from tests.property.group_attacks import ATTACKS, OLD, Target, make_version
from tests.unit.delivery.simulation import TSI, Edge, Site, all_datagrams

PACKETS = int(os.environ.get("PACKETS", "50000"))
ROUND_PACKETS = 2500
"""Attacking packets per version of the site; after them the true stream is alone until the site is there."""
LOOK_PACKETS = 500
HELD_BYTES = 1 << 20
LIMIT_S = 120.0

HELD_SLACK_BYTES = 2 << 20
"""What a receiver may hold beyond its budget: the object that is coming, what came since the last look."""
MOST_ENTRIES = 1 << 16
"""No table of a receiver may have more entries, whatever comes."""
MOST_GROWTH_BYTES = 256 << 20


def stream_of(site: Site) -> list[bytes]:
    sender = Sender(TSI)
    sender.publish(site.objects, 0.0)
    return all_datagrams(sender)


LEAVES = ("Manifest", "Oti")


def tables(root: object) -> Iterator[tuple[str, int, int]]:
    """Every container that a receiver holds: where, how many entries, how many bytes in packets.

    Manifests (signed, of one size) and what the shell gave are not followed.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("receiver", root)]
    while waiting:
        where, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        inside: list[object]
        if isinstance(thing, dict):
            inside = list(thing.values())
        elif isinstance(thing, list | tuple | set | frozenset):
            inside = list(thing)
        elif type(thing).__module__.startswith("delivery.") and type(thing).__name__ not in LEAVES:
            slots = {name: getattr(thing, name) for name in getattr(thing, "__slots__", ())}
            named = slots | getattr(thing, "__dict__", {})
            waiting += [(f"{where}.{name}", value) for name, value in named.items()]
            continue
        else:
            continue
        packets = [item for item in inside if isinstance(item, bytes | bytearray | memoryview)]
        yield where, len(inside), sum(len(packet) for packet in packets)
        if len(packets) < len(inside):
            waiting += [(f"{where}[]", item) for item in inside if not isinstance(item, bytes)]


def check_memory(edge: Edge, highest_toi: int) -> tuple[int, int]:
    """The held bytes and the largest table; both have bounds."""
    held = entries = 0
    for where, count, packet_bytes in tables(edge.receiver):
        held += packet_bytes
        entries = max(entries, count)
        assert count <= MOST_ENTRIES + highest_toi, f"{where} has {count} entries"
    assert held <= HELD_BYTES + HELD_SLACK_BYTES, f"{held} bytes held"
    return held, entries


class Siege:
    """One edge that receives version after version under attack."""

    def __init__(self, seed: int, attacks: Iterable[str]) -> None:
        self.edge = Edge("edge", seed=seed, max_held_bytes=HELD_BYTES)
        self.sender = Sender(TSI, rate_mbps=50, collection_window_s=0.1)
        self.attacks = list(attacks)
        self.sent = Counter[str]()
        self.most_held = self.most_entries = 0
        self.known = {OLD.manifest.version}
        self._rnd = random.Random(seed)
        self._now = 0.0
        self._old = stream_of(OLD)
        self._announce_at = 0.0

    def withstand(self, site: Site, packets: int) -> None:
        """Send `site` among so many attacking packets; then it must become complete."""
        target = Target(site, [], self._old)
        version = site.manifest.version
        self.known.add(version)
        self.sender.publish(site.objects, self._now)
        left = packets
        peace_at = None
        while left > 0 or version not in self.edge.complete:
            for datagram in self.sender.poll(self._now):
                target.stream.append(datagram)
                self.edge.receiver.datagram_received(datagram, self._now)
                left -= self._attack(target, min(left, 10))
            left -= self._attack(target, min(left, 20)) if target.stream else 0
            self._pass_time(site)
            if left <= 0:
                peace_at = peace_at or self._now
                assert self._now < peace_at + LIMIT_S, (
                    f"version {version} is not complete: {self.edge.rejected[-3:]}"
                )
        self._look(site)
        assert all(self.edge.store[name] == content for name, content in site.blobs.items())
        self._old = target.stream

    def _attack(self, target: Target, most: int) -> int:
        sent = 0
        while sent < most:
            name = self._rnd.choice(self.attacks)
            for packet in ATTACKS[name](target, self._rnd):
                self.edge.receiver.datagram_received(packet, self._now)
                sent += 1
                self.sent[name] += 1
                if self.sent[name] % LOOK_PACKETS == 0:
                    self._look(target.site)
        return sent

    def _pass_time(self, site: Site) -> None:
        """The next thing that is due, after a millisecond at least, a second at most."""
        self._now += 0.001
        for report in self.edge.drain(self._now):
            for toi, symbols in report.missing.items():
                self.sender.request_repair(toi, symbols, self._now)
        if self.edge.version:
            assert self.edge.version in self.known
        deadlines = (self.sender.next_deadline(), self.edge.receiver.next_deadline(), self._now + 1.0)
        self._now = max(self._now, min(deadline for deadline in deadlines if deadline is not None))
        self.edge.receiver.handle_timeout(self._now)
        if self._now >= self._announce_at:
            self._announce_at = self._now + 1.0
            self.sender.announce(self._now)

    def _look(self, site: Site) -> None:
        held, entries = check_memory(self.edge, site.objects[-1].toi)
        self.most_held = max(self.most_held, held)
        self.most_entries = max(self.most_entries, entries)


def besiege(packets: int, attacks: Iterable[str], per_version: int, seed: int = 1) -> Siege:
    siege = Siege(seed, attacks)
    version, toi = 2, 100
    for _ in range(0, packets, per_version):
        site = make_version(version, toi)
        siege.withstand(site, per_version)
        version, toi = version + 1, toi + len(site.objects)
    return siege


@pytest.mark.parametrize("name", list(ATTACKS))
def test_site_completes_under_each_attack(name: str) -> None:
    siege = besiege(150, [name], 50)
    assert siege.sent[name]


def test_site_completes_under_all_attacks_together() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    started_s = time.process_time()
    siege = besiege(PACKETS, list(ATTACKS), ROUND_PACKETS)
    elapsed_s = time.process_time() - started_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    sent = siege.sent.total()
    print(
        f"\n{sent:,} packets in {elapsed_s:.1f} s of CPU, {len(siege.edge.complete)} versions complete, "
        f"{siege.edge.receiver.rejected:,} rejected;\nat most {siege.most_held:,} bytes held and "
        f"{siege.most_entries:,} entries in a table; peak memory {peak >> 20} MiB, before {before >> 20} MiB"
    )
    assert sent >= PACKETS
    assert set(siege.edge.store) >= set(make_version(2, 100).blobs)
    assert siege.edge.receiver.rejected > PACKETS // 20
    assert peak - before < MOST_GROWTH_BYTES
