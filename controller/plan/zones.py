"""Multicast groups and scope zones (RFC 4007, RFC 7346): how far multicast of each scope goes, and where a
zone ends (pure).

A zone is a set of switches with the infrastructure hosts on them; its boundary runs through switches.
Users are outside every zone that is smaller than the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from topologies.spec import Port, Role, Topology

REALM, ADMIN, SITE, ORGANISATION, WORLD = 3, 4, 5, 8, 14
SCOPES = range(16)
_KNOWN = (REALM, ADMIN, SITE, ORGANISATION, WORLD)
_NEVER = (0, 1, 2, 15)
_EFFECTIVE = tuple(
    None if scope in _NEVER else max(known for known in _KNOWN if known <= scope) for scope in SCOPES
)
FOR_USERS = (IPv6Network("ff3e::/96"), IPv6Network("ff0e::/16"))


def is_source_specific(group: IPv6Address) -> bool:
    """Whether a group is in the range of source-specific multicast, ff3x::/32 (RFC 4607 section 1)."""
    packed = group.packed
    return packed[0] == 0xFF and packed[1] >> 4 == 3 and packed[2:4] == b"\0\0"


def scope_of(group: IPv6Address) -> int:
    """The scope of a multicast address (RFC 4291 section 2.7)."""
    return group.packed[1] & 15


def effective_scope(scope: int) -> int | None:
    """The scope whose zones hold for `scope`: itself, or the next smaller one that is in use; None when
    no router forwards it (interface, link and the reserved ones)."""
    return _EFFECTIVE[scope]


def is_forwarded(group: IPv6Address) -> bool:
    """Whether routers forward a group at all: its scope is larger than the link (RFC 7346 section 2)."""
    return scope_of(group) not in _NEVER


def is_for_users(group: IPv6Address) -> bool:
    """Whether users may join a group: of the global ones, ff3e::/96 and ff0e::/16."""
    return any(group in network for network in FOR_USERS)


class Zones:
    """The zones of a topology. Zones of one scope do not overlap, and a larger scope has larger ones.

    Realm-local is one switch; admin-local a distribution area, which is what is still connected without
    the core; site, organisation and world are the whole network.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._switches = {
            node: topology.ports[node][0].peer if topology.ports[node] else node for node in topology.hosts
        }
        self._switches |= {switch: switch for switch in topology.switches}
        self._areas = self._distribution_areas()

    def zone(self, scope: int, node: str) -> str | None:
        """A name for the zone of `scope` that a switch, or the switch of a host, is in; None when routers
        do not forward this scope."""
        effective = effective_scope(scope)
        if effective is None:
            return None
        if effective >= SITE:
            return "all"
        switch = self._switches[node]
        return switch if effective == REALM else self._areas[switch]

    def inside(self, scope: int, *nodes: str) -> bool:
        """Whether all of these hosts and switches are in one zone of `scope`."""
        effective = effective_scope(scope)
        if effective is None:
            return False
        if effective < WORLD and any(self._topology.role(node) is Role.USER for node in nodes):
            return False
        return len({self.zone(scope, node) for node in nodes}) == 1

    def may_join(self, host: str, group: IPv6Address) -> bool:
        """Whether a host may listen to a group, whoever sends."""
        if self._topology.role(host) is Role.USER:
            return is_for_users(group)
        return is_forwarded(group)

    def reaches(self, group: IPv6Address, sender: str, listener: str) -> bool:
        """Whether a listener may have what a sender (both hosts) sends to a group. Users never send."""
        if self._topology.role(sender) is Role.USER or not self.may_join(listener, group):
            return False
        return self.inside(scope_of(group), sender, listener)

    def boundary_ports(self) -> Iterator[tuple[Port, int]]:
        """Every (port between switches, scope) where a zone of that scope ends. Scopes that no router
        forwards need no boundary, and what users send to groups is not forwarded at all."""
        limited = [scope for scope in SCOPES if effective_scope(scope) in (REALM, ADMIN)]
        for switch in self._topology.switches:
            for port in self._topology.ports[switch]:
                if self._topology.role(port.peer).is_switch:
                    for scope in limited:
                        if self.zone(scope, switch) != self.zone(scope, port.peer):
                            yield port, scope

    def boundary_links(self, scope: int) -> frozenset[str]:
        """The links that no packet of `scope` may cross: a zone is convex, so paths between two of its
        members stay within it (RFC 4007 section 5)."""
        return frozenset(port.link.name for port, where in self.boundary_ports() if where == scope)

    def _distribution_areas(self) -> dict[str, str]:
        """For every switch the name of its area: the first switch of its component without the core."""
        topology, areas = self._topology, {}
        for start in topology.switches:
            if topology.role(start) is Role.CORE:
                areas[start] = start
                continue
            stack = [start]
            while stack:
                switch = stack.pop()
                if switch not in areas:
                    areas[switch] = start
                    stack += [
                        port.peer
                        for port in topology.ports[switch]
                        if topology.role(port.peer) in (Role.DISTRIBUTION, Role.ACCESS)
                    ]
        return areas
