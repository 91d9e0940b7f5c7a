"""The packets a first-hop router sends to its hosts, as whole frames from fe80::1."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from controller.wire.frames import ICMPV6, Frame, encode_frame, multicast_mac
from controller.wire.mld import ANY_GROUP, MLD_HOP_LIMIT, Query, encode_mld
from controller.wire.nd import (
    ALL_NODES,
    ND_HOP_LIMIT,
    UNSPECIFIED,
    NdMessage,
    NeighborAdvertisement,
    PrefixInformation,
    RouterAdvertisement,
    encode_nd,
)
from topologies.addressing import GATEWAY

ROUTER_LIFETIME_S = 1800
HOST_HOP_LIMIT = 64
VALID_LIFETIME_S = 2_592_000
PREFERRED_LIFETIME_S = 604_800
"""Defaults of RFC 4861 section 6.2.1."""


def neighbor_advertisement(router_mac: str, request: Frame, target: IPv6Address, mac: str) -> bytes:
    """The answer to a solicitation for `target` at `mac`: for the gateway itself, or in defence of an
    address that somebody behind another port has (RFC 6957). A solicitation from `::` is duplicate
    address detection and is answered to all nodes (RFC 4861 section 7.2.4)."""
    is_probe = request.src == UNSPECIFIED
    message = NeighborAdvertisement(
        target, router=target == GATEWAY, solicited=not is_probe, override=True, target_link=mac
    )
    if is_probe:
        return _to_all_nodes(router_mac, message)
    return _nd_frame(router_mac, request.eth_src, request.src, message)


def router_advertisement(
    router_mac: str, prefix: IPv6Network, mtu_bytes: int, request: Frame | None = None
) -> bytes:
    """An advertisement of the access switch's prefix, to all nodes or to the sender of a solicitation.

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
    if request is None or request.src == UNSPECIFIED:
        return _to_all_nodes(router_mac, message)
    return _nd_frame(router_mac, request.eth_src, request.src, message)


def listener_query(router_mac: str, query: Query) -> bytes:
    """An MLD query: a general one to all nodes, others to the group they ask about."""
    destination = ALL_NODES if query.group == ANY_GROUP else query.group
    payload = encode_mld(GATEWAY, destination, query)
    mac = multicast_mac(destination)
    return encode_frame(
        Frame(router_mac, mac, GATEWAY, destination, MLD_HOP_LIMIT, ICMPV6, payload, router_alert=True)
    )


def _to_all_nodes(router_mac: str, message: NdMessage) -> bytes:
    return _nd_frame(router_mac, multicast_mac(ALL_NODES), ALL_NODES, message)


def _nd_frame(router_mac: str, mac: str, destination: IPv6Address, message: NdMessage) -> bytes:
    payload = encode_nd(GATEWAY, destination, message)
    return encode_frame(Frame(router_mac, mac, GATEWAY, destination, ND_HOP_LIMIT, ICMPV6, payload))
