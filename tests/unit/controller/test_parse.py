"""Frames as the switches' datapath reads them: bytes written by hand."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from controller.verify.packet import TCP, Packet
from controller.verify.parse import FRAGMENT, NO_NEXT_HEADER, parse_packet
from controller.wire.frames import ICMPV6, UDP, WireError

MACS = "02 6e 63 01 00 01  02 6e 63 10 00 01"
SRC = "20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 05"
DST = "20 01 0d b8 ff ff 00 00 00 00 00 00 00 00 00 01"
UDP_HEADER = "9c 40 00 35 00 08 00 00"
TCP_HEADER = "9c 40 00 50 00 00 00 01 00 00 00 00 50 02 20 00 00 00 00 00"
ECHO = "80 00 12 34 00 01 00 02"
OPTIONS = "{next} 00 01 04 00 00 00 00"
ROUTING = "{next} 02 00 01 00 00 00 00 fd 6e 63 61 73 74 00 00 00 00 00 00 00 00 00 04"
AUTHENTICATION = "{next} 02 00 00 00 00 00 01 00 00 00 01 00 00 00 00"
PACKET = Packet(
    "02:6e:63:10:00:01",
    "02:6e:63:01:00:01",
    IPv6Address("2001:db8:1::5"),
    IPv6Address("2001:db8:ffff::1"),
    hop_limit=7,
)


def frame(protocol: int, *parts: str, kind: str = "86 dd", hop_limit: int = 7) -> bytes:
    """An Ethernet frame whose IPv6 payload are these parts; `kind` is everything from the EtherType on."""
    payload = bytes.fromhex(" ".join(parts))
    header = f"60 00 00 00 {len(payload):04x} {protocol:02x} {hop_limit:02x} {SRC} {DST}"
    return bytes.fromhex(f"{MACS} {kind} {header}") + payload


def fragment(protocol: int, place: int, more: int) -> str:
    return f"{protocol:02x} 00 {place | more:04x} 00 00 00 01"


def test_ports_and_types_are_found() -> None:
    found = parse_packet(frame(UDP, UDP_HEADER))
    assert (found.ip_proto, found.port_src, found.port_dst, found.icmpv6_type) == (UDP, 40000, 53, None)
    assert (found.eth_src, found.eth_dst) == (PACKET.eth_src, PACKET.eth_dst)
    assert (found.src, found.dst, found.hop_limit) == (PACKET.src, PACKET.dst, 7)
    assert (found.frame_bytes, found.tags, found.is_fragment) == (62, (), False)
    assert parse_packet(frame(TCP, TCP_HEADER)).port_dst == 80
    found = parse_packet(frame(ICMPV6, ECHO))
    assert (found.ip_proto, found.icmpv6_type, found.port_dst) == (ICMPV6, 128, None)


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        (0, (OPTIONS.format(next="11"),)),
        (60, (OPTIONS.format(next="11"),)),
        (43, (ROUTING.format(next="11"),)),
        (51, (AUTHENTICATION.format(next="11"),)),
        (0, (OPTIONS.format(next="3c"), OPTIONS.format(next="2b"), ROUTING.format(next="11"))),
    ],
)
def test_extension_headers_are_skipped(first: int, headers: tuple[str, ...]) -> None:
    found = parse_packet(frame(first, *headers, UDP_HEADER))
    assert (found.ip_proto, found.port_dst) == (UDP, 53)


@pytest.mark.parametrize("protocol", [50, 59, 132, 135, 139, 140, 253])
def test_other_headers_are_the_end(protocol: int) -> None:
    found = parse_packet(frame(protocol, OPTIONS.format(next="11"), UDP_HEADER))
    assert (found.ip_proto, found.port_dst, found.icmpv6_type) == (protocol, None, None)


@pytest.mark.parametrize("more", [0, 1])
def test_a_first_fragment_hides_its_ports_even_if_it_is_the_whole_packet(more: int) -> None:
    found = parse_packet(frame(44, fragment(UDP, 0, more), UDP_HEADER))
    assert (found.ip_proto, found.port_src, found.port_dst) == (UDP, None, None)
    found = parse_packet(frame(44, fragment(ICMPV6, 0, more), ECHO))
    assert (found.ip_proto, found.icmpv6_type, found.is_fragment) == (ICMPV6, None, True)


def test_a_later_fragment_has_no_protocol_but_that_of_fragments() -> None:
    found = parse_packet(frame(44, fragment(UDP, 8, 0), UDP_HEADER))
    assert (found.ip_proto, found.port_dst, found.is_fragment) == (FRAGMENT, None, True)


@pytest.mark.parametrize(
    ("first", "rest", "is_fragment"),
    [
        (60, "11 c8 01 04", False),
        (44, "11 00", True),
        (43, "", False),
        (0, OPTIONS.format(next="2c") + " 11 00", True),
    ],
)
def test_a_chain_that_is_cut_short_ends_in_no_header(first: int, rest: str, is_fragment: bool) -> None:
    found = parse_packet(frame(first, rest))
    assert (found.ip_proto, found.is_fragment) == (NO_NEXT_HEADER, is_fragment)


def test_an_upper_layer_that_is_cut_short_has_no_fields() -> None:
    assert parse_packet(frame(UDP, "9c 40")).port_dst is None
    assert parse_packet(frame(ICMPV6)).icmpv6_type is None


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("81 00 00 03 86 dd", (3,)),
        ("81 00 e0 00 86 dd", (0,)),
        ("88 a8 0f ff 86 dd", (4095,)),
        ("88 a8 00 01 81 00 00 02 86 dd", (1, 2)),
    ],
)
def test_tags_are_read_and_not_counted(kind: str, tags: tuple[int, ...]) -> None:
    found = parse_packet(frame(UDP, UDP_HEADER, kind=kind))
    assert (found.tags, found.frame_bytes, found.port_dst) == (tags, 62, 53)


def test_snap_is_ipv6_too() -> None:
    found = parse_packet(frame(UDP, UDP_HEADER, kind="00 38 aa aa 03 00 00 00 86 dd"))
    assert (found.src, found.port_dst) == (PACKET.src, 53)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame(UDP, UDP_HEADER)[:12],
        frame(UDP, UDP_HEADER)[:53],
        frame(UDP, UDP_HEADER, kind="08 00"),
        frame(UDP, UDP_HEADER, kind="81 00 00 03"),
        frame(UDP, UDP_HEADER, kind="81 00 00 03")[:15],
        frame(UDP, UDP_HEADER, kind="00 38 42 42 03"),
        frame(UDP, UDP_HEADER).replace(b"\x60\x00", b"\x40\x00", 1),
    ],
)
def test_what_is_not_ipv6_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_packet(data)
