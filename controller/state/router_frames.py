"""The packets a first-hop router sends to its hosts, as whole frames from fe80::1."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from controller.plan.facts import Binding
from controller.wire.frames import ICMPV6, Frame, WireError, encode_frame, multicast_mac
from controller.wire.icmpv6 import IcmpType, icmp_body, icmp_message
from controller.wire.mld import ANY_GROUP, MLD_HOP_LIMIT, Query, encode_mld
from controller.wire.nd import (
    ALL_NODES,
    ND_HOP_LIMIT,
    UNSPECIFIED,
    NdMessage,
    NeighborAdvertisement,
    NeighborSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    encode_nd,
    solicited_node,
)
from topologies.addressing import GATEWAY

ROUTER_LIFETIME_S = 1800
HOST_HOP_LIMIT = 64
VALID_LIFETIME_S = 2_592_000
PREFERRED_LIFETIME_S = 604_800
"""Defaults of RFC 4861 section 6.2.1."""


class Recipient(NamedTuple):
    """Whom a packet is for, on the link of a port."""

    address: IPv6Address
    mac: str


EVERYBODY = Recipient(ALL_NODES, multicast_mac(ALL_NODES))


def own_advertisement(router_mac: str, request: Frame) -> bytes:
    """The router's answer to a solicitation for fe80::1. A solicitation from `::` is duplicate address
    detection and is answered to all nodes (RFC 4861 section 7.2.4)."""
    is_probe = request.src == UNSPECIFIED
    message = NeighborAdvertisement(GATEWAY, True, not is_probe, True, router_mac)
    to = EVERYBODY if is_probe else Recipient(request.src, request.eth_src)
    return _nd_frame(router_mac, to, message)


def proxy_advertisement(router_mac: str, target: IPv6Address, to: Recipient) -> bytes:
    """The router answers for an address behind another of its ports: a neighbour's, or the anycast address
    of the service (RFC 4861 sections 7.2.7 and 7.2.8: never with Override). It leads to the router itself,
    so that hosts learn nothing about each other."""
    return _nd_frame(router_mac, to, NeighborAdvertisement(target, False, True, False, router_mac))


def duplicate_defence(router_mac: str, target: IPv6Address) -> bytes:
    """Whoever probes for this address cannot have it: somebody behind another port does (RFC 6957)."""
    return _nd_frame(router_mac, EVERYBODY, NeighborAdvertisement(target, False, False, True, router_mac))


def address_query(router_mac: str, target: IPv6Address) -> bytes:
    """A solicitation to find out where an address is (RFC 4861 section 7.2.2)."""
    group = solicited_node(target)
    message = NeighborSolicitation(target, router_mac)
    return _nd_frame(router_mac, Recipient(group, multicast_mac(group)), message)


def reachability_query(router_mac: str, binding: Binding) -> bytes:
    """A solicitation to find out whether a host is still there (RFC 4861 section 7.3.3)."""
    to = Recipient(binding.address, binding.mac)
    return _nd_frame(router_mac, to, NeighborSolicitation(binding.address, router_mac))


def router_advertisement(
    router_mac: str, prefix: IPv6Network, mtu_bytes: int, to: Recipient = EVERYBODY
) -> bytes:
    """An advertisement of the access switch's prefix.

    The prefix is not on-link (L=0, RFC 5942 section 3): hosts of one prefix sit behind different ports
    and reach each other by the gateway.
    """
    message = RouterAdvertisement(
        ROUTER_LIFETIME_S,
        HOST_HOP_LIMIT,
        source_link=router_mac,
        mtu_bytes=mtu_bytes,
        prefixes=(PrefixInformation(prefix, False, True, VALID_LIFETIME_S, PREFERRED_LIFETIME_S),),
    )
    return _nd_frame(router_mac, to, message)


def listener_query(router_mac: str, query: Query) -> bytes:
    """An MLD query: a general one to all nodes, others to the group they ask about."""
    destination = ALL_NODES if query.group == ANY_GROUP else query.group
    payload = encode_mld(GATEWAY, destination, query)
    mac = multicast_mac(destination)
    return encode_frame(
        Frame(router_mac, mac, GATEWAY, destination, MLD_HOP_LIMIT, ICMPV6, payload, router_alert=True)
    )


def echo_reply(router_mac: str, request: Frame, own: Collection[IPv6Address] = (GATEWAY,)) -> bytes:
    """The answer to an echo request for one of the router's own unicast addresses (RFC 4443 section 4.2),
    addressed to the asker's MAC on its own link, and to the router itself, for its tables to forward, when
    a global address was asked. Raises WireError for what is not to be answered."""
    kind, body = icmp_body(request)
    if kind != IcmpType.ECHO_REQUEST or request.dst not in own:
        raise WireError("not an echo request for this router")
    if request.src.is_multicast or request.src in (UNSPECIFIED, *own):
        raise WireError("echo request from an address that cannot be answered")
    payload = icmp_message(request.dst, request.src, IcmpType.ECHO_REPLY, body)
    mac = request.eth_src if request.dst == GATEWAY else router_mac
    return encode_frame(Frame(router_mac, mac, request.dst, request.src, HOST_HOP_LIMIT, ICMPV6, payload))


def _nd_frame(router_mac: str, to: Recipient, message: NdMessage) -> bytes:
    payload = encode_nd(GATEWAY, to.address, message)
    return encode_frame(Frame(router_mac, to.mac, GATEWAY, to.address, ND_HOP_LIMIT, ICMPV6, payload))
