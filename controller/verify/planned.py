"""What is planned: the packets that well-behaved hosts send, from their own addresses to whom their class may
send, and whose every destination is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv6Address

from controller.plan.facts import PortId, port_id
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import CtState, Output, Prefix, Rule, SetEthDst
from controller.verify.atoms import Bits
from controller.verify.ground import Ground
from controller.verify.nearest import Beginning, reached, tagged_edges
from controller.verify.packet import TCP
from controller.verify.space import Field, Flavour, Upper
from controller.verify.spread import NONE_DOWN, Place
from controller.wire.frames import ICMPV6, UDP
from topologies.spec import Role

PLANNED_HOPS = 64
"""Well-behaved hosts send with that hop limit or a higher one, and no way is half as long."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a destination belongs to: one of these hosts, or all of them for a group."""

    hosts: frozenset[str]
    destinations: Bits


@dataclass
class Planned:
    """The packets that must arrive: where they come in, and whose every destination is."""

    ground: Ground
    places: dict[Place, Bits] = field(default_factory=dict)
    owners: list[Owner] = field(default_factory=list)
    groups: Bits = 0
    edges: tuple[str, ...] = ()
    macs: dict[str, frozenset[str]] = field(default_factory=dict)
    """The MACs of each host."""

    def __post_init__(self) -> None:
        ground = self.ground
        users = ground.topology.of_role(Role.USER)
        self.edges = _serving(ground)
        bindings = {user: list(self._bindings(user)) for user in users}
        bound = {
            user: _union(map(ground.space.dst.containing, dict(found))) for user, found in bindings.items()
        }
        known = {host: {plan.mac} for host, plan in ground.addresses.hosts.items() if host not in users}
        known |= {user: set(self._own_macs(user)) for user in users}
        self.macs = {host: frozenset(macs) for host, macs in known.items() if macs}
        names = {host: ground.fixed[host] for host in ground.topology.of_role(Role.DNS)}
        servers = ground.topology.of_role(Role.EDGE, Role.ORIGIN)
        plane = {host: ground.fixed[host] for host in servers}
        self.owners = [
            Owner(frozenset({host}), bits) for host, bits in (bound | names | plane).items() if bits
        ]
        self.owners.append(Owner(frozenset(self.edges), ground.service))
        single = {edge: ground.destinations(at) for edge, at in ground.addresses.edge_addresses.items()}
        self.owners += [Owner(frozenset({edge}), bits) for edge, bits in single.items()]
        all_users = _union(bound.values())
        for user in users:
            to = (all_users | _union(names.values()) | _union(single.values()) | ground.service) & ~bound[
                user
            ]
            for mac in dict.fromkeys(mac for _, mac in bindings[user]):
                addresses = (address for address, known in bindings[user] if known == mac)
                self._plan(user, _union(map(ground.space.src.containing, addresses)), to, mac)
        for host in names:
            self._plan(host, ground.own_sources[host], all_users)
        for host in servers:
            own = ground.space.src.of(Prefix.of(ground.addresses.hosts[host].unicast))
            self._plan(host, own, _union(plane.values()) & ~ground.fixed[host])
            self._plan_groups(host)
        for edge in dict.fromkeys((*self.edges, *tagged_edges(ground).values())):
            self._plan(edge, ground.space.src.of(Prefix.of(ground.addresses.service)), all_users)
        for edge, address in ground.addresses.edge_addresses.items():
            self._plan(edge, ground.space.src.of(Prefix.of(address)), all_users)

    def entries(self, destinations: Bits, down: frozenset[PortId] = NONE_DOWN) -> tuple[Place, ...]:
        """Where packets for some destinations come in while ports are down."""
        return tuple(
            place
            for place, bits in self.places.items()
            if bits & destinations and PortId(*place[:2]) not in down
        )

    def _is_up(self, host: str) -> bool:
        return self.ground.ports[host] not in self.ground.model.down

    def _bindings(self, user: str) -> Iterator[tuple[IPv6Address, str]]:
        """The addresses that a user is bound to, each with its MAC: by what it may send, or by what is handed
        to it, so that a rule of one kind that is missing is missed."""
        switch, number = self.ground.ports[user]
        prefix = Prefix.of(self.ground.addresses.user_prefixes[switch])
        for rule in self.ground.model.tables[switch].rules.values():
            address, mac = rule.match.ipv6_src, rule.match.eth_src
            if rule.table is TableId.DELIVER and Output(number) in rule.actions:
                address = rule.match.ipv6_dst
                mac = next((action.mac for action in rule.actions if isinstance(action, SetEthDst)), None)
            elif not _admits(rule, number):
                continue
            is_one = address is not None and address.length == 128 and prefix.covers(address.value)
            if is_one and address is not None and mac is not None:
                yield IPv6Address(address.value), mac

    def _own_macs(self, user: str) -> Iterator[str]:
        """The MACs that a user may send from."""
        switch, number = self.ground.ports[user]
        for rule in self.ground.model.tables[switch].rules.values():
            if _admits(rule, number) and rule.match.eth_src is not None:
                yield rule.match.eth_src

    def _plan(self, host: str, sources: Bits, destinations: Bits, mac: str | None = None) -> None:
        ground = self.ground
        destinations &= self._connected.get(ground.ports[host].switch, 0)
        if sources and destinations and self._is_up(host):
            router = ground.space.macs.of(ground.addresses.router_macs[ground.ports[host].switch])
            own = ground.space.macs.of(mac or ground.addresses.hosts[host].mac)
            place = Place(*ground.ports[host], _planned(ground, sources, own, router))
            self.places[place] = self.places.get(place, 0) | destinations

    @cached_property
    def _connected(self) -> Mapping[str, Bits]:
        """The destinations that have a host which a switch is connected with."""
        model, topology = self.ground.model, self.ground.topology
        found: dict[str, Bits] = {}
        for start in topology.switches:
            if start in found:
                continue
            waiting, known = [start], {start}
            while waiting:
                here = waiting.pop()
                for port in topology.ports[here]:
                    is_up = port_id(port) not in model.down
                    if is_up and topology.role(port.peer).is_switch and port.peer not in known:
                        known.add(port.peer)
                        waiting.append(port.peer)
            up = {host for host in topology.hosts if self.ground.ports[host].switch in known}
            up = {host for host in up if self._is_up(host)}
            found |= dict.fromkeys(
                known, _union(each.destinations for each in self.owners if each.hosts & up)
            )
        return found

    @cached_property
    def _trees(self) -> Mapping[Prefix, Bits]:
        """The groups that have a tree somewhere, by source."""
        found: dict[Prefix, Bits] = {}
        channels = {
            (rule.match.ipv6_src, rule.match.ipv6_dst)
            for content in self.ground.model.tables.values()
            for rule in content.rules.values()
            if rule.origin is Origin.TREE
        }
        for source, group in channels:
            if source is not None and group is not None and source.length == group.length == 128:
                found[source] = found.get(source, 0) | self.ground.space.dst.of(group) & self.ground.multicast
        return found

    def _plan_groups(self, host: str) -> None:
        """The groups that have a tree for what this host sends."""
        ground, source = self.ground, Prefix.of(self.ground.addresses.hosts[host].unicast)
        groups = self._trees.get(source, 0)
        if groups and self._is_up(host):
            sources = ground.space.src.of(source)
            macs, own = ground.space.macs, ground.addresses.hosts[host].mac
            of_groups = macs.other | macs.where(mac for mac in macs.atoms if mac.startswith("33:33:"))
            place = Place(*ground.ports[host], _planned(ground, sources, macs.of(own), of_groups))
            self.places[place] = groups
            self.groups |= groups


def _admits(rule: Rule, port: int) -> bool:
    """Whether a rule lets in what comes by a port."""
    return rule.table is TableId.INGRESS and rule.goto is not None and rule.match.in_port == port


def _planned(ground: Ground, sources: Bits, eth_src: Bits, eth_dst: Bits) -> Flavour:
    """What a well-behaved host sends: no tag, no message for its router, and hops to spare."""
    space, fields = ground.space, list(ground.space.fresh)
    rest = [upper for upper in space.uppers.atoms if upper.protocol in (TCP, UDP)]
    rest.append(Upper(ICMPV6, space.other_icmpv6_type))
    fields[Field.TAG] = space.tags.other
    fields[Field.ETH_SRC] = eth_src
    fields[Field.ETH_DST] = eth_dst
    fields[Field.UPPER] = space.uppers.where(rest) | space.uppers.other
    fields[Field.HOP_LIMIT] = space.hops_above(PLANNED_HOPS - 1)
    fields[Field.SRC] = sources
    return tuple(fields)


def _serving(ground: Ground) -> tuple[str, ...]:
    """The edges that are to answer: those that are expected, else those where new connections begin."""
    if ground.expected.edges is not None:
        return ground.expected.edges
    hosts = {
        host
        for user in ground.topology.of_role(Role.USER)
        for host in reached(ground, ground.entry(user), Beginning(CtState.NEW))
    }
    return tuple(edge for edge in ground.topology.of_role(Role.EDGE) if edge in hosts)


def _union(sets: Iterable[Bits]) -> Bits:
    found = 0
    for bits in sets:
        found |= bits
    return found
