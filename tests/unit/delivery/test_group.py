"""Sender and receivers together in simulated time: losses, late comers, restarts, attackers."""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.alc import RAPTORQ, Oti
from delivery.announcement import MANIFEST_TYPE, Announcer
from delivery.fdt import FdtFile
from delivery.fec import RaptorQEncoder
from delivery.lct import LctHeader, encode_lct
from delivery.sender import DEFAULT_MTU_BYTES, Sender, symbol_bytes
from delivery.signing import sign_manifest
from tests.unit.delivery.simulation import TSI, Edge, Group, Site, make_site

CONTENT = random.Random(0)
SITE = make_site([CONTENT.randbytes(size) for size in (2_500_000, 700_000, 100, 20_000, 0, 1_500_000)])
SYMBOL_BYTES = symbol_bytes(DEFAULT_MTU_BYTES)
SOURCE_SYMBOLS = sum(-(-outgoing.size // SYMBOL_BYTES) for outgoing in SITE.objects)


def make_edges(count: int) -> list[Edge]:
    return [Edge(f"edge{number}", seed=number) for number in range(count)]


def published(site: Site = SITE, **options: float) -> Sender:
    sender = Sender(TSI, collection_window_s=0.06, hold_off_s=0.05, **options)  # type: ignore[arg-type]
    sender.publish(site.objects, 0.0)
    return sender


def assert_complete(group: Group, site: Site = SITE) -> None:
    for edge in group.edges:
        assert edge.store == site.blobs, f"{edge.name} lacks blobs"
        assert site.manifest.version in edge.complete
        assert edge.receiver.next_deadline() is None
    assert group.sender.idle


@pytest.mark.parametrize(("loss", "most"), [(0.0, 1.0), (0.02, 1.05), (0.08, 1.12), (0.2, 1.36)])
def test_eight_edges_complete_for_few_more_symbols(loss: float, most: float) -> None:
    group = Group(published(), make_edges(8), seed=4, loss=loss)
    group.run()
    assert_complete(group)
    counters = group.sender.counters
    assert counters.source_symbols == SOURCE_SYMBOLS
    assert counters.source_symbols + counters.repair_symbols <= most * SOURCE_SYMBOLS
    assert counters.datagrams == len(group.sent)
    if loss == 0:
        assert not any(edge.reports for edge in group.edges)


def test_proactive_redundancy_spares_the_reports() -> None:
    group = Group(published(overhead_percent=15), make_edges(8), seed=5, loss=0.05)
    group.run()
    assert_complete(group)
    objects = len(SITE.objects)
    # The manifest is one symbol: its redundancy rounds up to one more, which can be lost as well.
    assert sum(1 for edge in group.edges for report in edge.reports if set(report.missing) - {1}) < objects


def test_reordered_and_duplicated_packets() -> None:
    def alter(edge: Edge, datagram: bytes, rnd: random.Random) -> list[tuple[float, bytes]]:
        return [(rnd.uniform(0, 0.03), datagram) for _ in range(rnd.choice((1, 1, 1, 2)))]

    group = Group(published(), make_edges(3), seed=6, loss=0.05, alter=alter)
    group.run()
    assert_complete(group)


def test_lost_reports_are_made_again() -> None:
    group = Group(published(), make_edges(2), seed=7, loss=0.05, report_loss=0.5)
    group.run()
    assert_complete(group)


def test_receiver_killed_and_started_again_in_the_middle() -> None:
    group = Group(published(), make_edges(3), seed=8, loss=0.02, unicast=SITE)
    victim = group.edges[1]

    def kill() -> None:
        victim.up = False

    def restart() -> None:
        victim.up = True
        victim.restart(group.now)

    group.at(0.15, kill)
    group.at(0.3, restart)
    group.run()
    assert_complete(group)
    assert victim.version == 1


def test_edge_that_was_away_needs_no_more_than_the_description() -> None:
    group = Group(published(), make_edges(2), seed=9)
    late = group.edges[1]
    late.up = False
    group.at(5.0, lambda: setattr(late, "up", True))
    group.at(5.1, lambda: group.sender.announce(group.now))
    group.run()
    assert_complete(group)
    repair = group.sender.counters.repair_symbols
    assert repair <= SOURCE_SYMBOLS + 10


def test_next_version_sends_only_what_is_new_and_still_fills_an_empty_edge() -> None:
    second = make_site([*SITE.blobs.values(), b"new" * 1000], version=2, first_toi=50)
    new = second.manifest.bundles[-1].toi
    objects = [replace(o, on_demand=o.toi not in (50, new)) for o in second.objects]
    group = Group(published(), make_edges(2), seed=10)
    empty = group.edges[1]
    empty.up = False
    group.run()
    before = group.sender.counters.source_symbols
    empty.up = True
    group.sender.publish(objects, group.now)
    group.run(until=group.now + 60)
    assert_complete(group, second)
    assert group.sender.counters.source_symbols - before == sum(
        -(-o.size // SYMBOL_BYTES) for o in objects if not o.on_demand
    )
    assert len(group.edges[0].reports) == 0


def test_damaged_packets_never_reach_the_store() -> None:
    def alter(edge: Edge, datagram: bytes, rnd: random.Random) -> list[tuple[float, bytes]]:
        if rnd.random() < 0.0005:
            at = rnd.randrange(len(datagram))
            datagram = datagram[:at] + bytes((datagram[at] ^ 0x55,)) + datagram[at + 1 :]
        return [(0.0, datagram)]

    group = Group(published(), make_edges(4), seed=11, loss=0.01, alter=alter, unicast=SITE)
    group.run(until=200.0)
    assert_complete(group)
    assert any("digest" in reason for edge in group.edges for reason in edge.rejected)


def test_forged_symbols_cost_one_bundle_not_the_site() -> None:
    forged = LctHeader(TSI, SITE.manifest.bundles[0].toi, RAPTORQ)
    packet = encode_lct(forged) + struct.pack("!I", 5000) + b"\xee" * SYMBOL_BYTES
    group = Group(published(), make_edges(2), seed=12)
    for edge in group.edges:
        group.at(0.05, lambda edge=edge: edge.receiver.datagram_received(packet, group.now))  # type: ignore[misc]
    group.run()
    assert_complete(group)
    bundle = SITE.manifest.bundles[0]
    asked = [toi for edge in group.edges for report in edge.reports for toi in report.missing]
    assert set(asked) == {bundle.toi}
    assert group.sender.counters.repair_symbols < 1.1 * bundle.size / SYMBOL_BYTES


def test_forged_manifest_is_refused_and_forgotten() -> None:
    attacker = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
    signed = sign_manifest(replace(SITE.manifest, version=9), attacker)
    oti = Oti(RAPTORQ, len(signed), 1400)
    (fdt,) = Announcer(TSI, 77, 3600, 1400).announce(
        [FdtFile(40, "manifest/9", oti, len(signed), MANIFEST_TYPE)], 0.0
    )
    header = encode_lct(LctHeader(TSI, 40, RAPTORQ))
    packets = [fdt.datagram, *(header + symbol for symbol in RaptorQEncoder(signed, 1400).source())]
    group = Group(published(), make_edges(2), seed=13)
    victim = group.edges[0]
    for packet in packets:
        group.at(0.1, lambda packet=packet: victim.receiver.datagram_received(packet, group.now))  # type: ignore[misc]
    group.run(until=20.0)
    assert all(edge.store == SITE.blobs for edge in group.edges)
    assert victim.version == 1
    assert any("signature" in reason for reason in victim.rejected)


def test_forged_description_is_replaced_by_the_true_one() -> None:
    bundle = SITE.manifest.bundles[1]
    forged = FdtFile(bundle.toi, "bundle", Oti(RAPTORQ, bundle.size, 800), bundle.size)
    (fdt,) = Announcer(TSI, 77, 3600, 1400).announce([forged], 0.0)
    group = Group(published(), make_edges(2), seed=14)
    group.at(0.2, lambda: group.edges[0].receiver.datagram_received(fdt.datagram, group.now))
    group.run()
    assert_complete(group)


def test_rate_holds_on_the_wire() -> None:
    sender = published(rate_mbps=20)
    sent = 0
    now = 0.0
    while (deadline := sender.next_deadline()) is not None:
        now = max(now, deadline)
        burst = sum(len(datagram) + 62 for datagram in sender.poll(now))
        sent += burst
        assert burst <= 0.004 * 20e6 / 8 + 1478
        assert sent <= now * 20e6 / 8 + 0.001 * 20e6 / 8 + 1478
    assert sent == sender.counters.wire_bytes
    assert now == pytest.approx(sent * 8 / 20e6, rel=0.01)


def test_same_seed_same_run() -> None:
    digests = []
    for _ in range(2):
        group = Group(published(), make_edges(3), seed=15, loss=0.1)
        group.run()
        digests.append(hashlib.sha256(b"".join(group.sent)).hexdigest())
        assert_complete(group)
    assert digests[0] == digests[1]
