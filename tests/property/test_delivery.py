"""What must hold for any input: codecs, garbage, loss patterns."""

from __future__ import annotations

import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.alc import decode_fti, decode_packet
from delivery.bundles import plan_bundles
from delivery.fdt import FdtError, decode_fdt
from delivery.lct import LctError, LctHeader, decode_lct, encode_lct
from delivery.manifest import ManifestError
from delivery.receiver import Receiver
from delivery.sender import Sender
from delivery.signing import open_manifest
from tests.unit.delivery.simulation import KEY, TSI, Edge, Group, all_datagrams, make_site

WHOLE_WORDS = st.integers(0, 10).flatmap(
    lambda words: st.binary(min_size=4 * words + 2, max_size=4 * words + 2)
)
EXTENSIONS = st.one_of(
    st.tuples(st.integers(0, 127), WHOLE_WORDS),
    st.tuples(st.integers(128, 255), st.binary(min_size=3, max_size=3)),
)
HEADERS = st.builds(
    LctHeader,
    tsi=st.integers(0, (1 << 48) - 1),
    toi=st.integers(0, (1 << 112) - 1),
    codepoint=st.integers(0, 255),
    cci=st.integers(0, (1 << 128) - 1),
    close_session=st.booleans(),
    close_object=st.booleans(),
    extensions=st.lists(EXTENSIONS, max_size=5).map(tuple),
)
SITE = make_site([random.Random(1).randbytes(40_000), b"x" * 30_000, b""], bundle_bytes=16_000)


def site_datagrams() -> list[bytes]:
    sender = Sender(TSI)
    sender.publish(SITE.objects, 0.0)
    return all_datagrams(sender)


DATAGRAMS = site_datagrams()


@given(HEADERS, st.binary(max_size=20))
def test_lct_round_trip(header: LctHeader, rest: bytes) -> None:
    encoded = encode_lct(header)
    assert decode_lct(encoded + rest) == (header, len(encoded))


@given(st.binary(max_size=100))
def test_parsers_raise_nothing_but_their_own_errors(data: bytes) -> None:
    with suppress(LctError):
        decode_fti(decode_packet(b"\x10" + data).header)
    for encoding in range(5):
        with suppress(FdtError):
            decode_fdt(data, encoding)
    with suppress(ManifestError):
        open_manifest(b"NCM1" + data, KEY.public_key())


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(1, 100), st.integers(1, 1000))
def test_bundles_carry_every_byte_once(sizes: list[int], most: int, first: int) -> None:
    blobs = [(f"{number:064x}", size) for number, size in enumerate(sizes)]
    plans = plan_bundles(blobs, first, most)
    assert [plan.toi for plan in plans] == list(range(first, first + len(plans)))
    assert all(plan.size == most for plan in plans[:-1])
    assert all(plan.size == sum(piece.length for piece in plan.pieces) <= most for plan in plans)
    carried = [
        (p.sha256, at) for plan in plans for p in plan.pieces for at in range(p.offset, p.offset + p.length)
    ]
    assert carried == [(name, at) for name, size in blobs for at in range(size)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mutated_packets_never_raise_and_never_forge(data: st.DataObject) -> None:
    receiver = Receiver(
        TSI, KEY.public_key(), {}.__contains__, seed=1, fixed_back_off_s=0.1, random_back_off_s=0.1,
        reception_timeout_s=1.0,
    )  # fmt: skip
    blobs = set(SITE.blobs)
    for _ in range(data.draw(st.integers(1, 60))):
        packet = bytearray(data.draw(st.sampled_from(DATAGRAMS)))
        for at in data.draw(st.lists(st.integers(0, 40), max_size=3)):
            if at < len(packet):
                packet[at] = data.draw(st.integers(0, 255))
        receiver.datagram_received(bytes(packet[: data.draw(st.integers(0, len(packet)))]), 0.0)
        receiver.datagram_received(bytes(packet), 0.0)
    for now in range(1, 20):
        receiver.handle_timeout(float(now))
    for event in receiver.events():
        assert getattr(event, "sha256", None) in {None, *blobs}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    loss=st.floats(0, 0.5),
    report_loss=st.floats(0, 0.5),
    jitter_s=st.floats(0, 0.02),
)
def test_every_edge_completes_whatever_is_lost(
    seed: int, loss: float, report_loss: float, jitter_s: float
) -> None:
    def alter(edge: Edge, datagram: bytes, rnd: random.Random) -> list[tuple[float, bytes]]:
        return [(rnd.uniform(0, jitter_s), datagram)]

    sender = Sender(TSI, collection_window_s=0.06, hold_off_s=0.05)
    sender.publish(SITE.objects, 0.0)
    edges = [Edge(f"edge{number}", seed + number) for number in range(3)]
    group = Group(sender, edges, seed=seed, loss=loss, report_loss=report_loss, alter=alter)
    for at in range(1, 40):
        group.at(float(at), lambda: sender.announce(group.now))
    group.run(until=600.0)
    for edge in edges:
        assert edge.store == SITE.blobs
        assert edge.complete
