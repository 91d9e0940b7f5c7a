"""Byte vectors made with scapy and by the Linux kernel, and the validity rules of RFC 4861."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.wire.frames import Frame, WireError, encode_frame, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_message
from controller.wire.nd import (
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    decode_nd,
    encode_nd,
    is_nd,
    solicited_node,
)
from tests.unit.controller import kernel_packets as kernel

HOST_MAC, ROUTER_MAC = "02:6e:63:10:00:09", "02:6e:63:01:00:07"
HOST = IPv6Address("2001:db8:1::9")
LINK_LOCAL = IPv6Address("fe80::9")
GATEWAY = IPv6Address("fe80::1")
GROUP = IPv6Address("ff35::8000:1")

DAD = bytes.fromhex(
    "3333ff000009026e6310000986dd6000000000183aff00000000000000000000000000000000ff02000000000000"
    "00000001ff00000987004cdc0000000020010db8000100000000000000000009"
)
SOLICITATION = bytes.fromhex(
    "3333ff000001026e6310000986dd6000000000203aff20010db8000100000000000000000009ff02000000000000"
    "00000001ff0000018700e7d100000000fe8000000000000000000000000000010101026e63100009"
)
ADVERTISEMENT = bytes.fromhex(
    "026e63100009026e6301000786dd6000000000203afffe80000000000000000000000000000120010db800010000"
    "000000000000000988000566e0000000fe8000000000000000000000000000010201026e63010007"
)
ROUTER_SOLICIT = bytes.fromhex(
    "333300000002026e6310000986dd6000000000103afffe800000000000000000000000000009ff02000000000000"
    "00000000000000028500169e000000000101026e63100009"
)
ROUTER_ADVERT = bytes.fromhex(
    "333300000001026e6301000786dd6000000000403afffe800000000000000000000000000001ff02000000000000"
    "000000000000000186008af34000070800000000000000000101026e6301000705010000000005dc0304404000278d"
    "0000093a800000000020010db8000100000000000000000000"
)
FRAMES = [DAD, SOLICITATION, ADVERTISEMENT, ROUTER_SOLICIT, ROUTER_ADVERT]
KERNEL_FRAMES = [
    kernel.LINK_LOCAL_PROBE,
    kernel.PROBE,
    kernel.ROUTER_SOLICITATION,
    kernel.SOLICITATION_OF_GATEWAY,
    kernel.GATEWAY_STILL_THERE,
    kernel.STILL_HERE,
    kernel.HERE_I_AM,
]


def rebuilt(frame: Frame, body: bytes) -> Frame:
    """The frame with another ICMPv6 body and a right checksum."""
    return replace(frame, payload=icmp_message(frame.src, frame.dst, frame.payload[0], body))


def test_messages_made_with_scapy_are_decoded() -> None:
    assert decode_nd(parse_frame(DAD)) == NeighborSolicitation(HOST)
    assert decode_nd(parse_frame(SOLICITATION)) == NeighborSolicitation(GATEWAY, HOST_MAC)
    assert decode_nd(parse_frame(ADVERTISEMENT)) == NeighborAdvertisement(
        GATEWAY, True, True, True, ROUTER_MAC
    )
    assert decode_nd(parse_frame(ROUTER_SOLICIT)) == RouterSolicitation(HOST_MAC)
    advert = decode_nd(parse_frame(ROUTER_ADVERT))
    assert isinstance(advert, RouterAdvertisement)
    assert (advert.lifetime_s, advert.hop_limit, advert.mtu_bytes) == (1800, 64, 1500)
    assert [(str(p.prefix), p.on_link, p.autonomous) for p in advert.prefixes] == [
        ("2001:db8:1::/64", False, True)
    ]


def test_messages_of_the_linux_kernel_are_decoded() -> None:
    assert [decode_nd(parse_frame(data)) for data in KERNEL_FRAMES] == [
        NeighborSolicitation(kernel.HOST_LINK_LOCAL),
        NeighborSolicitation(kernel.HOST),
        RouterSolicitation(kernel.HOST_MAC),
        NeighborSolicitation(GATEWAY, kernel.HOST_MAC),
        NeighborSolicitation(GATEWAY, kernel.HOST_MAC),
        NeighborAdvertisement(kernel.HOST, False, True, False),
        NeighborAdvertisement(kernel.HOST, False, True, True, kernel.HOST_MAC),
    ]


@pytest.mark.parametrize("data", FRAMES + KERNEL_FRAMES[2:])
def test_messages_survive_a_round_trip(data: bytes) -> None:
    frame = parse_frame(data)
    assert is_nd(frame)
    assert encode_frame(replace(frame, payload=encode_nd(frame.src, frame.dst, decode_nd(frame)))) == data


@pytest.mark.parametrize("data", FRAMES + KERNEL_FRAMES)
def test_what_comes_from_beyond_the_link_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    for hop_limit in (0, 1, 64, 254):
        with pytest.raises(WireError, match=f"hop limit {hop_limit}$"):
            decode_nd(replace(frame, hop_limit=hop_limit))


@pytest.mark.parametrize("data", FRAMES + KERNEL_FRAMES)
def test_a_wrong_checksum_code_or_protocol_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    with pytest.raises(WireError, match="checksum"):
        decode_nd(replace(frame, payload=frame.payload[:-1] + bytes([frame.payload[-1] ^ 1])))
    with pytest.raises(WireError, match="code 1"):
        decode_nd(replace(frame, payload=frame.payload[:1] + b"\1" + frame.payload[2:]))
    with pytest.raises(WireError, match="protocol 17"):
        decode_nd(replace(frame, protocol=17))


@pytest.mark.parametrize("data", FRAMES + KERNEL_FRAMES)
def test_a_message_that_is_cut_short_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    least = {IcmpType.ROUTER_SOLICITATION: 4, IcmpType.ROUTER_ADVERTISEMENT: 12}.get(
        IcmpType(frame.payload[0]), 20
    )
    for length in range(least):
        with pytest.raises(WireError, match="cut short"):
            decode_nd(rebuilt(frame, frame.payload[4 : 4 + length]))
    whole = frame.payload[4 : 4 + least]
    for extra in range(1, 8):
        with pytest.raises(WireError, match="runs over"):
            decode_nd(rebuilt(frame, whole + b"\1\1abcdef"[:extra]))


def test_probes_go_to_the_solicited_node_group_without_a_link_layer_address() -> None:
    probe, link_option = parse_frame(DAD), parse_frame(SOLICITATION).payload[-8:]
    with pytest.raises(WireError, match="from ::"):
        decode_nd(rebuilt(probe, probe.payload[4:] + link_option))
    with pytest.raises(WireError, match="from ::"):
        decode_nd(rebuilt(replace(probe, dst=GATEWAY), probe.payload[4:]))


def test_a_target_is_never_multicast() -> None:
    for data in (SOLICITATION, ADVERTISEMENT):
        with pytest.raises(WireError, match="multicast"):
            decode_nd(rebuilt(parse_frame(data), bytes(4) + GROUP.packed))


def test_nothing_comes_from_a_multicast_address() -> None:
    asked = parse_frame(SOLICITATION)
    with pytest.raises(WireError, match="from a multicast"):
        decode_nd(rebuilt(replace(asked, src=GROUP), asked.payload[4:]))


def test_an_option_has_a_length() -> None:
    asked = parse_frame(SOLICITATION)
    with pytest.raises(WireError, match="no length"):
        decode_nd(rebuilt(asked, asked.payload[4:24] + bytes(8)))


def test_options_that_are_not_known_are_skipped() -> None:
    asked = parse_frame(SOLICITATION)
    body = asked.payload[4:24] + b"\x0e\1abcdef" + b"\xfe\2" + bytes(14) + asked.payload[24:]
    assert decode_nd(rebuilt(asked, body)) == NeighborSolicitation(GATEWAY, HOST_MAC)


def test_an_answer_to_all_nodes_is_not_a_solicited_one() -> None:
    answer = parse_frame(ADVERTISEMENT)
    with pytest.raises(WireError, match="solicited NA"):
        decode_nd(rebuilt(replace(answer, dst=IPv6Address("ff02::1")), answer.payload[4:]))


def test_a_host_without_an_address_tells_no_link_layer_address_to_routers() -> None:
    asked = parse_frame(ROUTER_SOLICIT)
    nameless = replace(asked, src=IPv6Address("::"))
    with pytest.raises(WireError, match="RS from ::"):
        decode_nd(rebuilt(nameless, asked.payload[4:]))
    assert decode_nd(rebuilt(nameless, bytes(4))) == RouterSolicitation()


def test_routers_advertise_from_link_local_addresses() -> None:
    advert = parse_frame(ROUTER_ADVERT)
    with pytest.raises(WireError, match="link-local"):
        decode_nd(rebuilt(replace(advert, src=HOST), advert.payload[4:]))


def test_a_prefix_is_at_most_128_bits_long() -> None:
    advert = parse_frame(ROUTER_ADVERT)
    body = advert.payload[4:]
    start = body.index(b"\x03\x04")
    with pytest.raises(WireError, match="prefix length 129"):
        decode_nd(rebuilt(advert, body[: start + 2] + b"\x81" + body[start + 3 :]))


def test_a_redirect_is_recognized_and_not_decoded() -> None:
    redirect = rebuilt(parse_frame(ROUTER_SOLICIT), bytes(36))
    redirect = replace(
        redirect, payload=icmp_message(redirect.src, redirect.dst, IcmpType.REDIRECT, bytes(36))
    )
    assert is_nd(redirect)
    with pytest.raises(WireError, match="not a known"):
        decode_nd(redirect)
    assert not is_nd(parse_frame(kernel.ECHO_REQUEST))


def test_the_solicited_node_group_has_the_last_24_bits_of_the_address() -> None:
    assert solicited_node(IPv6Address("4037::1:800:200e:8c6c")) == IPv6Address("ff02::1:ff0e:8c6c")
    assert solicited_node(kernel.HOST) == parse_frame(kernel.PROBE).dst
