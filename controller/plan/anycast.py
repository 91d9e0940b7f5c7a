"""The service address: from every switch to its nearest accepting edge, or to the origin as the baseline.

Loops are impossible: all switches choose by the same order (delay, hops, order of the edges), so the next
switch on the way to the chosen edge has chosen the same edge. Fast-failover groups hold the next choice.

Connections that are to stay with another edge than the nearest travel tagged: the tag (a VLAN ID) names
the edge, and the switches on the way from the access switch to that edge know the tag. A tagged packet that
strays from it, or finds the edge's port dead, goes the way of new connections and arrives untagged: it is
refused at once instead of vanishing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from controller.plan.alternates import PORT_BITS, PORT_MASK
from controller.plan.facts import Facts
from controller.plan.hops import Hops, ports_of
from controller.plan.pipeline import Origin, TableId
from controller.plan.routing import Nearest, Routing, remembered
from controller.plan.rules import ANY_TAG, Group, Match, PopTag, Prefix, Rule, Tables
from controller.plan.unicast import fragment, routes_by
from topologies.spec import Role, Topology

_STRAYED, _TAGGED = 129, 130
"""Above the plain route to the service, which has the priority of a /128."""


@remembered
def _tags(topology: Topology) -> Mapping[str, int]:
    return {edge: tag for tag, edge in enumerate(topology.of_role(Role.EDGE), start=1)}


def edge_tag(facts: Facts, edge: str) -> int:
    """The number of an edge, from 1: its VLAN ID as a tag and its mark in connection tracking."""
    return _tags(facts.topology)[edge]


@remembered
def _kept(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    topology = facts.topology
    wanted = {(pin.switch, pin.edge) for pin in facts.pins if pin.edge in facts.alive}
    accepting = set(facts.accepting)
    wanted |= {(topology.ports[user][0].peer, edge) for user, edge in facts.bound if edge in accepting}
    tags = _tags(topology)
    kept: dict[str, list[str]] = {}
    for switch, edge in sorted(wanted, key=lambda pair: tags[pair[1]]):
        kept.setdefault(switch, []).append(edge)
    return {switch: tuple(edges) for switch, edges in kept.items()}


def kept_edges(facts: Facts, switch: str) -> tuple[str, ...]:
    """The edges that connections from an access switch may be tagged for, in the order of the topology."""
    return _kept(facts).get(switch, ())


def choices(facts: Facts, routing: Routing | None = None) -> dict[str, str]:
    """For every access switch the edge (or origin) that its users' new connections go to. `routing`, where
    there is one already, is for the topology and the down links of the facts."""
    if routing is None:
        return dict(_choices(facts))
    return chosen(facts, routing, routing.nearest(facts.service_hosts))


@remembered
def _choices(facts: Facts) -> dict[str, str]:
    return choices(facts, Routing(facts.topology, facts.down_links))


def chosen(facts: Facts, routing: Routing, nearest: Nearest) -> dict[str, str]:
    """The choices, given the nearest of the hosts that answer."""
    hosts, places = facts.service_hosts, routing.backbone.places
    numbers = {switch: int(nearest.host[places[switch]]) for switch in facts.topology.of_role(Role.ACCESS)}
    return {switch: hosts[number] for switch, number in numbers.items() if number >= 0}


class ServiceRoutes:
    """The rules and groups of all switches for the service address."""

    def __init__(self, hops: Mapping[str, Hops]) -> None:
        self._hops = hops
        self._plain: dict[tuple[str, int, bool], Tables] = {}

    def of(self, facts: Facts, routing: Routing, nearest: Nearest) -> dict[str, Tables]:
        """What each switch needs."""
        ways = dict(zip(routing.backbone.switches, nearest.ways.tolist(), strict=True))
        here = _attached(facts.topology, facts.service_hosts, routing.down_links)
        for switch, ports in here.items():
            ways[switch] = _with_local_alternate(ways[switch], ports)
        destination = Prefix.of(facts.addresses.service)
        found = {
            switch: self._plain_route(switch, way, destination, switch in here)
            for switch, way in ways.items()
        }
        for switch, tables in self._tagged(facts, routing, ways, destination).items():
            plain = found[switch]
            found[switch] = Tables({**plain.rules, **tables.rules}, {**plain.groups, **tables.groups})
        return found

    def _tagged(
        self, facts: Facts, routing: Routing, ways: Mapping[str, int], destination: Prefix
    ) -> dict[str, Tables]:
        """The rules for packets with a tag; the last switch takes it off."""
        rules: dict[str, list[Rule]] = {}
        groups: dict[str, dict[int, Group]] = {}
        for switch, edge, number in _tagged_hops(facts, routing):
            hops, way = self._hops[switch], number << PORT_BITS
            match = Match(edge_tag=edge_tag(facts, edge), ipv6_dst=destination)
            is_last = hops.ports[number].peer == edge
            if is_last:
                way |= next((port for port in ports_of(ways[switch]) if port != number), 0)
            actions = (PopTag(), *hops.actions(way)) if is_last else hops.actions(way)
            rules.setdefault(switch, []).append(Rule(TableId.UNICAST, _TAGGED, match, Origin.PIN, actions))
            check = hops.check(way)
            if check is not None or hops.check(ways[switch]) is not None:
                checks = () if check is None else (check,)
                measured = Rule(TableId.ROUTER, _TAGGED, match, Origin.PIN, checks, goto=TableId.UNICAST)
                rules[switch].append(measured)
            group = hops.group(way)
            if group is not None:
                groups.setdefault(switch, {})[group.number] = group
        return {switch: Tables(fragment(*made), groups.get(switch, {})) for switch, made in rules.items()}

    def _plain_route(self, switch: str, way: int, destination: Prefix, is_last: bool) -> Tables:
        key = switch, way, is_last
        if key not in self._plain:
            self._plain[key] = _plain_route(self._hops[switch], way, destination, is_last)
        return self._plain[key]


def _plain_route(hops: Hops, way: int, destination: Prefix, is_last: bool) -> Tables:
    if not way:
        return Tables()
    rules = list(routes_by(hops, way, destination, Origin.SERVICE))
    if is_last:
        match = Match(edge_tag=ANY_TAG, ipv6_dst=destination)
        actions = (PopTag(), *hops.actions(way))
        rules.append(Rule(TableId.UNICAST, _STRAYED, match, Origin.PIN, actions))
    group = hops.group(way)
    return Tables(fragment(*rules), {} if group is None else {group.number: group})


def _attached(topology: Topology, hosts: Iterable[str], down_links: frozenset[str]) -> dict[str, list[int]]:
    """The ports of some hosts that are up, by switch."""
    ports: dict[str, list[int]] = {}
    for port in map(topology.access_port, hosts):
        if port.link.name not in down_links:
            ports.setdefault(port.node, []).append(port.number)
    return ports


def _with_local_alternate(way: int, ports: list[int]) -> int:
    """The way, with another edge at the same switch as the alternate where there is one."""
    primary = way >> PORT_BITS
    others = [port for port in ports if port != primary]
    if not others or (primary not in ports and way & PORT_MASK):
        return way
    return primary << PORT_BITS | others[0]


def _tagged_hops(facts: Facts, routing: Routing) -> Iterator[tuple[str, str, int]]:
    """Every switch, edge and port where packets that are tagged for the edge leave the switch, on the
    shortest paths from the access switches that tag them."""
    backbone = routing.backbone
    done: set[tuple[str, str]] = set()
    for access in facts.topology.of_role(Role.ACCESS):
        for edge in kept_edges(facts, access):
            last = backbone.hosts[edge]
            if last.link.name in routing.down_links:
                continue
            path = routing.path(access, last.node)
            for here, there in pairwise((*path, edge) if path else ()):
                if (here, edge) in done:
                    break
                done.add((here, edge))
                yield here, edge, facts.topology.port(here, there).number
