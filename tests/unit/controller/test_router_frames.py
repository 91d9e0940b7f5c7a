from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from controller.plan.facts import Binding, PortId
from controller.state.router_frames import (
    EVERYBODY,
    Recipient,
    address_query,
    duplicate_defence,
    echo_reply,
    own_advertisement,
    proxy_advertisement,
    reachability_query,
    router_advertisement,
)
from controller.wire.frames import WireError, multicast_mac, parse_frame
from controller.wire.icmpv6 import icmp_message
from controller.wire.nd import (
    ALL_NODES,
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    decode_nd,
    solicited_node,
)
from tests.unit.controller import kernel_packets as kernel
from tests.unit.controller.test_wire_nd import (
    ADVERTISEMENT,
    DAD,
    HOST,
    ROUTER_ADVERT,
    ROUTER_MAC,
    SOLICITATION,
)
from topologies.addressing import GATEWAY

ROUTER = IPv6Address("2001:db8:fffd::7")


def test_the_router_sends_what_scapy_would() -> None:
    assert own_advertisement(ROUTER_MAC, parse_frame(SOLICITATION)) == ADVERTISEMENT
    assert router_advertisement(ROUTER_MAC, IPv6Network("2001:db8:1::/64"), 1500) == ROUTER_ADVERT


def test_an_advertisement_for_one_host_goes_to_its_mac() -> None:
    to = Recipient(kernel.HOST_LINK_LOCAL, kernel.HOST_MAC)
    frame = parse_frame(router_advertisement(ROUTER_MAC, IPv6Network("2001:db8:1::/64"), 1400, to))
    assert (frame.dst, frame.eth_dst) == to
    message = decode_nd(frame)
    assert isinstance(message, RouterAdvertisement)
    assert message.mtu_bytes == 1400


def test_a_probe_for_the_routers_address_is_answered_to_all_nodes() -> None:
    frame = parse_frame(own_advertisement(ROUTER_MAC, parse_frame(DAD)))
    assert (frame.dst, frame.eth_dst) == EVERYBODY
    assert decode_nd(frame) == NeighborAdvertisement(GATEWAY, True, False, True, ROUTER_MAC)


def test_a_probe_for_a_taken_address_is_answered_to_all_nodes() -> None:
    frame = parse_frame(duplicate_defence(ROUTER_MAC, HOST))
    assert (frame.dst, frame.eth_dst) == (ALL_NODES, "33:33:00:00:00:01")
    assert decode_nd(frame) == NeighborAdvertisement(HOST, False, False, True, ROUTER_MAC)


def test_an_answer_for_somebody_else_never_overrides() -> None:
    to = Recipient(kernel.HOST_LINK_LOCAL, kernel.HOST_MAC)
    frame = parse_frame(proxy_advertisement(ROUTER_MAC, HOST, to))
    assert (frame.dst, frame.eth_dst) == to
    assert decode_nd(frame) == NeighborAdvertisement(HOST, False, True, False, ROUTER_MAC)


def test_questions_go_to_the_group_and_to_the_host() -> None:
    group = solicited_node(kernel.HOST)
    asked = parse_frame(address_query(ROUTER_MAC, kernel.HOST))
    assert (asked.dst, asked.eth_dst) == (group, multicast_mac(group))
    binding = Binding(PortId("a1", 4), kernel.HOST, kernel.HOST_MAC)
    probed = parse_frame(reachability_query(ROUTER_MAC, binding))
    assert (probed.dst, probed.eth_dst) == (kernel.HOST, kernel.HOST_MAC)
    for frame in (asked, probed):
        assert decode_nd(frame) == NeighborSolicitation(kernel.HOST, ROUTER_MAC)


def test_an_echo_reply_is_one_the_linux_kernel_took() -> None:
    request = parse_frame(kernel.ECHO_REQUEST)
    frame = parse_frame(echo_reply(ROUTER_MAC, request))
    assert (frame.src, frame.dst) == (GATEWAY, kernel.HOST_LINK_LOCAL)
    assert (frame.eth_src, frame.eth_dst) == (ROUTER_MAC, kernel.HOST_MAC)
    assert frame.payload == kernel.ECHO_ANSWER_ACCEPTED


def test_a_routers_global_address_answers_through_its_own_tables() -> None:
    request = parse_frame(kernel.ECHO_REQUEST)
    payload = icmp_message(kernel.SENDER, ROUTER, 128, request.payload[4:])
    request = replace(request, src=kernel.SENDER, dst=ROUTER, payload=payload)
    frame = parse_frame(echo_reply(ROUTER_MAC, request, (GATEWAY, ROUTER)))
    assert (frame.src, frame.dst, frame.eth_dst) == (ROUTER, kernel.SENDER, ROUTER_MAC)
    with pytest.raises(WireError, match="not an echo request"):
        echo_reply(ROUTER_MAC, request)


@pytest.mark.parametrize(
    ("source", "destination", "kind"),
    [
        ("fe80::9", "fe80::1", 129),
        ("fe80::9", "fe80::2", 128),
        ("fe80::9", "ff02::1", 128),
        ("::", "fe80::1", 128),
        ("ff02::1", "fe80::1", 128),
        ("fe80::1", "fe80::1", 128),
    ],
)
def test_echoes_that_are_not_answered(source: str, destination: str, kind: int) -> None:
    src, dst = IPv6Address(source), IPv6Address(destination)
    payload = icmp_message(src, dst, kind, bytes(4))
    request = replace(parse_frame(kernel.ECHO_REQUEST), src=src, dst=dst, payload=payload)
    with pytest.raises(WireError):
        echo_reply(ROUTER_MAC, request)
