"""Codecs meet arbitrary bytes: a message, or one WireError, never anything else."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, Frame, WireError, encode_frame, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_message
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
from controller.wire.nd import NeighborSolicitation, decode_nd, encode_nd

addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
groups = st.integers(0xFF << 120, 2**128 - 1).map(IPv6Address)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
sources = st.lists(addresses, max_size=5).map(tuple)
records = st.builds(Record, st.sampled_from(RecordType), groups, sources)
LINK_LOCAL = IPv6Address("fe80::9")


def decode_all(data: bytes) -> None:
    try:
        frame = parse_frame(data)
    except WireError:
        return
    for decode in (decode_nd, decode_mld):
        try:
            decode(frame)
        except WireError:
            continue


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    decode_all(data)


@given(
    st.sampled_from(IcmpType), st.binary(max_size=150), addresses, st.booleans(), st.sampled_from([1, 255])
)
def test_random_bodies_with_a_right_checksum(
    kind: IcmpType, body: bytes, source: IPv6Address, alert: bool, hop_limit: int
) -> None:
    for sender in (source, LINK_LOCAL):
        payload = icmp_message(sender, source, kind, body)
        mac = "02:00:00:00:00:01"
        decode_all(encode_frame(Frame(mac, mac, sender, source, hop_limit, ICMPV6, payload, alert)))


@given(st.lists(records, max_size=4), st.data())
def test_mutated_reports(found: list[Record], data: st.DataObject) -> None:
    payload = encode_mld(LINK_LOCAL, IPv6Address("ff02::16"), Report(tuple(found)))
    mac = "02:00:00:00:00:01"
    whole = bytearray(
        encode_frame(Frame(mac, mac, LINK_LOCAL, IPv6Address("ff02::16"), 1, ICMPV6, payload, True))
    )
    assert decode_mld(parse_frame(bytes(whole))) == Report(tuple(found))
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[position] = data.draw(st.integers(0, 255))
    decode_all(bytes(whole))


@given(macs, macs, addresses, addresses, st.integers(0, 255), st.binary(max_size=80), st.booleans())
def test_frames_survive_a_round_trip(
    eth_src: str,
    eth_dst: str,
    src: IPv6Address,
    dst: IPv6Address,
    hop_limit: int,
    payload: bytes,
    alert: bool,
) -> None:
    frame = Frame(eth_src, eth_dst, src, dst, hop_limit, ICMPV6, payload, alert)
    assert parse_frame(encode_frame(frame)) == frame


@given(addresses, addresses, st.binary(max_size=80))
def test_a_filled_in_checksum_adds_up_to_zero(src: IPv6Address, dst: IPv6Address, body: bytes) -> None:
    assert upper_layer_checksum(src, dst, ICMPV6, icmp_message(src, dst, 128, body)) == 0


@given(groups, sources, st.integers(0, 32_767), st.integers(0, 127))
def test_queries_survive_a_round_trip(
    group: IPv6Address, about: tuple[IPv6Address, ...], response_ms: int, interval_s: int
) -> None:
    query = Query(response_ms, group, about, 2, interval_s)
    payload = encode_mld(LINK_LOCAL, group, query)
    frame = Frame("02:00:00:00:00:01", "02:00:00:00:00:02", LINK_LOCAL, group, 1, ICMPV6, payload, True)
    assert decode_mld(frame) == query


@given(addresses.filter(lambda address: not address.is_multicast), macs)
def test_solicitations_survive_a_round_trip(target: IPv6Address, mac: str) -> None:
    message = NeighborSolicitation(target, mac)
    payload = encode_nd(LINK_LOCAL, target, message)
    assert decode_nd(Frame(mac, mac, LINK_LOCAL, target, 255, ICMPV6, payload)) == message


@given(st.integers(0, 8_387_584))
def test_response_codes_are_never_too_large_and_nearly_exact(value: int) -> None:
    decoded = decode_code(encode_code(value, 15), 15)
    assert decoded <= value
    assert value - decoded <= value / 4096
