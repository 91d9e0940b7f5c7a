"""Byte vectors made with scapy, an independent implementation, and the rules of the RFCs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from controller.state.gateway import listener_query, neighbor_advertisement, router_advertisement
from controller.wire.checksum import internet_checksum
from controller.wire.frames import ICMPV6, Frame, WireError, encode_frame, multicast_mac, parse_frame
from controller.wire.icmpv6 import icmp_message
from controller.wire.mld import (
    Query,
    Record,
    RecordType,
    Report,
    decode_code,
    decode_mld,
    encode_code,
    encode_mld,
)
from controller.wire.nd import (
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    decode_nd,
    encode_nd,
)

HOST_MAC, ROUTER_MAC = "02:6e:63:10:00:09", "02:6e:63:01:00:07"
HOST = IPv6Address("2001:db8:1::9")
LINK_LOCAL = IPv6Address("fe80::9")
GATEWAY = IPv6Address("fe80::1")
GROUP, SOURCE = IPv6Address("ff35::8000:1"), IPv6Address("fd6e:6361:7374::19")

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
MLDV2_REPORT = bytes.fromhex(
    "333300000016026e6310000986dd6000000000480001fe800000000000000000000000000009ff02000000000000"
    "00000000000000163a000502000001008f00183c0000000205000001ff350000000000000000000080000001fd6e"
    "636173740000000000000000001904000000ff0200000000000000000001ff000009"
)
MLDV2_QUERY = bytes.fromhex(
    "333380000001026e6301000786dd6000000000340001fe800000000000000000000000000001ff35000000000000"
    "00000000800000013a000502000001008200a5e403e80000ff350000000000000000000080000001027d0001fd6e"
    "6361737400000000000000000019"
)
MLDV1_REPORT = bytes.fromhex(
    "333300010002026e6310000986dd6000000000200001fe800000000000000000000000000009ff0e000000000000"
    "00000000000100023a0005020000010083007fff00000000ff0e0000000000000000000000010002"
)
MLDV1_DONE = bytes.fromhex(
    "333300000002026e6310000986dd6000000000200001fe800000000000000000000000000009ff02000000000000"
    "00000000000000023a0005020000010084007f0c00000000ff0e0000000000000000000000010002"
)
ASM_GROUP = IPv6Address("ff0e::1:2")
ND_FRAMES = [DAD, SOLICITATION, ADVERTISEMENT, ROUTER_SOLICIT, ROUTER_ADVERT]
MLD_FRAMES = [MLDV2_REPORT, MLDV2_QUERY, MLDV1_REPORT, MLDV1_DONE]


def rebuilt(frame: Frame, body: bytes) -> Frame:
    """The frame with another ICMPv6 body and a right checksum."""
    return replace(frame, payload=icmp_message(frame.src, frame.dst, frame.payload[0], body))


def test_checksum_of_rfc_1071_example() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
    assert internet_checksum(b"\x01") == 0xFEFF


def test_neighbour_discovery_is_decoded() -> None:
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


def test_mld_is_decoded() -> None:
    assert decode_mld(parse_frame(MLDV2_REPORT)) == Report(
        (
            Record(RecordType.ALLOW_NEW_SOURCES, GROUP, (SOURCE,)),
            Record(RecordType.CHANGE_TO_EXCLUDE, IPv6Address("ff02::1:ff00:9")),
        )
    )
    assert decode_mld(parse_frame(MLDV2_QUERY)) == Query(1000, GROUP, (SOURCE,))
    assert decode_mld(parse_frame(MLDV1_REPORT)) == Report(
        (Record(RecordType.MODE_IS_EXCLUDE, ASM_GROUP),), version=1
    )
    assert decode_mld(parse_frame(MLDV1_DONE)) == Report(
        (Record(RecordType.CHANGE_TO_INCLUDE, ASM_GROUP),), version=1
    )


def test_the_gateway_sends_what_scapy_would() -> None:
    asked = parse_frame(SOLICITATION)
    assert neighbor_advertisement(ROUTER_MAC, asked, GATEWAY, ROUTER_MAC) == ADVERTISEMENT
    assert router_advertisement(ROUTER_MAC, IPv6Network("2001:db8:1::/64"), 1500) == ROUTER_ADVERT
    assert listener_query(ROUTER_MAC, Query(1000, GROUP, (SOURCE,))) == MLDV2_QUERY


@pytest.mark.parametrize("data", ND_FRAMES)
def test_nd_survives_a_round_trip(data: bytes) -> None:
    frame = parse_frame(data)
    assert encode_frame(replace(frame, payload=encode_nd(frame.src, frame.dst, decode_nd(frame)))) == data


@pytest.mark.parametrize("data", MLD_FRAMES)
def test_mld_survives_a_round_trip(data: bytes) -> None:
    frame = parse_frame(data)
    assert encode_frame(replace(frame, payload=encode_mld(frame.src, frame.dst, decode_mld(frame)))) == data


@pytest.mark.parametrize("data", ND_FRAMES)
def test_nd_from_beyond_the_link_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    with pytest.raises(WireError, match="hop limit 64"):
        decode_nd(replace(frame, hop_limit=64))


@pytest.mark.parametrize("data", [*ND_FRAMES, *MLD_FRAMES])
def test_a_wrong_checksum_code_or_protocol_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    decode = decode_mld if frame.router_alert else decode_nd
    with pytest.raises(WireError, match="checksum"):
        decode(replace(frame, payload=frame.payload[:-1] + bytes([frame.payload[-1] ^ 1])))
    with pytest.raises(WireError, match="code 1"):
        decode(replace(frame, payload=frame.payload[:1] + b"\1" + frame.payload[2:]))
    with pytest.raises(WireError, match="protocol 17"):
        decode(replace(frame, protocol=17))


@pytest.mark.parametrize("data", MLD_FRAMES)
def test_mld_needs_hop_limit_1_a_router_alert_and_a_link_local_source(data: bytes) -> None:
    frame = parse_frame(data)
    for broken in (replace(frame, hop_limit=255), replace(frame, router_alert=False)):
        with pytest.raises(WireError, match="Router Alert"):
            decode_mld(broken)
    with pytest.raises(WireError, match="not link-local"):
        decode_mld(rebuilt(replace(frame, src=HOST), frame.payload[4:]))


def test_the_rules_for_solicitations_and_advertisements() -> None:
    probe, asked = parse_frame(DAD), parse_frame(SOLICITATION)
    link_option = asked.payload[-8:]
    with pytest.raises(WireError, match="from ::"):
        decode_nd(rebuilt(probe, probe.payload[4:] + link_option))
    with pytest.raises(WireError, match="from ::"):
        decode_nd(rebuilt(replace(probe, dst=GATEWAY), probe.payload[4:]))
    with pytest.raises(WireError, match="multicast"):
        decode_nd(rebuilt(asked, bytes(4) + GROUP.packed))
    with pytest.raises(WireError, match="no length"):
        decode_nd(rebuilt(asked, asked.payload[4:24] + bytes(8)))
    answer, advert = parse_frame(ADVERTISEMENT), parse_frame(ROUTER_ADVERT)
    with pytest.raises(WireError, match="solicited NA"):
        decode_nd(rebuilt(replace(answer, dst=IPv6Address("ff02::1")), answer.payload[4:]))
    with pytest.raises(WireError, match="link-local"):
        decode_nd(rebuilt(replace(advert, src=HOST), advert.payload[4:]))


def test_an_unknown_record_type_is_skipped_and_the_rest_counts() -> None:
    frame = parse_frame(MLDV2_REPORT)
    body = frame.payload[4:]
    unknown = body[:4] + b"\x09" + body[5:]
    assert decode_mld(rebuilt(frame, unknown)) == Report(
        (Record(RecordType.CHANGE_TO_EXCLUDE, IPv6Address("ff02::1:ff00:9")),)
    )


def test_frames_that_are_not_ipv6_or_cut_short_are_refused() -> None:
    with pytest.raises(WireError, match="not IPv6"):
        parse_frame(DAD[:12] + b"\x08\x00" + DAD[14:])
    for length in range(len(MLDV2_REPORT)):
        with pytest.raises(WireError):
            parse_frame(MLDV2_REPORT[:length])
    assert parse_frame(DAD + bytes(6)) == parse_frame(DAD)


def test_multicast_mac_is_made_of_the_last_four_bytes() -> None:
    assert multicast_mac(GROUP) == "33:33:80:00:00:01"


@pytest.mark.parametrize(
    ("value", "bits", "code"),
    [(10_000, 15, 10_000), (32_767, 15, 32_767), (32_768, 15, 0x8000), (125, 7, 125), (128, 7, 0x80)],
)
def test_codes_of_rfc_9777(value: int, bits: int, code: int) -> None:
    assert encode_code(value, bits) == code
    assert decode_code(code, bits) == value


def test_the_largest_code() -> None:
    assert decode_code(0xFFFF, 15) == 8_387_584
    assert encode_code(10**9, 15) == 0xFFFF
    assert decode_code(0xFF, 7) == 31_744


def test_a_probe_for_a_taken_address_is_answered_to_all_nodes() -> None:
    frame = parse_frame(neighbor_advertisement(ROUTER_MAC, parse_frame(DAD), HOST, HOST_MAC))
    assert (frame.dst, frame.protocol) == (IPv6Address("ff02::1"), ICMPV6)
    assert decode_nd(frame) == NeighborAdvertisement(HOST, False, False, True, HOST_MAC)
