"""Single packets, or a few, that must not harm a receiver for longer than they take to arrive.

Whoever can send to the group can send these. None needs a key; the replayed manifests were signed once.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator, Sequence

import pytest

from delivery.alc import NO_CODE, RAPTORQ, Oti, encode_ext_cenc, encode_ext_fdt, encode_fti
from delivery.announcement import MANIFEST_TYPE, Announcer, fdt_datagram
from delivery.fdt import NAMESPACE, NTP_TO_UNIX_S, NULL, ZLIB, FdtFile
from delivery.fec import RaptorQEncoder
from delivery.lct import LctHeader, encode_lct
from delivery.sender import Sender
from tests.unit.delivery.simulation import TSI, Edge, Site, all_datagrams, make_site

SYMBOL = 1400
HELD_BYTES = 1 << 20
LATER_TOI = 50
CONTENT = random.Random(1).randbytes(30_000)
SITE = make_site([CONTENT, b"other" * 2000], bundle_bytes=20_000)
NEXT = make_site([CONTENT[::-1]], version=2, first_toi=LATER_TOI, bundle_bytes=20_000)
TOIS = [bundle.toi for bundle in SITE.manifest.bundles]


class Stream:
    """A sender and an edge without losses between them; the edge's reports are answered."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.sender = Sender(TSI, collection_window_s=0.1)
        self.now = 0.0

    def send(self, site: Site) -> list[bytes]:
        """The whole stream of a site, for the caller to pass on."""
        self.sender.publish(site.objects, self.now)
        return all_datagrams(self.sender, self.now)

    def pass_on(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self.edge.receiver.datagram_received(datagram, self.now)

    def settle(self, seconds: float = 30.0) -> None:
        """Time passes, reports are answered, the description is repeated every second."""
        for _ in range(int(10 * seconds)):
            self.now += 0.1
            if round(10 * self.now) % 10 == 0:
                self.sender.announce(self.now)
            self.edge.receiver.handle_timeout(self.now)
            for report in self.edge.drain(self.now):
                for toi, symbols in report.missing.items():
                    self.sender.request_repair(toi, symbols, self.now)
            self.pass_on(all_datagrams(self.sender, self.now))


@pytest.fixture
def stream() -> Stream:
    return Stream(Edge("edge", seed=1, max_held_bytes=HELD_BYTES))


def index_of(toi: int, packets: Sequence[bytes]) -> int:
    """Where the object begins."""
    return next(at for at, packet in enumerate(packets) if packet[8:12] == struct.pack("!HH", TSI, toi))


def fdt_packet(text: str) -> bytes:
    body = zlib.compress(text.encode(), 9)
    assert len(body) <= SYMBOL
    return fdt_datagram(TSI, 77, body, SYMBOL)


def described(files: Sequence[FdtFile]) -> list[bytes]:
    return [a.datagram for a in Announcer(TSI, 77, 3600, SYMBOL).announce(files, 0.0)]


def manifest_packets(toi: int, location: str, content: bytes) -> list[bytes]:
    oti = Oti(RAPTORQ, len(content), SYMBOL)
    header = encode_lct(LctHeader(TSI, toi, RAPTORQ))
    symbols = [header + symbol for symbol in RaptorQEncoder(content, SYMBOL).source()]
    return described([FdtFile(toi, location, oti, len(content), MANIFEST_TYPE)]) + symbols


def test_expiry_that_no_float_holds(stream: Stream) -> None:
    text = f'<FDT-Instance xmlns="{NAMESPACE}" Expires="1{"0" * 400}"/>'
    stream.pass_on([fdt_packet(text)])
    assert stream.edge.receiver.rejected == 1


def test_transmission_information_in_a_packet_of_a_wanted_object(stream: Stream) -> None:
    """The FDT is the same as before, so only telling it again can put this right."""
    header = LctHeader(TSI, TOIS[0], RAPTORQ, extensions=(encode_fti(Oti(RAPTORQ, 20_000, 8)),))
    forged = encode_lct(header) + struct.pack("!I", 0) + bytes(8)
    packets = stream.send(SITE)
    begin = index_of(TOIS[0], packets) + 2
    stream.pass_on([*packets[:begin], forged, *packets[begin:]])
    stream.settle()
    assert stream.edge.complete


@pytest.mark.parametrize("toi", [LATER_TOI, 10_000, 1 << 60])
def test_manifest_replayed_under_another_number_does_not_settle_what_lies_below(
    stream: Stream, toi: int
) -> None:
    stream.pass_on(stream.send(SITE))
    stream.pass_on(manifest_packets(toi, "manifest/99", SITE.signed))
    stream.settle()
    stream.pass_on(stream.send(NEXT))
    stream.settle()
    assert set(stream.edge.complete) == {1, 2}


def test_older_manifest_under_the_number_of_the_next(stream: Stream) -> None:
    """To an edge that has nothing yet it is news; the true one must still be."""
    stream.pass_on(manifest_packets(LATER_TOI, "manifest/2", SITE.signed))
    stream.pass_on(stream.send(NEXT))
    stream.settle()
    assert 2 in stream.edge.complete


def test_many_manifests_that_are_announced_and_never_come(stream: Stream) -> None:
    oti = Oti(RAPTORQ, 1000, SYMBOL)
    stream.pass_on(described([FdtFile(1000 + n, f"manifest/{99 + n}", oti, 1000) for n in range(9)]))
    stream.pass_on(stream.send(SITE))
    stream.settle()
    assert stream.edge.complete


def test_object_far_ahead_does_not_make_everything_look_as_if_it_had_passed(stream: Stream) -> None:
    """Else the edge asks for the rest of the site while it is still to come, and of every later version."""
    far = FdtFile(1 << 40, "bundle/far", Oti(RAPTORQ, 1000, SYMBOL), 1000)
    forged = encode_lct(LctHeader(TSI, far.toi, RAPTORQ)) + struct.pack("!I", 0) + bytes(SYMBOL)
    packets = stream.send(SITE)
    first = index_of(TOIS[0], packets)
    stream.pass_on([*packets[: first + 2], *described([far]), forged, *packets[first + 2 : first + 4]])
    stream.edge.receiver.handle_timeout(0.15)
    stream.edge.drain(0.15)
    asked = [toi for report in stream.edge.reports for toi in report.missing]
    assert TOIS[1] not in asked


def held_bytes(edge: Edge) -> int:
    """What the symbols of all objects really take."""
    slots = edge.receiver._slots.unfinished()
    return sum(len(packet) for slot in slots for packet in (slot.symbols or {}).values())


def test_budget_counts_what_packets_have_and_not_what_the_first_one_had(stream: Stream) -> None:
    for toi in range(1000, 1032):
        header = encode_lct(LctHeader(TSI, toi, RAPTORQ))
        packets = [header + struct.pack("!I", 0) + b"x"]
        packets += [header + struct.pack("!I", esi) + bytes(SYMBOL) for esi in range(1, 600)]
        stream.pass_on(packets)
    assert held_bytes(stream.edge) <= 2 * HELD_BYTES


def test_budget_is_kept_while_no_object_has_enough_symbols(stream: Stream) -> None:
    """Many objects, each said to be large and each left unfinished."""
    oti = Oti(RAPTORQ, 1_000_000, SYMBOL)
    for toi in range(1000, 1020):
        header = encode_lct(LctHeader(TSI, toi, RAPTORQ))
        stream.pass_on(
            [
                *described([FdtFile(toi, f"bundle/{toi}", oti, oti.transfer_length)]),
                *(header + struct.pack("!I", esi) + bytes(SYMBOL) for esi in range(700)),
            ]
        )
    assert held_bytes(stream.edge) <= 3 * HELD_BYTES


def test_reasons_are_short_whatever_was_wrong(stream: Stream) -> None:
    """A reason ends in a log; a packet of 1 kB must not make megabytes of it."""
    body = zlib.compress(b"\xff" * (1 << 20), 9)
    stream.pass_on([fdt_datagram(TSI, 77, body, SYMBOL)])
    stream.pass_on([fdt_packet(f'<FDT-Instance xmlns="{"x" * 900_000}" Expires="x"/>')])
    stream.edge.drain(0.0)
    assert len(stream.edge.rejected) == 2
    assert max(map(len, stream.edge.rejected)) < 1000


def test_one_packet_gives_few_events(stream: Stream) -> None:
    """A description of thousands of impossible objects is one thing that is wrong, not thousands."""
    file = '<File TOI="7" Content-Location="" Content-Length="0" FEC-OTI-FEC-Encoding-ID="0"' \
        ' FEC-OTI-Encoding-Symbol-Length="1" FEC-OTI-Maximum-Source-Block-Length="1"/>'  # fmt: skip
    head = f'<FDT-Instance xmlns="{NAMESPACE}" Expires="{NTP_TO_UNIX_S + 1000}">'
    stream.pass_on([*several_packets(f"{head}{file * 6000}</FDT-Instance>")])
    assert len(stream.edge.receiver.events()) < 100


def several_packets(text: str, instance: int = 78) -> Iterator[bytes]:
    body = zlib.compress(text.encode(), 9)
    oti = Oti(NO_CODE, len(body), SYMBOL, max_block_symbols=1 << 16)
    extensions = (encode_ext_fdt(instance), encode_fti(oti), encode_ext_cenc(ZLIB))
    header = encode_lct(LctHeader(TSI, 0, NO_CODE, extensions=extensions))
    for number in range(oti.source_symbols):
        yield header + struct.pack("!I", number) + body[SYMBOL * number : SYMBOL * (number + 1)]


# Not attacks, but the same kind of corner


def test_manifest_that_comes_with_its_own_transmission_information_before_the_fdt(stream: Stream) -> None:
    """As flute-alc sends it with in-band EXT_FTI when the FDT is late: complete before it is known as one."""
    packets = stream.send(SITE)
    oti = Oti(RAPTORQ, len(SITE.signed), len(max(packets, key=len)) - 16)
    header = encode_lct(LctHeader(TSI, 1, RAPTORQ, extensions=(encode_fti(oti),)))
    early = [header + symbol for symbol in RaptorQEncoder(SITE.signed, oti.symbol_size).source()]
    stream.pass_on([*early, *packets])
    stream.settle()
    assert stream.edge.complete


@pytest.mark.parametrize("mixed", [False, True])
def test_packets_of_two_fdt_instances(stream: Stream, mixed: bool) -> None:
    """Both are read, as RFC 6726 (section 3.4.1) tells instances apart by their IDs."""
    packets = [packet for packet in stream.send(SITE) if packet[10:12] != b"\0\0"]
    sizes = {int.from_bytes(packet[10:12], "big"): len(packet) - 16 for packet in packets}
    files = [FdtFile(o.toi, o.location, Oti(RAPTORQ, o.size, sizes[o.toi]), o.size) for o in SITE.objects]
    head = f'<FDT-Instance xmlns="{NAMESPACE}" Expires="{NTP_TO_UNIX_S + 3600}">'
    texts = [head + "".join(map(file_text, chosen)) + "</FDT-Instance>" for chosen in (files[:2], files[2:])]
    first, second = (in_pieces(text.encode(), number) for number, text in enumerate(texts))
    in_turn = [packet for pair in zip(first, second, strict=True) for packet in pair]
    stream.pass_on([*(in_turn if mixed else first + second), *packets])
    stream.edge.drain(0.0)
    assert stream.edge.complete


def file_text(file: FdtFile) -> str:
    return (
        f'<File TOI="{file.toi}" Content-Location="{file.location}" Content-Length="{file.content_length}" '
        f'FEC-OTI-FEC-Encoding-ID="6" FEC-OTI-Encoding-Symbol-Length="{file.oti.symbol_size}" '
        'FEC-OTI-Scheme-Specific-Info="AQABCA=="/>'
    )


def in_pieces(text: bytes, instance: int) -> list[bytes]:
    size = -(-len(text) // 3)
    oti = Oti(NO_CODE, len(text), size, max_block_symbols=64)
    extensions = (encode_ext_fdt(instance), encode_fti(oti), encode_ext_cenc(NULL))
    header = encode_lct(LctHeader(TSI, 0, NO_CODE, extensions=extensions))
    return [header + struct.pack("!I", n) + text[n * size : (n + 1) * size] for n in range(3)]
