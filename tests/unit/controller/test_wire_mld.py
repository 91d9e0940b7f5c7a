"""MLD messages: byte vectors made with scapy, an independent implementation, and captured from Linux."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.state.router_frames import listener_query
from controller.wire.frames import Frame, encode_frame, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_message
from controller.wire.mld import (
    ANY_GROUP,
    Fault,
    MldError,
    Query,
    Record,
    RecordType,
    Report,
    decode_code,
    decode_mld,
    encode_code,
    encode_mld,
)

ROUTER_MAC = "02:6e:63:01:00:07"
LINK_LOCAL = IPv6Address("fe80::9")
GROUP, SOURCE = IPv6Address("ff35::8000:1"), IPv6Address("fd6e:6361:7374::19")
ASM_GROUP = IPv6Address("ff0e::1:2")
SOLICITED = IPv6Address("ff02::1:ff10:9")

REPORT = bytes.fromhex(
    "333300000016026e6310000986dd6000000000480001fe800000000000000000000000000009ff02000000000000"
    "00000000000000163a000502000001008f00183c0000000205000001ff350000000000000000000080000001fd6e"
    "636173740000000000000000001904000000ff0200000000000000000001ff000009"
)
QUERY = bytes.fromhex(
    "333380000001026e6301000786dd6000000000340001fe800000000000000000000000000001ff35000000000000"
    "00000000800000013a000502000001008200a5e403e80000ff350000000000000000000080000001027d0001fd6e"
    "6361737400000000000000000019"
)
VERSION_1_REPORT = bytes.fromhex(
    "333300010002026e6310000986dd6000000000200001fe800000000000000000000000000009ff0e000000000000"
    "00000000000100023a0005020000010083007fff00000000ff0e0000000000000000000000010002"
)
VERSION_1_DONE = bytes.fromhex(
    "333300000002026e6310000986dd6000000000200001fe800000000000000000000000000009ff02000000000000"
    "00000000000000023a0005020000010084007f0c00000000ff0e0000000000000000000000010002"
)
SCAPY = [REPORT, QUERY, VERSION_1_REPORT, VERSION_1_DONE]

# Linux 6.18, one end of a veth pair. Every frame starts and ends alike: 33:33, its own address, IPv6.
LINUX_DURING_DAD = bytes.fromhex(
    "333300000016026e6310000986dd600000000024000100000000000000000000000000000000ff02000000000000"
    "00000000000000163a000502000001008f006f710000000104000000ff0200000000000000000001ff100009"
)
LINUX_JOINS_A_SOURCE = bytes.fromhex(
    "333300000016026e6310000986dd6000000000340001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f00b7e00000000105000001ff350000000000000000000080000001fd6e"
    "6361737400000000000000000019"
)
LINUX_JOINS = bytes.fromhex(
    "333300000016026e6310000986dd6000000000240001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f000d750000000104000000ff0e0000000000000000000000010002"
)
LINUX_BLOCKS_A_SOURCE = bytes.fromhex(
    "333300000016026e6310000986dd6000000000340001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f0037060000000106000001ff0e0000000000000000000000010002fd6e"
    "6361737400000000000000000019"
)
LINUX_ANSWERS_A_GENERAL_QUERY = bytes.fromhex(
    "333300000016026e6310000986dd60000000006c0001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f00e6170000000302000001ff0e0000000000000000000000010002fd6e"
    "636173740000000000000000001901000001ff350000000000000000000080000001fd6e63617374000000000000"
    "0000001902000000ff0200000000000000000001ff100009"
)
LINUX_ANSWERS_FOR_A_SOURCE = bytes.fromhex(
    "333300000016026e6310000986dd6000000000340001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f00bbe00000000101000001ff350000000000000000000080000001fd6e"
    "6361737400000000000000000019"
)
LINUX_LEAVES = bytes.fromhex(
    "333300000016026e6310000986dd6000000000240001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f000e750000000103000000ff0e0000000000000000000000010002"
)
LINUX_LEAVES_A_SOURCE = bytes.fromhex(
    "333300000016026e6310000986dd6000000000340001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000163a000502000001008f00b6e00000000106000001ff350000000000000000000080000001fd6e"
    "6361737400000000000000000019"
)
# With net.ipv6.conf.<interface>.force_mld_version = 1.
LINUX_VERSION_1_JOINS = bytes.fromhex(
    "333300010002026e6310000986dd6000000000200001fe80000000000000006e63fffe100009ff0e000000000000"
    "00000000000100023a0005020000010083001d8100000000ff0e0000000000000000000000010002"
)
LINUX_VERSION_1_LEAVES = bytes.fromhex(
    "333300000002026e6310000986dd6000000000200001fe80000000000000006e63fffe100009ff02000000000000"
    "00000000000000023a0005020000010084001c8e00000000ff0e0000000000000000000000010002"
)


def one(kind: RecordType, group: IPv6Address, *sources: IPv6Address, version: int = 2) -> Report:
    return Report((Record(kind, group, sources),), version)


LINUX = {
    LINUX_JOINS_A_SOURCE: one(RecordType.ALLOW_NEW_SOURCES, GROUP, SOURCE),
    LINUX_JOINS: one(RecordType.CHANGE_TO_EXCLUDE, ASM_GROUP),
    LINUX_BLOCKS_A_SOURCE: one(RecordType.BLOCK_OLD_SOURCES, ASM_GROUP, SOURCE),
    LINUX_ANSWERS_A_GENERAL_QUERY: Report(
        (
            Record(RecordType.MODE_IS_EXCLUDE, ASM_GROUP, (SOURCE,)),
            Record(RecordType.MODE_IS_INCLUDE, GROUP, (SOURCE,)),
            Record(RecordType.MODE_IS_EXCLUDE, SOLICITED),
        )
    ),
    LINUX_ANSWERS_FOR_A_SOURCE: one(RecordType.MODE_IS_INCLUDE, GROUP, SOURCE),
    LINUX_LEAVES: one(RecordType.CHANGE_TO_INCLUDE, ASM_GROUP),
    LINUX_LEAVES_A_SOURCE: one(RecordType.BLOCK_OLD_SOURCES, GROUP, SOURCE),
    LINUX_VERSION_1_JOINS: one(RecordType.MODE_IS_EXCLUDE, ASM_GROUP, version=1),
    LINUX_VERSION_1_LEAVES: one(RecordType.CHANGE_TO_INCLUDE, ASM_GROUP, version=1),
}


def with_body(frame: Frame, body: bytes) -> Frame:
    """The frame with another ICMPv6 body and a right checksum."""
    return replace(frame, payload=icmp_message(frame.src, frame.dst, frame.payload[0], body))


def fault_of(frame: Frame) -> Fault:
    with pytest.raises(MldError) as raised:
        decode_mld(frame)
    return raised.value.fault


def test_messages_made_with_scapy_are_decoded() -> None:
    assert decode_mld(parse_frame(REPORT)) == Report(
        (
            Record(RecordType.ALLOW_NEW_SOURCES, GROUP, (SOURCE,)),
            Record(RecordType.CHANGE_TO_EXCLUDE, IPv6Address("ff02::1:ff00:9")),
        )
    )
    assert decode_mld(parse_frame(QUERY)) == Query(1000, GROUP, (SOURCE,))
    assert decode_mld(parse_frame(VERSION_1_REPORT)) == one(RecordType.MODE_IS_EXCLUDE, ASM_GROUP, version=1)
    assert decode_mld(parse_frame(VERSION_1_DONE)) == one(RecordType.CHANGE_TO_INCLUDE, ASM_GROUP, version=1)


@pytest.mark.parametrize("data", LINUX)
def test_what_the_linux_kernel_sends_is_decoded_and_would_be_encoded_alike(data: bytes) -> None:
    frame = parse_frame(data)
    assert decode_mld(frame) == LINUX[data]
    assert encode_frame(replace(frame, payload=encode_mld(frame.src, frame.dst, LINUX[data]))) == data


@pytest.mark.parametrize("data", SCAPY)
def test_messages_survive_a_round_trip(data: bytes) -> None:
    frame = parse_frame(data)
    assert encode_frame(replace(frame, payload=encode_mld(frame.src, frame.dst, decode_mld(frame)))) == data


def test_a_query_of_ours_is_what_scapy_would_send() -> None:
    assert listener_query(ROUTER_MAC, Query(1000, GROUP, (SOURCE,))) == QUERY


def test_a_general_query_goes_to_all_nodes_and_a_specific_one_to_its_group() -> None:
    for group, destination in ((ANY_GROUP, "ff02::1"), (GROUP, str(GROUP))):
        frame = parse_frame(listener_query(ROUTER_MAC, Query(1000, group)))
        assert (str(frame.src), str(frame.dst)) == ("fe80::1", destination)
        assert (frame.hop_limit, frame.router_alert) == (1, True)


@pytest.mark.parametrize("data", SCAPY)
def test_what_does_not_come_from_the_link_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    for hop_limit in (0, 2, 255):
        assert fault_of(replace(frame, hop_limit=hop_limit)) is Fault.HOP_LIMIT
    assert fault_of(replace(frame, router_alert=False)) is Fault.NO_ROUTER_ALERT
    for source in ("2001:db8:1::9", "fe80:0:0:1::9", "ff02::1"):
        assert fault_of(with_body(replace(frame, src=IPv6Address(source)), frame.payload[4:])) is Fault.SOURCE


def test_a_report_from_the_unspecified_address_is_refused() -> None:
    assert fault_of(parse_frame(LINUX_DURING_DAD)) is Fault.SOURCE


@pytest.mark.parametrize("data", SCAPY)
def test_a_wrong_checksum_or_protocol_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    assert fault_of(replace(frame, payload=frame.payload[:-1] + b"\xaa")) is Fault.CHECKSUM
    assert fault_of(replace(frame, protocol=17)) is Fault.NOT_MLD


@pytest.mark.parametrize("data", SCAPY)
def test_the_code_is_ignored(data: bytes) -> None:
    frame = parse_frame(data)
    kind, body = frame.payload[0], frame.payload[4:]
    summed = icmp_message(frame.src, frame.dst, kind, body)
    checksum = int.from_bytes(summed[2:4]) - 7
    coded = bytes([kind, 7]) + (checksum % 0xFFFF).to_bytes(2) + body
    assert decode_mld(replace(frame, payload=coded)) == decode_mld(frame)


def test_other_icmpv6_messages_are_not_mld() -> None:
    frame = parse_frame(REPORT)
    echo = icmp_message(frame.src, frame.dst, IcmpType.ECHO_REQUEST, frame.payload[4:])
    assert fault_of(replace(frame, payload=echo)) is Fault.NOT_MLD


@pytest.mark.parametrize("data", SCAPY)
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    frame = parse_frame(data)
    body = frame.payload[4:]
    for length in range(len(body)):
        if decodes_when_cut(frame, length):
            continue
        assert fault_of(with_body(frame, body[:length])) is Fault.LENGTH
    assert fault_of(replace(frame, payload=frame.payload[:3])) is Fault.LENGTH


def decodes_when_cut(frame: Frame, length: int) -> bool:
    """A version 2 query of 24 bytes is one of version 1."""
    return frame.payload[0] == IcmpType.MLD_QUERY and length == 20


@pytest.mark.parametrize("data", SCAPY)
def test_data_behind_the_message_is_summed_up_and_ignored(data: bytes) -> None:
    frame = parse_frame(data)
    longer = with_body(frame, frame.payload[4:] + b"more")
    assert decode_mld(longer) == decode_mld(frame)
    assert fault_of(replace(longer, payload=longer.payload[:-1] + b"!")) is Fault.CHECKSUM


@pytest.mark.parametrize("length", [21, 22, 23])
def test_a_query_that_is_of_no_version_is_refused(length: int) -> None:
    frame = parse_frame(QUERY)
    assert fault_of(with_body(frame, frame.payload[4 : 4 + length])) is Fault.LENGTH


def test_a_query_of_24_bytes_is_of_version_1_and_its_response_time_is_linear() -> None:
    frame = parse_frame(QUERY)
    body = b"\x80\x01" + frame.payload[6:24]
    query = decode_mld(with_body(frame, body))
    assert query == Query(0x8001, GROUP, robustness=0, interval_s=0, version=1)
    assert isinstance(query, Query)
    assert encode_mld(frame.src, frame.dst, query)[4:] == body
    assert encode_mld(frame.src, frame.dst, replace(query, max_response_ms=70_000))[4:6] == b"\xff\xff"


def test_an_unknown_record_type_is_skipped_and_the_rest_counts() -> None:
    frame = parse_frame(REPORT)
    body = frame.payload[4:]
    # The group of the unknown record may be anything.
    for group in (body[8:24], SOURCE.packed):
        unknown = body[:4] + b"\x09" + body[5:8] + group + body[24:]
        assert decode_mld(with_body(frame, unknown)) == one(
            RecordType.CHANGE_TO_EXCLUDE, IPv6Address("ff02::1:ff00:9")
        )


def test_auxiliary_data_is_skipped() -> None:
    frame = parse_frame(REPORT)
    body = frame.payload[4:]
    record = body[4:40]
    longer = body[:4] + record[:1] + b"\x02" + record[2:] + b"whatever" + body[40:]
    assert decode_mld(with_body(frame, longer)) == decode_mld(frame)


def test_a_group_must_be_multicast() -> None:
    for data in (REPORT, VERSION_1_REPORT, QUERY):
        frame = parse_frame(data)
        body = frame.payload[4:].replace(GROUP.packed, SOURCE.packed).replace(ASM_GROUP.packed, SOURCE.packed)
        assert fault_of(with_body(frame, body)) is Fault.GROUP


def test_the_s_flag_and_the_robustness_share_a_byte() -> None:
    query = Query(1000, GROUP, (SOURCE,), robustness=7, suppress=True)
    payload = encode_mld(LINK_LOCAL, GROUP, query)
    assert payload[24] == 0x0F
    frame = replace(parse_frame(QUERY), src=LINK_LOCAL, payload=payload)
    assert decode_mld(frame) == query
    assert encode_mld(LINK_LOCAL, GROUP, replace(query, robustness=8))[24] == 0x08


def test_nothing_is_sent_behind_a_message() -> None:
    payload = encode_mld(LINK_LOCAL, GROUP, Query(1000, GROUP, (SOURCE,)))
    assert len(payload) == 28 + 16


@pytest.mark.parametrize(
    ("value", "bits", "code", "decoded"),
    [
        (10_000, 15, 10_000, 10_000),
        (32_767, 15, 32_767, 32_767),
        (32_768, 15, 0x8000, 32_768),
        (32_775, 15, 0x8000, 32_768),
        (8_387_584, 15, 0xFFFF, 8_387_584),
        (99_000_000, 15, 0xFFFF, 8_387_584),
        (125, 7, 125, 125),
        (127, 7, 127, 127),
        (128, 7, 0x80, 128),
        (31_744, 7, 0xFF, 31_744),
        (40_000, 7, 0xFF, 31_744),
    ],
)
def test_codes_are_linear_and_then_floating(value: int, bits: int, code: int, decoded: int) -> None:
    assert encode_code(value, bits) == code
    assert decode_code(code, bits) == decoded


@pytest.mark.parametrize("data", SCAPY)
def test_the_destination_does_not_matter(data: bytes) -> None:
    frame = parse_frame(data)
    for destination in ("fe80::1", "ff02::1", "ff02::16"):
        moved = with_body(replace(frame, dst=IPv6Address(destination)), frame.payload[4:])
        assert decode_mld(moved) == decode_mld(frame)
