"""Routes to every unicast destination: hosts with fixed addresses, access switches, bound users; and what
a router answers to packets that it cannot forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from controller.plan.aggregate import Numbering
from controller.plan.alternates import PORT_BITS, PORT_MASK
from controller.plan.facts import Binding, Facts
from controller.plan.hops import Hops
from controller.plan.hops import router_hop as router_hop
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin, TableId
from controller.plan.routing import Backbone, Routing, remembered
from controller.plan.rules import Action, Match, Prefix, Punt, Rule, RuleKey, Tables, Track
from topologies.addressing import AddressPlan
from topologies.spec import Role, Topology

_EXHAUSTED, _TOO_BIG = 1000, 1000
_EXHAUSTED_HOP_LIMITS = (0, 1)
_EDGE_SUBNET_LENGTH = 64

Fragment = dict[RuleKey, Rule]
"""Rules by their keys. Dictionaries that are made of others need not compute the hashes of keys again."""


@remembered
def _zones(topology: Topology) -> Mapping[str, int]:
    return {user: zone for zone, user in enumerate(topology.of_role(Role.USER), start=1)}


def zone_of(topology: Topology, user: str) -> int:
    """The conntrack zone of a user, from 1; all bridges of a machine share the zones."""
    return _zones(topology)[user]


def fragment(*rules: Rule) -> Fragment:
    """Some rules by their keys."""
    return {rule.key: rule for rule in rules}


def route(
    destination: Prefix, actions: tuple[Action, ...], origin: Origin = Origin.ROUTE, meter: int | None = None
) -> Rule:
    """What a switch does with packets to a destination; the longest prefix wins."""
    match = Match(ipv6_dst=destination)
    return Rule(TableId.UNICAST, destination.length, match, origin, actions, meter=meter)


def routes_by(hops: Hops, way: int, destination: Prefix, origin: Origin = Origin.ROUTE) -> Iterator[Rule]:
    """The rules that send packets to a destination on a way."""
    yield route(destination, hops.actions(way), origin)
    yield from measured(hops, way, destination, origin)


def measured(hops: Hops, way: int, destination: Prefix, origin: Origin = Origin.ROUTE) -> Iterator[Rule]:
    """The rule that measures packets to a destination which may not fit through a port of their way."""
    check = hops.check(way)
    if check is not None:
        match = Match(ipv6_dst=destination)
        yield Rule(TableId.ROUTER, destination.length, match, origin, (check,), goto=TableId.UNICAST)


class _Destinations(Numbering):
    """Destinations of one kind, the places of their switches, and what every switch has for them now: ways
    by block, and the rules that were made of them."""

    def __init__(self, known: Mapping[Prefix, str], places: Mapping[str, int]) -> None:
        super().__init__(list(known))
        self.places = [places[switch] for switch in known.values()]
        self.held = np.zeros((len(places), self.columns), dtype=np.int32)
        self.made: dict[tuple[int, int, str], Fragment] = {}


class Routes:
    """The rules and groups of all switches for unicast destinations other than users, made once for each
    block of destinations and way, and put together anew where ways change."""

    def __init__(self, topology: Topology, addresses: AddressPlan, backbone: Backbone) -> None:
        self._topology, self._addresses, self._backbone = topology, addresses, backbone
        self.hops = {switch: Hops(topology, addresses, switch) for switch in backbone.switches}
        self._destinations = [
            _Destinations(known, backbone.places) for known in self._known_prefixes() if known
        ]
        self._own = {switch: fragment(*self._of_switch(switch)) for switch in backbone.switches}
        self._to_blocks: dict[str, dict[tuple[_Destinations, int], Fragment]] = {
            switch: {} for switch in backbone.switches
        }
        self._in_use = {switch: Counter[int]() for switch in backbone.switches}
        self._attached: dict[tuple[str, str], Fragment] = {}

    def _known_prefixes(self) -> Iterator[dict[Prefix, str]]:
        """The prefixes that routes lead to, with the switch of each; prefixes of one kind are numbered."""
        topology, addresses = self._topology, self._addresses
        yield {Prefix.of(block): switch for switch, block in addresses.access_blocks.items()}
        edges = topology.of_role(Role.EDGE)
        yield {self._subnet(edge): topology.access_port(edge).node for edge in edges}
        yield {Prefix.of(address): switch for switch, address in addresses.router_addresses.items()}
        own = addresses.edge_addresses
        yield {Prefix.of(address): topology.access_port(edge).node for edge, address in own.items()}
        for host in topology.of_role(Role.ORIGIN, Role.DNS):
            yield {Prefix.of(addresses.hosts[host].unicast): topology.access_port(host).node}

    def _subnet(self, edge: str) -> Prefix:
        """The subnet of the ULA plane that is an edge's own."""
        subnet = Prefix(0, _EDGE_SUBNET_LENGTH)
        return Prefix(int(self._addresses.hosts[edge].unicast) & subnet.mask, subnet.length)

    def _of_switch(self, switch: str) -> Iterator[Rule]:
        """What does not depend on any way: the end of a hop limit, packets found too big, addresses of the
        switch's own that nobody has."""
        addresses = self._addresses
        for hop_limit in _EXHAUSTED_HOP_LIMITS:
            yield Rule(
                TableId.ROUTER,
                _EXHAUSTED,
                Match(hop_limit=hop_limit),
                Origin.TIME_EXCEEDED,
                (Punt(),),
                meter=ERROR_METER[Origin.TIME_EXCEEDED],
            )
        yield Rule(TableId.ROUTER, 0, Match(), Origin.ROUTE, goto=TableId.UNICAST)
        for bit, mtu_bytes in enumerate(self.hops[switch].narrow):
            yield Rule(
                TableId.UNICAST,
                _TOO_BIG,
                Match(too_big=bit),
                Origin.TOO_BIG,
                (Punt(),),
                meter=ERROR_METER[Origin.TOO_BIG],
                argument=mtu_bytes,
            )
        if switch in addresses.access_blocks:
            yield _refusal(Prefix.of(addresses.access_blocks[switch]), Origin.NO_ROUTE)
            yield _refusal(Prefix.of(addresses.user_prefixes[switch]), Origin.ADDRESS_UNREACHABLE)
        if switch in addresses.router_addresses:
            own = Prefix.of(addresses.router_addresses[switch])
            yield route(own, (Punt(),), Origin.REQUEST, ERROR_METER[Origin.NO_ROUTE])

    def of(self, routing: Routing, switches: Iterable[str]) -> Iterator[tuple[str, Tables]]:
        """The rules and groups of some switches, by the ways as they are; for all the others they must be as
        when they were last asked for."""
        wanted = list(switches)
        rows = np.array([self._backbone.places[switch] for switch in wanted], dtype=np.intp)
        for kind in self._destinations:
            old, new = kind.held[rows], kind.blocks(routing.ways[rows[:, None], kind.places])
            kind.held[rows] = new
            at, columns = np.nonzero(old != new)
            changes = (at, columns, old[at, columns], new[at, columns])
            for row, column, before, way in zip(*(part.tolist() for part in changes), strict=True):
                self._change(wanted[row], kind, column, before, way)
        for switch in wanted:
            rules = dict(self._own[switch])
            for made in self._to_blocks[switch].values():
                rules.update(made)
            for host in self._hosts(routing, switch):
                rules.update(self._to_host(switch, host))
            groups = filter(None, map(self.hops[switch].group, self._in_use[switch]))
            yield switch, Tables(rules, {group.number: group for group in groups})

    def _change(self, switch: str, kind: _Destinations, column: int, before: int, way: int) -> None:
        """A block of destinations is reached in another way; 0 for none."""
        blocks, in_use = self._to_blocks[switch], self._in_use[switch]
        if before:
            in_use[before] -= 1
            if not in_use[before]:
                del in_use[before]
        if way:
            blocks[kind, column] = self._to_block(switch, kind, column, way)
            in_use[way] += 1
        else:
            del blocks[kind, column]

    def _to_block(self, switch: str, kind: _Destinations, column: int, way: int) -> Fragment:
        hops = self.hops[switch]
        # Switches that name a group, and measure nothing, all have the same rule.
        is_special = bool(hops.narrow) or not way & PORT_MASK
        key = column, way, switch if is_special else ""
        made = kind.made.get(key)
        if made is None:
            made = kind.made[key] = fragment(*routes_by(hops, way, kind.prefix(column)))
        return made

    def _hosts(self, routing: Routing, switch: str) -> Iterator[str]:
        for port in self._topology.ports[switch]:
            if port.link.name not in routing.down_links and self._addresses.hosts.get(port.peer):
                yield port.peer

    def _to_host(self, switch: str, host: str) -> Fragment:
        key = switch, host
        if key not in self._attached:
            hops, port = self.hops[switch], self._topology.access_port(host)
            found: Fragment = {}
            own = [interface.ip for interface in self._addresses.hosts[host].addresses]
            if host in self._addresses.edge_addresses:
                own.append(self._addresses.edge_addresses[host])
            for address in own:
                way = port.number << PORT_BITS
                found.update(fragment(*routes_by(hops, way, Prefix.of(address))))
            self._attached[key] = found
        return self._attached[key]


def _refusal(destination: Prefix, origin: Origin) -> Rule:
    """What an access switch answers about addresses of its own that nobody has."""
    return route(destination, (Punt(),), origin, ERROR_METER[origin])


def plan_users(facts: Facts, hops: Hops, bindings: Iterable[Binding]) -> Iterator[Rule]:
    """The rules for the bound addresses of users at their access switch."""
    for binding in bindings:
        number = binding.port.number
        destination = Prefix.of(binding.address)
        zone = zone_of(facts.topology, hops.ports[number].peer)
        yield route(destination, (Track(zone, TableId.DELIVER),))
        yield from measured(hops, number << PORT_BITS, destination)
