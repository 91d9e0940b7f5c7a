"""Codecs meet arbitrary bytes: a message, or one WireError, never anything else."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.state.icmp_errors import IcmpErrors, Reason
from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import (
    ICMPV6,
    Frame,
    WireError,
    encode_frame,
    ipv6_packet,
    parse_frame,
    upper_layer,
)
from controller.wire.icmpv6 import IcmpType, icmp_message
from controller.wire.mld import Record, RecordType, Report, decode_mld, encode_mld
from controller.wire.nd import (
    NeighborAdvertisement,
    NeighborSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    decode_nd,
    encode_nd,
)
from tests.unit.controller.networks import small
from topologies.addressing import ERROR_SOURCE, plan_addresses

addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
groups = st.integers(0xFF << 120, 2**128 - 1).map(IPv6Address)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
sources = st.lists(addresses, max_size=5).map(tuple)
records = st.builds(Record, st.sampled_from(RecordType), groups, sources)
unicasts = addresses.filter(lambda address: not address.is_multicast)
LINK_LOCAL, GATEWAY = IPv6Address("fe80::9"), IPv6Address("fe80::1")
MAC = "02:00:00:00:00:01"
ADDRESSES = plan_addresses(small())
TCP = 6


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
        decode_all(encode_frame(Frame(MAC, MAC, sender, source, hop_limit, ICMPV6, payload, alert)))


@given(st.lists(records, max_size=4), st.data())
def test_mutated_reports(found: list[Record], data: st.DataObject) -> None:
    payload = encode_mld(LINK_LOCAL, IPv6Address("ff02::16"), Report(tuple(found)))
    whole = bytearray(
        encode_frame(Frame(MAC, MAC, LINK_LOCAL, IPv6Address("ff02::16"), 1, ICMPV6, payload, True))
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


@given(unicasts, macs)
def test_solicitations_survive_a_round_trip(target: IPv6Address, mac: str) -> None:
    message = NeighborSolicitation(target, mac)
    payload = encode_nd(LINK_LOCAL, target, message)
    assert decode_nd(Frame(mac, mac, LINK_LOCAL, target, 255, ICMPV6, payload)) == message


@given(unicasts, st.booleans(), st.booleans(), st.booleans(), st.none() | macs)
def test_advertisements_survive_a_round_trip(
    target: IPv6Address, router: bool, solicited: bool, override: bool, mac: str | None
) -> None:
    message = NeighborAdvertisement(target, router, solicited, override, mac)
    payload = encode_nd(LINK_LOCAL, GATEWAY, message)
    assert decode_nd(Frame(MAC, MAC, LINK_LOCAL, GATEWAY, 255, ICMPV6, payload)) == message


prefixes = st.builds(
    PrefixInformation,
    st.tuples(addresses, st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)


@given(
    st.builds(
        RouterAdvertisement,
        st.integers(0, 2**16 - 1),
        st.integers(0, 255),
        st.none() | macs,
        st.none() | st.integers(1280, 2**32 - 1),
        st.lists(prefixes, max_size=4).map(tuple),
    )
)
def test_router_advertisements_survive_a_round_trip(message: RouterAdvertisement) -> None:
    payload = encode_nd(LINK_LOCAL, GATEWAY, message)
    assert decode_nd(Frame(MAC, MAC, LINK_LOCAL, GATEWAY, 255, ICMPV6, payload)) == message


@given(st.lists(st.tuples(st.sampled_from([0, 43, 60, 135, 139, 140]), st.integers(0, 3)), max_size=6))
def test_every_chain_of_extension_headers_is_walked_and_every_cut_one_refused(
    chain: list[tuple[int, int]],
) -> None:
    payload, protocol = b"", TCP
    for header, length in reversed(chain):
        payload = bytes((protocol, length)) + bytes(6 + 8 * length) + payload
        protocol = header
    packet = ipv6_packet(encode_frame(Frame(MAC, MAC, GATEWAY, LINK_LOCAL, 64, protocol, payload)))
    assert upper_layer(packet) == (TCP, len(packet))
    for length in range(40, len(packet)):
        with pytest.raises(WireError):
            upper_layer(packet[:length])


@given(st.sampled_from(list(Reason)), st.binary(max_size=1600), addresses, addresses, st.integers(0, 255))
def test_no_error_is_too_long_or_sent_to_what_is_not_one_node(
    reason: Reason, payload: bytes, source: IPv6Address, destination: IPv6Address, protocol: int
) -> None:
    data = encode_frame(Frame(MAC, MAC, source, destination, 1, protocol, payload))
    error = IcmpErrors(ADDRESSES).about(0.0, "a1", reason, data, mtu_bytes=1280)
    if error is None:
        return
    answer = parse_frame(error.frame)
    assert len(error.frame) <= 14 + 1280
    assert (answer.dst, answer.src) == (source, ERROR_SOURCE)
    assert not source.is_multicast
    assert not source.is_unspecified
    assert not (destination.is_multicast and reason is not Reason.TOO_BIG)
    assert upper_layer_checksum(answer.src, answer.dst, ICMPV6, answer.payload) == 0
