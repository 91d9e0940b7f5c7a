"""What is known of a network besides its tables: whose addresses are whose, where zones end, which edges are
to answer. The proof holds tables against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv6Address, IPv6Network

from controller.plan.facts import PortId, port_id
from controller.plan.rules import Prefix, Tables
from controller.plan.zones import FOR_USERS, SCOPES, WORLD, Zones, effective_scope
from controller.verify.atoms import Bits
from controller.verify.space import scope_prefixes
from controller.verify.spread import Model, Place, Wiring
from topologies.addressing import ROUTER_PREFIX, AddressPlan, plan_addresses
from topologies.spec import Role, Topology

LINK_LOCAL = Prefix.of(IPv6Network("fe80::/10"))
LINK_LOCAL_GROUPS = scope_prefixes(2)
MULTICAST = Prefix.of(IPv6Network("ff00::/8"))


@dataclass(frozen=True, slots=True)
class Expected:
    """What the switches are to agree with, as far as it is known: the edges that take new connections, the
    users that are bound to a certain edge, the services that users have subscribed to as (address, protocol,
    port). None: whatever the tables say."""

    edges: tuple[str, ...] | None = None
    bound: Mapping[str, str] = field(default_factory=dict)
    openings: frozenset[tuple[IPv6Address, int, int]] | None = None


class Ground:
    """The model of a network, and sets of its addresses."""

    def __init__(
        self,
        topology: Topology,
        tables: Mapping[str, Tables],
        down: Iterable[PortId] = (),
        expected: Expected | None = None,
        prefixes: Iterable[Prefix] = (),
        foreseen: Iterable[Tables] = (),
    ) -> None:
        """`foreseen` are tables that the atoms are to be fine enough for, besides."""
        self.topology = topology
        self.addresses: AddressPlan = plan_addresses(topology)
        self.zones = Zones(topology)
        self.expected = expected or Expected()
        self.ports = {host: port_id(topology.access_port(host)) for host in topology.hosts}
        self._asked = (*_asked(topology, self.addresses), *prefixes)
        self._foreseen = tuple(foreseen)
        self.model = self._model(Wiring(topology), tables, down)
        self.space = self.model.space

    def renewed(
        self, tables: Mapping[str, Tables], down: Iterable[PortId], expected: Expected | None
    ) -> Ground:
        """The same network with other tables; what is known of those that are as before is kept."""
        found = copy(self)
        found.expected = expected or Expected()
        found.model = self._model(self.model.wiring, tables, down, self.model)
        if found.model.space is not self.space:
            found.space = found.model.space
            for name in [name for name in found.__dict__ if name in _BY_SPACE]:
                del found.__dict__[name]
        return found

    def _model(
        self,
        wiring: Wiring,
        tables: Mapping[str, Tables],
        down: Iterable[PortId],
        before: Model | None = None,
    ) -> Model:
        macs = [*self.addresses.router_macs.values(), *(host.mac for host in self.addresses.hosts.values())]
        return Model(wiring, tables, down, (self._asked, macs, self._foreseen), before)

    def destinations(self, *things: IPv6Address | IPv6Network) -> Bits:
        """Destinations in some prefixes."""
        found = 0
        for thing in things:
            found |= self.space.dst.of(Prefix.of(thing))
        return found

    def entry(self, host: str) -> Place:
        """Where anything that a host sends comes in."""
        return Place(*self.ports[host], self.space.fresh)

    @cached_property
    def service(self) -> Bits:
        """The service address."""
        return self.destinations(self.addresses.service)

    @cached_property
    def infrastructure(self) -> Bits:
        """The ULA plane."""
        return self.destinations(self.addresses.infrastructure)

    @cached_property
    def multicast(self) -> Bits:
        """All groups."""
        return self.space.dst.of(MULTICAST)

    @cached_property
    def neighbours_only(self) -> Bits:
        """What no router forwards: link-local destinations of any kind, and routers' own addresses."""
        found = self.space.dst.of(LINK_LOCAL) | self.destinations(ROUTER_PREFIX)
        for prefix in (*LINK_LOCAL_GROUPS, *scope_prefixes(0), *scope_prefixes(1)):
            found |= self.space.dst.of(prefix)
        return found

    @cached_property
    def hidden_groups(self) -> Bits:
        """Groups that no user may hear."""
        return self.multicast & ~self.destinations(*FOR_USERS)

    @cached_property
    def own_sources(self) -> Mapping[str, Bits]:
        """The sources that are a host's own: its fixed addresses, or the prefix that a user is in."""
        found = {}
        for host in self.topology.hosts:
            things: list[IPv6Address | IPv6Network] = [
                interface.ip for interface in self.addresses.hosts[host].addresses
            ]
            if self.topology.role(host) is Role.USER:
                things.append(self.addresses.user_prefixes[self.ports[host].switch])
            elif self.topology.role(host) in (Role.EDGE, Role.ORIGIN):
                things.append(self.addresses.service)
            if host in self.addresses.edge_addresses:
                things.append(self.addresses.edge_addresses[host])
            found[host] = 0
            for thing in things:
                found[host] |= self.space.src.of(Prefix.of(thing))
        return found

    @cached_property
    def fixed(self) -> Mapping[str, Bits]:
        """The destinations that are a host's own and fixed."""
        return {
            host: self.destinations(*(interface.ip for interface in self.addresses.hosts[host].addresses))
            for host in self.topology.hosts
        }

    @cached_property
    def boundaries(self) -> Mapping[PortId, Bits]:
        """The ports where zones end, and the groups that do not pass them."""
        found: dict[PortId, Bits] = {}
        for port, scope in self.zones.boundary_ports():
            found[port_id(port)] = found.get(port_id(port), 0) | self.space.scope(scope)
        return found

    @cached_property
    def limited(self) -> Bits:
        """Groups of a scope below the world."""
        found = 0
        for scope in SCOPES:
            effective = effective_scope(scope)
            if effective is None or effective < WORLD:
                found |= self.space.scope(scope)
        return found


_BY_SPACE = frozenset(name for name, value in vars(Ground).items() if isinstance(value, cached_property))
"""What depends on the atoms."""


def _asked(topology: Topology, addresses: AddressPlan) -> Iterator[Prefix]:
    """The prefixes that questions are about."""
    yield from (LINK_LOCAL, MULTICAST, Prefix.of(ROUTER_PREFIX), Prefix.of(addresses.infrastructure))
    yield Prefix.of(addresses.service)
    for address in addresses.edge_addresses.values():
        yield Prefix.of(address)
    for network in (*FOR_USERS, *addresses.user_prefixes.values(), *addresses.access_blocks.values()):
        yield Prefix.of(network)
    for host in topology.hosts:
        for interface in addresses.hosts[host].addresses:
            yield Prefix.of(interface.ip)
            yield Prefix.of(interface.network)
    for scope in SCOPES:
        yield from scope_prefixes(scope)
