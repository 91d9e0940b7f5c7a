from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from controller.wire.checksum import internet_checksum
from controller.wire.frames import (
    ICMPV6,
    Frame,
    UpperLayer,
    WireError,
    encode_frame,
    ipv6_packet,
    multicast_mac,
    parse_frame,
    readdressed,
    upper_layer,
)
from tests.unit.controller import kernel_packets as kernel

SOURCE, DESTINATION = IPv6Address("2001:db8:1::9"), IPv6Address("2001:db8:2::9")
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
TCP = 6


def frame(protocol: int, payload: bytes) -> bytes:
    mac = "02:00:00:00:00:01"
    return encode_frame(Frame(mac, mac, SOURCE, DESTINATION, 64, protocol, payload))


def layer(protocol: int, payload: bytes) -> UpperLayer:
    return upper_layer(ipv6_packet(frame(protocol, payload)))


def test_checksum_of_rfc_1071_example() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
    assert internet_checksum(b"\x01") == 0xFEFF


def test_a_frame_of_the_linux_kernel_is_parsed() -> None:
    parsed = parse_frame(kernel.ROUTER_SOLICITATION)
    assert (parsed.eth_src, parsed.eth_dst) == (kernel.HOST_MAC, "33:33:00:00:00:02")
    assert (parsed.src, parsed.dst) == (kernel.HOST_LINK_LOCAL, IPv6Address("ff02::2"))
    assert (parsed.hop_limit, parsed.protocol, len(parsed.payload)) == (255, ICMPV6, 16)
    assert encode_frame(parsed) == kernel.ROUTER_SOLICITATION
    assert parse_frame(kernel.LISTENER_REPORT).router_alert


def test_frames_that_are_not_ipv6_or_cut_short_are_refused() -> None:
    data = kernel.LISTENER_REPORT
    with pytest.raises(WireError, match="not IPv6"):
        parse_frame(data[:12] + b"\x08\x00" + data[14:])
    with pytest.raises(WireError, match="not IPv6"):
        parse_frame(data[:14] + b"\x45" + data[15:])
    for length in range(len(data)):
        for parse in (parse_frame, ipv6_packet):
            with pytest.raises(WireError):
                parse(data[:length])
    assert parse_frame(data + bytes(6)) == parse_frame(data)
    assert ipv6_packet(data + bytes(6)) == data[14:]


@pytest.mark.parametrize(
    "options", [bytes(2) + b"\x05\x03\0\0", b"\x3a\x00\x05\x09\0\0\1\0", b"\x3a\x01" + bytes(6)]
)
def test_options_that_run_over_their_header_are_refused(options: bytes) -> None:
    with pytest.raises(WireError, match="Hop-by-Hop"):
        parse_frame(frame(HOP_BY_HOP, options))


def test_only_the_hop_by_hop_header_is_looked_behind() -> None:
    inside = parse_frame(kernel.PROBE).payload
    for protocol in (ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS):
        parsed = parse_frame(frame(protocol, bytes((ICMPV6, 0)) + bytes(6) + inside))
        assert parsed.protocol == protocol


def test_a_tagged_frame_is_no_frame_of_a_host_but_its_packet_can_be_had() -> None:
    data = kernel.PROBE
    tagged = data[:12] + bytes.fromhex("81000003") + data[12:]
    with pytest.raises(WireError, match="not IPv6"):
        parse_frame(tagged)
    assert ipv6_packet(tagged) == ipv6_packet(data) == data[14:]
    for length in range(len(tagged)):
        with pytest.raises(WireError):
            ipv6_packet(tagged[:length])


def test_multicast_mac_is_made_of_the_last_four_bytes() -> None:
    assert multicast_mac(IPv6Address("ff35::8000:1")) == "33:33:80:00:00:01"


def test_readdressing_leaves_the_packet_alone() -> None:
    moved = readdressed(kernel.PROBE, kernel.ROUTER_MAC, kernel.HOST_MAC)
    parsed = parse_frame(moved)
    assert (parsed.eth_src, parsed.eth_dst) == (kernel.ROUTER_MAC, kernel.HOST_MAC)
    assert moved[12:] == kernel.PROBE[12:]


def test_the_upper_layer_is_found_behind_every_extension_header() -> None:
    assert layer(TCP, bytes(20)) == (TCP, 40)
    chain = (
        bytes((DESTINATION_OPTIONS, 1)) + bytes(14),
        bytes((AUTHENTICATION, 0)) + bytes(6),
        bytes((FRAGMENT, 4)) + bytes(22),
        bytes((TCP, 0)) + struct.pack("!HI", 1, 7),
        bytes(20),
    )
    assert layer(HOP_BY_HOP, b"".join(chain)) == (TCP, 40 + 16 + 8 + 24 + 8)


def test_later_fragments_do_not_show_their_upper_layer() -> None:
    assert layer(FRAGMENT, bytes((ICMPV6, 0)) + struct.pack("!HI", 8, 7) + bytes(20)) == (ICMPV6, None)
    assert layer(FRAGMENT, bytes((ICMPV6, 0)) + struct.pack("!HI", 1, 7) + bytes(20)) == (ICMPV6, 48)


@pytest.mark.parametrize(
    ("protocol", "payload"),
    [(0, b""), (43, bytes(7)), (60, b"\x06\x01" + bytes(6)), (51, b"\x06\x09" + bytes(6)), (44, bytes(7))],
)
def test_a_chain_that_is_cut_short_is_refused(protocol: int, payload: bytes) -> None:
    with pytest.raises(WireError, match="cut short"):
        layer(protocol, payload)
