"""Symbols in, content out: both FEC schemes at their edges."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from delivery.alc import NO_CODE, RAPTORQ, Oti
from delivery.fec import Decoder, RaptorQEncoder, is_supported, no_code_symbols, partition, raptorq_oti
from delivery.manifest import MAX_CODED_BYTES


def keyed(packets: Iterable[bytes]) -> dict[bytes, bytes]:
    return {packet[:4]: packet for packet in packets}


@pytest.mark.parametrize(
    ("length", "size", "most", "blocks"),
    [
        (1, 10, 5, [1]),
        (50, 10, 5, [5]),
        (51, 10, 5, [3, 3]),
        (169, 10, 5, [5, 4, 4, 4]),
        (0, 10, 5, [1]),
        (70, 10, 3, [3, 2, 2]),
    ],
)
def test_partition_follows_rfc_5052(length: int, size: int, most: int, blocks: list[int]) -> None:
    assert partition(length, size, most) == blocks


@pytest.mark.parametrize("length", [1, 7, 8, 1399, 1400, 1401, 14_000, 100_001])
def test_source_symbols_are_those_of_the_code(length: int) -> None:
    from raptorq import Encoder

    content = random.Random(length).randbytes(length)
    ours = list(RaptorQEncoder(content, 1400).source())
    assert ours == Encoder.with_defaults(content, 1400).get_encoded_packets(0)


@pytest.mark.parametrize("length", [1, 1400, 1401, 30_000, 300_000])
@pytest.mark.parametrize("loss", [0.0, 0.3, 1.0])
def test_raptorq_decodes_from_any_mixture(length: int, loss: float) -> None:
    rnd = random.Random(length)
    content = rnd.randbytes(length)
    encoder = RaptorQEncoder(content, 1400)
    symbols = keyed(packet for packet in encoder.source() if rnd.random() >= loss)
    decoder = Decoder(encoder.oti)
    while (decoded := decoder.decode(symbols)) is None:
        symbols |= keyed(encoder.repair(decoder.missing(len(symbols))))
        assert len(symbols) < encoder.oti.source_symbols + 5
    assert decoded == content


def test_repair_symbols_never_repeat() -> None:
    content = bytes(range(256)) * 100
    encoder = RaptorQEncoder(content, 1400)
    seen = [packet[:4] for count in (1, 2, 30) for packet in encoder.repair(count)]
    seen += [packet[:4] for packet in RaptorQEncoder(content, 1400).repair(5, already_used=33)]
    first = encoder.oti.source_symbols
    assert seen == [esi.to_bytes(4, "big") for esi in range(first, first + 38)]


def test_wrong_packets_are_weeded_out() -> None:
    content = random.Random(3).randbytes(5000)
    encoder = RaptorQEncoder(content, 1400)
    symbols = keyed(encoder.source())
    del symbols[bytes(4)]
    symbols |= keyed([b"\1\0\0\0" + bytes(1400), b"\0\0\0\7" + bytes(1000), b"\0\0\0\x08" + bytes(1401)])
    decoder = Decoder(encoder.oti)
    assert decoder.decode(symbols) is None
    assert len(symbols) == 3
    assert decoder.decode(symbols | keyed(encoder.repair(2))) == content


@pytest.mark.parametrize("length", [1, 511, 512, 513, 10_000])
def test_no_code(length: int) -> None:
    content = random.Random(length).randbytes(length)
    oti = Oti(NO_CODE, length, 512, max_block_symbols=4)
    packets = list(no_code_symbols(content, oti))
    decoder = Decoder(oti)
    assert decoder.needed == len(packets)
    symbols = keyed(packets)
    lost = symbols.pop(packets[-1][:4])
    symbols[b"\xff\xff\0\0"] = b"\xff\xff\0\0" + bytes(512)
    assert decoder.decode(symbols) is None
    assert decoder.decode(symbols | {lost[:4]: lost[:-1]}) is None
    assert decoder.decode(symbols | {lost[:4]: lost}) == content


@pytest.mark.parametrize(
    "oti",
    [
        Oti(RAPTORQ, 0, 1400),
        Oti(RAPTORQ, MAX_CODED_BYTES + 1, 1400),
        Oti(RAPTORQ, 1000, 1401),
        Oti(RAPTORQ, 1000, 0),
        Oti(RAPTORQ, 1000, 1400, source_blocks=2),
        Oti(RAPTORQ, 1000, 1400, sub_blocks=2),
        Oti(RAPTORQ, 1000, 1400, alignment=4),
        Oti(RAPTORQ, MAX_CODED_BYTES, 8),
        Oti(NO_CODE, MAX_CODED_BYTES, 1, max_block_symbols=64),
        Oti(NO_CODE, 1000, 1400, max_block_symbols=0),
        Oti(5, 1000, 1400),
    ],
)
def test_what_cannot_be_decoded_is_known_beforehand(oti: Oti) -> None:
    assert not is_supported(oti)


def test_largest_object_is_one_block_for_the_library_too() -> None:
    from raptorq import Encoder

    with pytest.raises(ValueError, match="no RaptorQ object"):
        raptorq_oti(MAX_CODED_BYTES + 1, 1400)
    oti = raptorq_oti(MAX_CODED_BYTES, 1400)
    packets = Encoder.with_defaults(bytes(MAX_CODED_BYTES), 1400).get_encoded_packets(1)
    assert len(packets) == oti.source_symbols + 1
    assert packets[-1][0] == 0
