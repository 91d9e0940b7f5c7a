"""LCT, ALC and FDT against hand-written octets and the RFCs' field layouts."""

from __future__ import annotations

import zlib

import pytest

from delivery.alc import (
    NO_CODE,
    RAPTORQ,
    Oti,
    content_encoding,
    decode_fti,
    decode_packet,
    encode_ext_cenc,
    encode_ext_fdt,
    encode_fti,
    encode_payload_id,
    fdt_instance_id,
)
from delivery.announcement import Announcer, fdt_datagram, manifest_location, manifest_version
from delivery.fdt import (
    DEFLATE,
    GZIP,
    MAX_FDT_BYTES,
    ZLIB,
    FdtError,
    FdtFile,
    FdtInstance,
    decode_fdt,
    encode_fdt,
)
from delivery.lct import LctError, LctHeader, decode_lct, encode_lct

FLUTE_ALC_PACKET = bytes.fromhex("1010070000000000000700014004000000001400000005780000004000000000") + bytes(
    1400
)
"""What flute-alc 1.11.7 sends for TSI 7, TOI 1: no code, EXT_FTI, 5120 bytes in symbols of 1400."""


def test_smallest_header_is_twelve_octets() -> None:
    assert encode_lct(LctHeader(1, 2, RAPTORQ)).hex() == "10100306" + "00000000" + "0001" + "0002"


@pytest.mark.parametrize(
    ("tsi", "toi", "length"),
    [(1, 0, 12), (65535, 65535, 12), (65536, 1, 16), (1, 65536, 16), (65536, 65536, 16), (1, 1 << 32, 16),
     (1, 1 << 48, 20), ((1 << 48) - 1, (1 << 112) - 1, 28)],
)  # fmt: skip
def test_header_is_as_short_as_the_numbers_allow(tsi: int, toi: int, length: int) -> None:
    encoded = encode_lct(LctHeader(tsi, toi))
    assert len(encoded) == length == 4 * encoded[2]
    decoded, end = decode_lct(encoded)
    assert (decoded.tsi, decoded.toi, end) == (tsi, toi, length)


def test_flags_have_their_bits() -> None:
    assert encode_lct(LctHeader(1, 1, close_session=True))[1] == 0b00010010
    assert encode_lct(LctHeader(1, 1, close_object=True))[1] == 0b00010001
    header, _ = decode_lct(bytes.fromhex("10130300000000000001" + "0001"))
    assert header.close_session
    assert header.close_object


@pytest.mark.parametrize(
    "header", [LctHeader(1 << 48, 0), LctHeader(0, 1 << 112), LctHeader(-1, 0), LctHeader(0, 0, cci=1 << 128)]
)
def test_numbers_that_do_not_fit_are_refused(header: LctHeader) -> None:
    with pytest.raises(LctError):
        encode_lct(header)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "shorter"),
        ("101003", "shorter"),
        ("20100300" + "00" * 8, "version 2"),
        ("10100200" + "00" * 8, "does not fit"),
        ("10100400" + "00" * 8, "does not fit"),
        ("10100400" + "00" * 8 + "40000000", "length 0"),
        ("10100400" + "00" * 8 + "40020000", "runs past"),
    ],
)
def test_broken_headers_are_refused(octets: str, why: str) -> None:
    with pytest.raises(LctError, match=why):
        decode_lct(bytes.fromhex(octets))


def test_a_packet_of_flute_alc() -> None:
    packet = decode_packet(FLUTE_ALC_PACKET)
    assert (packet.header.tsi, packet.header.toi, packet.sbn, packet.esi) == (7, 1, 0, 0)
    assert decode_fti(packet.header) == Oti(NO_CODE, 5120, 1400, max_block_symbols=64)
    header = LctHeader(
        7, 1, NO_CODE, extensions=(encode_fti(Oti(NO_CODE, 5120, 1400, max_block_symbols=64)),)
    )
    assert encode_lct(header) + encode_payload_id(NO_CODE, 0, 0) == FLUTE_ALC_PACKET[:32]


def test_raptorq_transmission_information() -> None:
    oti = Oti(RAPTORQ, 0x123456789A, 1400, source_blocks=3, sub_blocks=0x102, alignment=8)
    het, content = encode_fti(oti)
    assert (het, content.hex()) == (64, "123456789a" + "00" + "0578" + "03" + "0102" + "08" + "0000")
    assert decode_fti(LctHeader(1, 1, RAPTORQ, extensions=((het, content),))) == oti


def test_payload_ids() -> None:
    assert encode_payload_id(NO_CODE, 0x0102, 0x0304).hex() == "01020304"
    assert encode_payload_id(RAPTORQ, 1, 0x020304).hex() == "01020304"
    packet = decode_packet(encode_lct(LctHeader(1, 1, RAPTORQ)) + bytes.fromhex("01020304") + b"symbol")
    assert (packet.sbn, packet.esi, packet.symbol) == (1, 0x020304, b"symbol")


def test_fdt_extensions() -> None:
    extensions = (encode_ext_fdt(0xABCDE), encode_ext_cenc(ZLIB))
    assert extensions == ((192, bytes.fromhex("2abcde")), (193, bytes.fromhex("010000")))
    header = LctHeader(1, 0, extensions=extensions)
    assert (fdt_instance_id(header), content_encoding(header)) == (0xABCDE, ZLIB)
    with pytest.raises(LctError, match="FLUTE version 3"):
        fdt_instance_id(LctHeader(1, 0, extensions=((192, bytes.fromhex("300000")),)))


def test_packet_may_consist_of_a_flag_alone_but_not_of_less() -> None:
    closing = encode_lct(LctHeader(1, 5, RAPTORQ, close_object=True))
    assert decode_packet(closing).symbol == b""
    with pytest.raises(LctError, match="payload ID"):
        decode_packet(encode_lct(LctHeader(1, 5, RAPTORQ)))
    with pytest.raises(LctError, match="129"):
        decode_packet(encode_lct(LctHeader(1, 5, 129)) + bytes(8))


FILES = (
    FdtFile(
        1, "manifest/3", Oti(RAPTORQ, 500, 1400), 500, "application/x", content_md5="zfQqpA3V1StQTooGgTa5BQ=="
    ),
    FdtFile(2, 'a&b<"c">/ü', Oti(RAPTORQ, 70_000, 1400), 70_000, "text/html", content_encoding="gzip"),
    FdtFile(3, "plain", Oti(NO_CODE, 0, 512, max_block_symbols=64), 0),
)


@pytest.mark.parametrize("files", [FILES, FILES[:2], FILES[2:], ()])
def test_fdt_survives_the_round_trip(files: tuple[FdtFile, ...]) -> None:
    instance = FdtInstance(1_800_000_000, files, complete=True)
    assert decode_fdt(encode_fdt(instance)) == instance


@pytest.mark.parametrize(("encoding", "bits"), [(ZLIB, 15), (DEFLATE, -15), (GZIP, 31)])
def test_compressed_fdt(encoding: int, bits: int) -> None:
    instance = FdtInstance(1_800_000_000, FILES)
    compressor = zlib.compressobj(wbits=bits)
    data = compressor.compress(encode_fdt(instance)) + compressor.flush()
    assert decode_fdt(data, encoding) == instance


GOOD = encode_fdt(FdtInstance(1_800_000_000, FILES[:1]))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", 0),
        (b"<a", 0),
        (b"\xff\xfe", 0),
        (b'<!DOCTYPE a [<!ENTITY e "e">]><FDT-Instance Expires="1"/>', 0),
        (b"<Other Expires='1'/>", 0),
        (b"<FDT-Instance/>", 0),
        (GOOD.replace(b'TOI="1"', b'TOI="x"'), 0),
        (GOOD.replace(b'TOI="1"', b'TOI="0"'), 0),
        (GOOD.replace(b'Transfer-Length="500"', b'Transfer-Length="-5"'), 0),
        (GOOD.replace(b'Symbol-Length="1400"', b'Symbol-Length="0"'), 0),
        (GOOD.replace(b'Encoding-ID="6"', b'Encoding-ID="5"'), 0),
        (GOOD.replace(b"Scheme-Specific-Info", b"Other"), 0),
        (GOOD, ZLIB),
        (zlib.compress(GOOD)[:-9], ZLIB),
        (zlib.compress(b" " * (MAX_FDT_BYTES + 1)), ZLIB),
        (GOOD, 9),
    ],
)
def test_broken_fdts_are_refused(data: bytes, encoding: int) -> None:
    assert data != GOOD or encoding
    with pytest.raises(FdtError):
        decode_fdt(data, encoding)


def test_announcer_fits_packets_and_renews() -> None:
    announcer = Announcer(1, (1 << 20) - 1, lifetime_s=100, most_bytes=1400)
    files = [
        FdtFile(
            toi,
            f"bundle/{toi}",
            Oti(RAPTORQ, toi * 999, 1400),
            toi * 999,
            "application/x",
            content_md5=f"{toi:032}",
        )
        for toi in range(1, 100)
    ]
    groups = announcer.announce(files, 1000.0)
    assert [file for group in groups for file in group.files] == files
    for number, group in enumerate(groups):
        packet = decode_packet(group.datagram)
        assert len(packet.symbol) <= 1400
        assert fdt_instance_id(packet.header) == (number - 1) % (1 << 20)
        assert decode_fdt(packet.symbol, content_encoding(packet.header)).files == group.files
    first = groups[0].datagram
    announcer.renew(groups[0], 1080.0)
    assert groups[0].datagram == first
    announcer.renew(groups[0], 1095.0)
    renewed = decode_packet(groups[0].datagram)
    assert fdt_instance_id(renewed.header) == announcer.next_instance - 1
    assert decode_fdt(renewed.symbol, ZLIB).expires_unix_s == 1195


def test_announcer_splits_groups_that_do_not_fit() -> None:
    announcer = Announcer(1, 0, lifetime_s=100, most_bytes=400)
    files = [FdtFile(toi, f"{toi * 7919**9:x}", Oti(RAPTORQ, toi, 1400), toi) for toi in range(1, 30)]
    groups = announcer.announce(files, 0.0)
    assert len(groups) > 3
    assert [file for group in groups for file in group.files] == files
    assert all(len(decode_packet(group.datagram).symbol) <= 400 for group in groups)
    with pytest.raises(ValueError, match="does not fit"):
        Announcer(1, 0, lifetime_s=100, most_bytes=50).announce(files, 0.0)


def test_manifest_locations() -> None:
    assert manifest_version(manifest_location(12)) == 12
    assert manifest_version("file:///manifest/7") == 7
    for other in (
        "bundle/7",
        "manifest/",
        "manifest/x",
        "manifest/-1",
        "manifest/7/8",
        "manifest/" + "9" * 20,
    ):
        assert manifest_version(other) is None


def test_fdt_datagram_octets() -> None:
    datagram = fdt_datagram(1, 2, b"body", 1400)
    assert datagram.hex() == (
        "10100900" "00000000" "0001" "0000"
        "c0200002" "4004" "000000000004" "0000" "0578" "00000001" "c1010000"
        "00000000" + b"body".hex()
    )  # fmt: skip
