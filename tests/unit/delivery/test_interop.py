"""Both ways between this implementation and flute-alc: every size that matters, losses, any order.

flute-alc's sender makes one transfer of an object; its second transfer is a second sender with the same
objects. Its receiver tells nothing, so completion is seen in the files it writes. Our receiver keeps only
what a signed manifest names: the objects of the other side are a manifest and the bundles it names.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from flute import receiver as flute_receiver
from flute import sender as flute_sender

from delivery.alc import NO_CODE, Oti, decode_fti, decode_packet, encode_fti
from delivery.announcement import Announcer
from delivery.fdt import FdtFile
from delivery.fec import no_code_symbols
from delivery.lct import LctHeader, encode_lct
from delivery.sender import Outgoing, Sender
from tests.unit.delivery.simulation import TSI, Edge, Site, all_datagrams, make_site

SYMBOL = 1400
BLOCK_SYMBOLS = 64
LOSS = 0.05
MOST_PASSES = 6
"""Without a code two transfers leave 0.25 % of the symbols open, three 0.0125 %."""

Stream = list[bytes]
Network = Callable[[Stream, random.Random], Stream]


def lossless(stream: Stream, rnd: random.Random) -> Stream:
    return stream


def shuffled(stream: Stream, rnd: random.Random) -> Stream:
    return rnd.sample(stream, len(stream))


def lossy(stream: Stream, rnd: random.Random) -> Stream:
    return [datagram for datagram in stream if rnd.random() >= LOSS]


def lossy_shuffled(stream: Stream, rnd: random.Random) -> Stream:
    return shuffled(lossy(stream, rnd), rnd)


NETWORKS: tuple[Network, ...] = (lossless, shuffled, lossy, lossy_shuffled)
SIZES = {
    "one byte": (1,),
    "a symbol less one": (SYMBOL - 1,),
    "a symbol": (SYMBOL,),
    "a symbol and one": (SYMBOL + 1,),
    "a block": (BLOCK_SYMBOLS * SYMBOL,),
    "unequal blocks": ((5 * BLOCK_SYMBOLS + 3) * SYMBOL - 7,),
    "megabytes": (3_000_000, 2_000_001),
    "all": (1, SYMBOL - 1, SYMBOL, SYMBOL + 1, 2 * SYMBOL, BLOCK_SYMBOLS * SYMBOL + 1, 400_000),
}
CASES = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
NETWORK = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)


def contents_of(sizes: Iterable[int]) -> list[bytes]:
    rnd = random.Random(1)
    return [rnd.randbytes(size) for size in sizes]


class TheirReceiver:
    """flute-alc's receiver; `lacks` are the locations it has not written as they were sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        endpoint = flute_receiver.UDPEndpoint("ff35::8000:1", 4001)
        builder = flute_receiver.ObjectWriterBuilder(str(folder))
        self._receiver = flute_receiver.Receiver(endpoint, TSI, builder, flute_receiver.Config())

    def push(self, stream: Iterable[bytes]) -> None:
        for datagram in stream:
            self._receiver.push(datagram)

    def lacks(self, expected: dict[str, bytes]) -> list[str]:
        return [name for name, content in expected.items() if self._read(name) != content]

    def _read(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.exists() else None


# Ours to theirs


def our_no_code(objects: dict[str, bytes], in_band: bool, first_instance: int = 0) -> Stream:
    """A transfer without code: a description per two objects, each before its objects."""
    announcer = Announcer(TSI, first_instance, 3600, SYMBOL)
    otis = [Oti(NO_CODE, len(content), SYMBOL, BLOCK_SYMBOLS) for content in objects.values()]
    files = [
        FdtFile(toi, name, oti, oti.transfer_length)
        for toi, (name, oti) in enumerate(zip(objects, otis, strict=True), 1)
    ]
    stream: Stream = []
    for at in range(0, len(files), 2):
        stream += [a.datagram for a in announcer.announce(files[at : at + 2], time.time())]
        for file in files[at : at + 2]:
            extensions = (encode_fti(file.oti),) if in_band else ()
            header = encode_lct(LctHeader(TSI, file.toi, NO_CODE, extensions=extensions))
            stream += [header + symbol for symbol in no_code_symbols(objects[file.location], file.oti)]
    return stream


@CASES
@NETWORK
@pytest.mark.parametrize("in_band", [False, True])
def test_they_read_our_objects_without_code(
    tmp_path: Path, sizes: Sequence[int], network: Network, in_band: bool
) -> None:
    objects = {f"object{number}": content for number, content in enumerate(contents_of(sizes))}
    receiver, rnd = TheirReceiver(tmp_path), random.Random(2)
    for transfer in range(MOST_PASSES):
        receiver.push(network(our_no_code(objects, in_band, first_instance=8 * transfer), rnd))
        if not receiver.lacks(objects):
            break
    assert receiver.lacks(objects) == []
    assert transfer == 0 or network in (lossy, lossy_shuffled)


@pytest.mark.parametrize("in_band", [False, True])
def test_they_read_our_empty_object(tmp_path: Path, in_band: bool) -> None:
    objects = {"before": b"1", "empty": b"", "behind": b"22"}
    receiver = TheirReceiver(tmp_path)
    receiver.push(our_no_code(objects, in_band))
    assert receiver.lacks(objects) == []


def our_raptorq(objects: dict[str, bytes], **options: float) -> Sender:
    sender = Sender(TSI, unix_offset_s=time.time(), **options)  # type: ignore[arg-type]
    sender.publish(
        [
            Outgoing(toi, name, "application/octet-stream", len(content), lambda content=content: content)  # type: ignore[misc]
            for toi, (name, content) in enumerate(objects.items(), 1)
        ],
        0.0,
    )
    return sender


def our_symbol_bytes() -> int:
    """What our sender puts into a packet."""
    stream = all_datagrams(our_raptorq({"object": bytes(10_000)}))
    return max(len(packet.symbol) for packet in map(decode_packet, stream) if packet.header.toi)


@pytest.mark.parametrize(
    "size",
    [1, our_symbol_bytes() - 1, our_symbol_bytes(), our_symbol_bytes() + 1, 300_000, 2_000_000, 8 << 20],
)
@NETWORK
def test_they_read_our_raptorq(tmp_path: Path, size: int, network: Network) -> None:
    (content,) = contents_of([size])
    objects = {"object": content}
    sender, receiver, rnd = our_raptorq(objects), TheirReceiver(tmp_path), random.Random(3)
    held: set[tuple[int, int]] = set()
    needed = -(-size // our_symbol_bytes())
    rounds = 0
    while receiver.lacks(objects) and rounds < MOST_PASSES:
        if rounds:
            # What our own receiver would ask for, and as much more as it would in the end.
            sender.request_repair(1, max(1, needed - len(held)) + 2 * (rounds - 1), float(rounds))
        arrived = network(all_datagrams(sender, float(rounds)), rnd)
        receiver.push(arrived)
        held |= {(packet.sbn, packet.esi) for packet in map(decode_packet, arrived) if packet.header.toi}
        rounds += 1
    assert receiver.lacks(objects) == []
    assert rounds == 1 or network in (lossy, lossy_shuffled)


def test_they_read_each_of_our_descriptions_that_carries_only_what_is_new(tmp_path: Path) -> None:
    first = {f"first{number}": contents_of([number * 100 + 1])[0] for number in range(60)}
    sender, receiver, rnd = our_raptorq(first), TheirReceiver(tmp_path), random.Random(4)
    stream = all_datagrams(sender)
    second = {f"second{number}": content for number, content in enumerate(contents_of([5000, 6000, 1]))}
    sender.publish(
        [
            Outgoing(toi, name, "text/plain", len(content), lambda content=content: content)  # type: ignore[misc]
            for toi, (name, content) in enumerate(second.items(), 100)
        ],
        10.0,
    )
    later = all_datagrams(sender, 10.0)
    descriptions = [d for d in later if decode_packet(d).header.toi == 0]
    assert len(max(descriptions, key=len)) < len(max(stream, key=len)) / 2
    receiver.push(shuffled(stream + later, rnd))
    assert receiver.lacks(first | second) == []


# Theirs to ours


def their_no_code(
    objects: Sequence[tuple[str, bytes]],
    *,
    in_band: bool,
    interleaved: bool = False,
    first_instance: int = 1,
    batch: int = 1 << 16,
) -> Stream:
    """One transfer; every `batch` objects they publish an FDT with all objects there are so far."""
    config = flute_sender.Config()
    config.fdt_start_id = first_instance
    if not interleaved:
        config.multiplex_files = 1
        config.interleave_blocks = 1
    oti = flute_sender.Oti.new_no_code(SYMBOL, BLOCK_SYMBOLS)
    oti.inband_fti = in_band
    sender = flute_sender.Sender(TSI, oti, config)
    stream: Stream = []
    for at in range(0, len(objects), batch):
        for location, content in objects[at : at + batch]:
            sender.add_object_from_buffer(content, "application/octet-stream", f"file:///{location}", None)
        sender.publish()
        while (datagram := sender.read()) is not None:
            stream.append(bytes(datagram))
    return stream


def site_of(sizes: Sequence[int]) -> Site:
    """A site with a bundle of each size; flute-alc numbers objects as `make_site` does: 1, 2, and so on."""
    contents = contents_of(sizes)
    return make_site(contents, bundle_bytes=sizes[0] if len(sizes) == 1 else 1 << 20)


def as_objects(site: Site) -> list[tuple[str, bytes]]:
    return [(outgoing.location, outgoing.load()) for outgoing in site.objects]


def our_receiver() -> Edge:
    return Edge("edge", seed=1, unix_offset_s=time.time())


def take(edge: Edge, stream: Iterable[bytes], now: float) -> None:
    for datagram in stream:
        edge.receiver.datagram_received(datagram, now)
    edge.drain(now)


def missing_after(edge: Edge, now: float) -> Iterator[tuple[float, dict[int, int]]]:
    """The reports that follow silence, with their times."""
    while (deadline := edge.receiver.next_deadline()) is not None:
        now = max(now, deadline)
        edge.receiver.handle_timeout(now)
        for report in edge.drain(now):
            yield now, dict(report.missing)


def receive_their_objects(
    sizes: Sequence[int], network: Network, *, in_band: bool, interleaved: bool = False
) -> None:
    """Take transfer after transfer until the site is there, as a carousel gives them."""
    site = site_of(sizes)
    edge, rnd, now = our_receiver(), random.Random(5), 0.0
    for transfer in range(MOST_PASSES):
        instance = 1 + transfer
        stream = their_no_code(
            as_objects(site), in_band=in_band, interleaved=interleaved, first_instance=instance
        )
        take(edge, network(stream, rnd), now)
        if edge.complete:
            break
        now, missing = next(missing_after(edge, now))
        assert set(missing) <= {0, *(outgoing.toi for outgoing in site.objects)}
    assert edge.store == site.blobs
    assert edge.complete == {1: now}
    assert transfer == 0 or network in (lossy, lossy_shuffled)
    assert edge.rejected == []


@CASES
@NETWORK
@pytest.mark.parametrize("interleaved", [False, True])
def test_we_read_their_objects(sizes: Sequence[int], network: Network, interleaved: bool) -> None:
    receive_their_objects(sizes, network, in_band=False, interleaved=interleaved)


@CASES
@pytest.mark.parametrize("network", [lossless, lossy], ids=lambda network: network.__name__)
def test_we_read_their_objects_with_in_band_information(sizes: Sequence[int], network: Network) -> None:
    receive_their_objects(sizes, network, in_band=True)


def test_we_ask_for_exactly_what_is_missing_of_theirs() -> None:
    site = site_of([300_000])
    stream = their_no_code(as_objects(site), in_band=False)
    lost = {number for number, d in enumerate(stream) if decode_packet(d).header.toi == 2 and number % 9 == 3}
    edge = our_receiver()
    take(edge, [d for number, d in enumerate(stream) if number not in lost], 0.0)
    _, missing = next(missing_after(edge, 0.0))
    assert missing == {2: len(lost)}
    take(edge, [stream[number] for number in lost], 2.0)
    assert edge.complete == {1: 2.0}


@pytest.mark.parametrize("in_band", [False, True])
def test_their_empty_object_disturbs_nothing(in_band: bool) -> None:
    site = site_of([5000, 1])
    edge = our_receiver()
    take(edge, their_no_code([*as_objects(site), ("empty", b"")], in_band=in_band), 0.0)
    assert edge.complete == {1: 0.0}
    assert edge.store == site.blobs


MANY = make_site([random.Random(number).randbytes(1000) for number in range(60)], bundle_bytes=1000)


def fdt_packets(stream: Stream) -> list[Oti]:
    packets = [packet.header for packet in map(decode_packet, stream) if packet.header.toi == 0]
    return [oti for header in packets if (oti := decode_fti(header)) is not None]


@NETWORK
def test_we_read_their_description_of_many_objects_in_several_packets(network: Network) -> None:
    edge, rnd, now = our_receiver(), random.Random(6), 0.0
    for transfer in range(2 * MOST_PASSES):
        stream = their_no_code(as_objects(MANY), in_band=False, first_instance=1 + transfer)
        assert Counter(fdt_packets(stream)).most_common(1)[0][0].source_symbols > 5
        take(edge, network(stream, rnd), now)
        if edge.complete:
            break
        now, _ = next(missing_after(edge, now))
    assert edge.store == MANY.blobs
    assert transfer == 0 or network in (lossy, lossy_shuffled)


def test_we_read_their_descriptions_that_grow() -> None:
    edge = our_receiver()
    take(edge, their_no_code(as_objects(MANY), in_band=False, batch=20), 0.0)
    assert edge.store == MANY.blobs
