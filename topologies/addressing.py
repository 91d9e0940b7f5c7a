"""The address plan: a pure function from a topology to every fixed address in it (docs/topologies.md).

Users take their addresses by SLAAC (RFC 4862) and so have none here; routers have link-local
addresses only (RFC 7404): `fe80::1` towards hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from topologies.spec import EdgeAddressing, Role, RouterAddressing, Topology

GATEWAY = IPv6Address("fe80::1")
USER_SPACE = IPv6Network("2001:db8::/32")
INFRASTRUCTURE = IPv6Network("fd6e:6361:7374::/48")
"""The ULA plane (RFC 4193) of edges and origin; no user port has a route to it."""
ROUTER_PREFIX = IPv6Network("2001:db8:fffd::/64")
"""Routers' global addresses, one each, where a topology gives them any (`routers: global`)."""
ERROR_SOURCE = IPv6Address("2001:db8:fffd:ffff::1")
"""What every router sends its ICMPv6 errors from: an address that nobody has and no route leads to, the
same for all, so that it tells nothing about the network (RFC 7404)."""
DNS_PREFIX = IPv6Network("2001:db8:fffe::/64")
EDGE_PREFIX = IPv6Network("2001:db8:fffe:1::/64")
"""Global addresses of edges, one each, where users are to find every edge at its own (`EdgeAddressing`)."""
STATIC_GROUP = IPv6Address("ff35::8000:1")
"""Static content for all edges: site-local SSM (RFC 4607, 7346), group ID at or above 0x80000000."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The fixed addresses of one host. `addresses` is empty for users, who use SLAAC."""

    name: str
    mac: str
    addresses: tuple[IPv6Interface, ...]

    @property
    def unicast(self) -> IPv6Address:
        """The host's own unicast address. Raises IndexError for a user."""
        return self.addresses[0].ip


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Every address the topology fixes. Keys are node names.

    `access_blocks` is what routes lead to an access switch for: the /48 around its users' /64.
    `router_addresses` is empty unless the topology says `routers: global`, `edge_addresses` unless every
    edge is to be found at a global address of its own.
    """

    service: IPv6Address
    hosts: Mapping[str, HostPlan]
    user_prefixes: Mapping[str, IPv6Network]
    access_blocks: Mapping[str, IPv6Network]
    router_addresses: Mapping[str, IPv6Address]
    edge_addresses: Mapping[str, IPv6Address]
    router_macs: Mapping[str, str]
    datapath_ids: Mapping[str, int]
    static_group: IPv6Address = STATIC_GROUP
    infrastructure: IPv6Network = INFRASTRUCTURE


def plan_addresses(topology: Topology) -> AddressPlan:
    """Number the topology: the same input gives the same addresses on every machine.

    Access switch *i* (from 1) owns 2001:db8:*i*::/48, its users are in the first /64 of it; edge *k* owns
    one /64 of the ULA plane, the origin its subnet 0; MAC addresses are locally administered and tell the
    node's place.
    """
    hosts: dict[str, HostPlan] = {}
    edge_index = 0
    for index, name in enumerate(topology.hosts, start=1):
        role = topology.role(name)
        addresses: tuple[IPv6Interface, ...]
        if role is Role.EDGE:
            edge_index += 1
            addresses = (_interface(INFRASTRUCTURE, edge_index, 1),)
        elif role is Role.ORIGIN:
            addresses = (_interface(INFRASTRUCTURE, 0, index),)
        elif role is Role.DNS:
            addresses = (IPv6Interface((DNS_PREFIX[0x53 + index], 64)),)
        else:
            addresses = ()
        hosts[name] = HostPlan(name, _mac(0x10, index), addresses)
    access = topology.of_role(Role.ACCESS)
    return AddressPlan(
        service=IPv6Address(topology.service.address),
        hosts=hosts,
        user_prefixes={name: _user_prefix(index) for index, name in enumerate(access, start=1)},
        access_blocks={
            name: _user_prefix(index).supernet(new_prefix=48) for index, name in enumerate(access, start=1)
        },
        router_addresses={
            name: ROUTER_PREFIX[index]
            for index, name in enumerate(topology.switches, start=1)
            if topology.routers is RouterAddressing.GLOBAL
        },
        edge_addresses={
            name: EDGE_PREFIX[index]
            for index, name in enumerate(topology.of_role(Role.EDGE), start=1)
            if topology.edges is EdgeAddressing.UNICAST
        },
        router_macs={name: _mac(0x01, index) for index, name in enumerate(topology.switches, start=1)},
        datapath_ids={name: index for index, name in enumerate(topology.switches, start=1)},
    )


def _mac(kind: int, index: int) -> str:
    return f"02:6e:63:{kind:02x}:{index >> 8:02x}:{index & 255:02x}"


def _user_prefix(index: int) -> IPv6Network:
    return IPv6Network((int(USER_SPACE.network_address) + (index << 80), 64))


def _interface(prefix: IPv6Network, subnet: int, host: int) -> IPv6Interface:
    return IPv6Interface((int(prefix.network_address) + (subnet << 64) + host, 64))
