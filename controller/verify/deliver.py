"""What must happen: every planned pair is served, nothing goes round or dies on the way, and the service is
the nearest edge's.

Planned packets are those that well-behaved hosts send: from their own addresses, to whom their class may
send. Packets that are too big, whose hop limit runs out, or that belong to no connection may end on the way.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv6Address

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import CtState, Prefix
from controller.verify.atoms import Bits, bit_numbers
from controller.verify.checks import BELONGING, Finding
from controller.verify.ground import Ground
from controller.verify.outcomes import Ended, Ending, Outcome, Sent
from controller.verify.results import Fate, Walk
from controller.verify.space import OTHER_PORT, OTHER_TYPE, TCP, Field, Flavour, Memory, Upper
from controller.verify.spread import Model, Place, Spread
from controller.wire.frames import ICMPV6, UDP
from topologies.spec import Role, Topology

_UNPROTECTED = (Ending.DEAD, Ending.HAIRPIN)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a destination belongs to: one of these hosts, or all of them for a group."""

    hosts: frozenset[str]
    destinations: Bits


@dataclass
class Planned:
    """The packets that must arrive: where they come in, and whose every destination is."""

    ground: Ground
    emitted: Mapping[str, Bits]
    """The sources that each host may send from, by the tables."""
    places: dict[Place, Bits] = field(default_factory=dict)
    owners: list[Owner] = field(default_factory=list)
    groups: Bits = 0
    edges: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ground = self.ground
        users = ground.topology.of_role(Role.USER)
        self.edges = _serving(ground, self.emitted)
        bound = {user: self._addresses_of(user) for user in users}
        names = {host: ground.fixed[host] for host in ground.topology.of_role(Role.DNS)}
        servers = ground.topology.of_role(Role.EDGE, Role.ORIGIN)
        plane = {host: ground.fixed[host] for host in servers if self._is_up(host)}
        self.owners = [
            Owner(frozenset({host}), bits) for host, bits in (bound | names | plane).items() if bits
        ]
        self.owners.append(Owner(frozenset(self.edges), ground.service))
        all_users = _union(bound)
        for user in users:
            to = (all_users | _union(names) | (ground.service if self.edges else 0)) & ~bound[user]
            self._plan(user, self.emitted.get(user, 0), to)
        for host in names:
            self._plan(host, ground.own_sources[host], all_users)
        for host in servers:
            own = ground.space.src.of(Prefix.of(ground.addresses.hosts[host].unicast))
            self._plan(host, own, _union(plane) & ~ground.fixed[host])
            self._plan_groups(host)
        for edge in self.edges:
            service = ground.space.src.of(Prefix.of(ground.addresses.service))
            self._plan(edge, service & self.emitted.get(edge, 0), all_users)

    def _is_up(self, host: str) -> bool:
        return self.ground.ports[host] not in self.ground.model.down

    def _addresses_of(self, user: str) -> Bits:
        """The destinations that are the sources of a user; what has no atom of its own is not one."""
        space, found = self.ground.space, 0
        for first, last in space.src.ranges(self.emitted.get(user, 0)):
            if first == last and space.dst.knows(Prefix.of(first)):
                found |= space.dst.of(Prefix.of(first))
        return found

    def _plan(self, host: str, sources: Bits, destinations: Bits) -> None:
        if sources and destinations and self._is_up(host):
            ground = self.ground
            router = ground.space.macs.of(ground.addresses.router_macs[ground.ports[host].switch])
            place = Place(*ground.ports[host], _planned(ground, host, sources, router))
            self.places[place] = self.places.get(place, 0) | destinations

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
            if source is not None and group is not None:
                found[source] = found.get(source, 0) | self.ground.space.dst.of(group)
        return found

    def _plan_groups(self, host: str) -> None:
        """The groups that have a tree for what this host sends."""
        ground, own = self.ground, Prefix.of(self.ground.addresses.hosts[host].unicast)
        groups = self._trees.get(own, 0)
        if groups and self._is_up(host):
            sources = ground.space.src.of(own)
            place = Place(*ground.ports[host], _planned(ground, host, sources, ground.space.macs.all))
            self.places[place] = groups
            self.groups |= groups


def _planned(ground: Ground, host: str, sources: Bits, eth_dst: Bits) -> Flavour:
    """What a well-behaved host sends: no tag, no message for its router, and hops to spare."""
    space, fields = ground.space, list(ground.space.fresh)
    rest = (Upper(TCP, OTHER_PORT), Upper(UDP, OTHER_PORT), Upper(ICMPV6, OTHER_TYPE))
    fields[Field.TAG] = space.tags.other
    fields[Field.ETH_SRC] = _macs(ground, host)
    fields[Field.ETH_DST] = eth_dst
    fields[Field.UPPER] = space.uppers.where(rest) | space.uppers.other
    fields[Field.HOP_LIMIT] = space.many
    fields[Field.SRC] = sources
    return tuple(fields)


def _macs(ground: Ground, host: str) -> Bits:
    """The MACs of a host; users may have any that their bindings name."""
    if ground.topology.role(host) is not Role.USER:
        return ground.space.macs.of(ground.addresses.hosts[host].mac)
    switch, number = ground.ports[host]
    found = 0
    for rule in ground.model.tables[switch].rules.values():
        if rule.match.in_port == number and rule.match.eth_src is not None:
            found |= ground.space.macs.of(rule.match.eth_src)
    return found


def _serving(ground: Ground, emitted: Mapping[str, Bits]) -> tuple[str, ...]:
    """The edges that are to answer: those that are expected, else those that the tables route users to."""
    if ground.expected.edges is not None:
        return ground.expected.edges
    entries = {ground.entry(user): ground.service for user in ground.topology.of_role(Role.USER)}
    spread = Spread(ground.model)
    spread.add(entries)
    hosts = {ground.model.host(place, outcome) for place, outcome, _ in spread.outcomes()}
    return tuple(edge for edge in ground.topology.of_role(Role.EDGE) if edge in hosts)


def _union(sets: Mapping[str, Bits]) -> Bits:
    found = 0
    for bits in sets.values():
        found |= bits
    return found


class Delivery:
    """Planned packets arrive, and where they should. `unprotected` collects the destinations that are lost
    at a port that is down until the controller acts."""

    name = "no black holes"
    kinds = (Sent, Ended)

    def __init__(self, planned: Planned) -> None:
        self._ground = planned.ground
        self._planned = planned
        self._all = 0
        self._owned: dict[str, Bits] = {}
        for owner in planned.owners:
            self._all |= owner.destinations
            for host in owner.hosts:
                self._owned[host] = self._owned.get(host, 0) | owner.destinations
        space = planned.ground.space
        self._must_pass = {
            TableId.FLOW: space.said(Memory.OWN, (CtState.NEW, *BELONGING)),
            TableId.DELIVER: space.said(Memory.THEIRS, BELONGING),
        }
        self.unprotected: Bits = 0

    def seen(
        self, place: Place, outcome: Outcome, destinations: Bits, lost_at: frozenset[str] = frozenset()
    ) -> Iterator[Finding]:
        """What ends on its way, or at the wrong host. `lost_at` are the switches where ports are down."""
        ground = self._ground
        if isinstance(outcome, Sent):
            far = ground.model.wiring.far_ends.get(PortId(place.switch, outcome.port))
            if far is None:
                yield self._dies(
                    place, outcome, destinations, f"leaves by port {outcome.port}, which is none"
                )
            elif isinstance(far, str):
                wrong = destinations & ~self._owned.get(far, 0) & ~self._planned.groups
                if wrong:
                    sentence = f"{far} gets what belongs to {self._owner_of(wrong)}"
                    yield Finding(self.name, sentence, place, outcome, wrong)
            return
        if not isinstance(outcome, Ended) or not outcome.flavour[Field.HOP_LIMIT] & ground.space.many:
            return
        if outcome.rule is not None and outcome.rule.origin is Origin.TOO_BIG:
            return
        if outcome.ending is Ending.MISSED:
            must = self._must_pass.get(outcome.table)
            if must is not None and not outcome.flavour[Field.CT] & must:
                return
        if place.switch in lost_at and outcome.ending in _UNPROTECTED:
            self.unprotected |= destinations
            return
        yield self._dies(place, outcome, destinations, _how(outcome))

    def _dies(self, place: Place, outcome: Outcome, destinations: Bits, how: str) -> Finding:
        to = self._owner_of(destinations)
        return Finding(self.name, f"a packet for {to} {how} at {place.switch}", place, outcome, destinations)

    def _owner_of(self, destinations: Bits) -> str:
        for owner in self._planned.owners:
            if owner.destinations & destinations:
                return " or ".join(sorted(owner.hosts)) if len(owner.hosts) <= 2 else "the service"
        return str(self._ground.space.dst.first(destinations))

    def shown(self, walk: Walk) -> bool:
        """No copy arrives, one arrives at the wrong host, or one of a group dies."""
        if any(
            end.fate is Fate.DELIVERED and not self._is_owned(end.where, end.packet.dst) for end in walk.ends
        ):
            return True
        if walk.hops and walk.hops[0].packet.dst.is_multicast:
            return any(end.fate is not Fate.DELIVERED for end in walk.ends)
        return not walk.delivered

    def _is_owned(self, host: str, address: IPv6Address) -> bool:
        return address.is_multicast or bool(
            self._ground.space.dst.containing(address) & self._owned.get(host, 0)
        )


_HOW: Mapping[Ending, str] = {
    Ending.PUNTED: "is handed to the controller",
    Ending.MISSED: "meets no rule",
    Ending.DROPPED: "is dropped",
    Ending.EXHAUSTED: "runs out of hops",
    Ending.HAIRPIN: "would leave by the port where it came in",
    Ending.DEAD: "finds its port down",
    Ending.NO_GROUP: "is sent to a group that is not there",
    Ending.TWO_TAGS: "has two VLAN tags",
    Ending.CIRCLES: "goes round in the tables",
}


def _how(outcome: Ended) -> str:
    return f"{_HOW[outcome.ending]} in {outcome.table.name.lower()}"


def duplicates(spread: Spread, ground: Ground, groups: Bits) -> Iterator[Finding]:
    """Hosts that get a packet of a group twice: by two ways from one source."""
    heard: dict[str, list[tuple[Bits, Bits]]] = {}
    for place, outcome, destinations in spread.outcomes():
        host = ground.model.host(place, outcome)
        if host is not None and isinstance(outcome, Sent) and destinations & groups:
            sources, to = outcome.flavour[Field.SRC], destinations & groups
            for known, known_to in heard.setdefault(host, []):
                if sources & known and to & known_to:
                    sentence = f"{host} gets a packet of a group twice"
                    yield Finding("no black holes", sentence, place, outcome, to & known_to)
            heard[host].append((sources, to))


def nearest(ground: Ground, planned: Planned) -> Iterator[Finding]:
    """Users whose new connections do not begin at the nearest of the edges that are to answer, or at the one
    that they are bound to; by path delay, against a shortest-path search of its own."""
    closest = _nearest_roots(ground.topology, ground.model, planned.edges)
    new = ground.space.said(Memory.OWN, (CtState.NEW,))
    for place, destinations in planned.places.items():
        user = ground.model.wiring.far_ends[PortId(place.switch, place.in_port)]
        if not isinstance(user, str) or not destinations & ground.service or not planned.edges:
            continue
        if ground.topology.role(user) is not Role.USER:
            continue
        reached = _reached(ground.model, place, ground.service, new)
        bound = ground.expected.bound.get(user)
        right = closest.get(user, frozenset())
        if bound in planned.edges:
            right = frozenset({bound})
        if not right:
            continue
        for host, outcome in reached.items():
            if host not in right:
                sentence = f"{user} is served by {host}; the nearest is {' or '.join(sorted(right))}"
                yield Finding("nearest", sentence, place, outcome, ground.service)


def _reached(model: Model, start: Place, destinations: Bits, state: Bits) -> dict[str, Outcome]:
    """The hosts that new connections from a place reach."""
    found: dict[str, Outcome] = {}
    waiting, known = [start], {start}
    while waiting:
        place = waiting.pop()
        for outcome in model.outcomes(place):
            if not isinstance(outcome, Sent) or not outcome.destinations & destinations:
                continue
            if place == start and not outcome.flavour[Field.CT] & state:
                continue
            host, target = model.host(place, outcome), model.target(place, outcome)
            if host is not None:
                found.setdefault(host, outcome)
            if target is not None and target not in known:
                known.add(target)
                waiting.append(target)
    return found


def _nearest_roots(topology: Topology, model: Model, roots: Iterable[str]) -> dict[str, frozenset[str]]:
    """For every node the roots with the least path delay to it over links that are up; hosts forward
    nothing."""
    found: dict[str, frozenset[str]] = {}
    delays: dict[str, int] = {}
    waiting = [(0, root, root) for root in roots]
    while waiting:
        delay, node, root = heapq.heappop(waiting)
        if root in found.get(node, frozenset()) or delay > delays.get(node, delay):
            continue
        delays[node] = delay
        found[node] = found.get(node, frozenset()) | {root}
        if node != root and not topology.role(node).is_switch:
            continue
        for port in topology.ports[node]:
            there = topology.port(port.peer, node)
            if not {PortId(node, port.number), PortId(port.peer, there.number)} & model.down:
                further = delay + round(port.link.delay_ms * 1_000_000)
                heapq.heappush(waiting, (further, port.peer, root))
    return found


def count(bits: Bits) -> int:
    """How many atoms a set has."""
    return sum(1 for _ in bit_numbers(bits))
