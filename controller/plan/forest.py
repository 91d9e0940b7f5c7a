"""The multicast section of the plan, made anew only where branches change: what `plan_trees` makes from
scratch, for networks in which a link fails.

All channels of one source share its shortest paths. So each port of a switch has the set of channels that
listeners behind it want, as the bits of a number; towards the source the numbers are or-ed together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import count
from operator import or_
from typing import NamedTuple

from controller.plan.facts import Facts, PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.routing import Routing
from controller.plan.rules import Group, GroupKind, Match, Prefix, Rule, Tables, ToGroup
from controller.plan.trees import (
    _TREE,
    Channel,
    _bucket,
    _channels,
    _first_packets,
    _hop,
    _listening,
    _Trees,
    group_numbers,
)
from controller.plan.unicast import Fragment, fragment
from controller.plan.zones import ADMIN, effective_scope, is_source_specific, scope_of

Ports = dict[int, int]
"""By port of a switch, the channels that are wanted behind it, as bits."""


class _Root(NamedTuple):
    """A host that sends, and how far: the scope of the zone that its packets stay in, 0 for any."""

    host: str
    scope: int


class _Branch(NamedTuple):
    """One channel at one switch: the port towards the source, and those that copies go out of."""

    channel: Channel
    number: int
    in_port: int
    ports: tuple[int, ...]


class _Made(NamedTuple):
    """A branch, and what it puts into its switch."""

    branch: _Branch
    rules: Fragment
    group: Group


class _Spread(NamedTuple):
    """One root at one switch: the port towards it, and what is wanted behind the others."""

    in_port: int
    wanted: Ports


class Forest:
    """The trees of a network; `part` is what they put into each switch."""

    def __init__(self, routing: Routing) -> None:
        self._fixed = _Trees(routing)
        switches = routing.topology.switches
        self._boundaries: dict[str, Fragment] = {switch: {} for switch in switches}
        for switch, rule in self._fixed.boundaries:
            self._boundaries[switch] |= fragment(rule)
        self._routing: Routing | None = None
        self._confined: dict[int, Routing] = {}
        self._listeners: tuple[object, ...] = ()
        self._bits: dict[Channel, int] = {}
        self._channels: dict[int, tuple[Channel, int]] = {}
        self._wanted: dict[_Root, dict[str, Ports]] = {}
        self._asked: dict[str, Fragment] = {switch: {} for switch in switches}
        self._spread: dict[str, dict[_Root, _Spread]] = {switch: {} for switch in switches}
        self._made: dict[str, dict[int, _Made]] = {switch: {} for switch in switches}
        self._matches: dict[tuple[Channel, int], Match] = {}
        self.part = {switch: Tables(rules) for switch, rules in self._boundaries.items()}

    def update(self, facts: Facts, routing: Routing) -> set[str]:
        """The switches for which it has changed."""
        hosts_down = frozenset(port for port in facts.down_ports if self._leads_to_host(port))
        listeners = (facts.members, facts.senders, hosts_down)
        listens_anew = listeners != self._listeners
        if not listens_anew and routing is self._routing:
            return set()
        changed = set[str]()
        is_renumbered = False
        if listens_anew:
            self._listeners = listeners
            is_renumbered, changed = self._listen(replace(facts, down_ports=hosts_down))
        self._routing = routing
        for switch, spread in self._spread_out(routing).items():
            if is_renumbered or spread != self._spread[switch]:
                self._spread[switch] = spread
                if self._grow(switch, facts.addresses.router_macs[switch]):
                    changed.add(switch)
        for switch in changed:
            rules = self._boundaries[switch] | self._asked[switch]
            for made in self._made[switch].values():
                rules.update(made.rules)
            groups = {made.group.number: made.group for made in self._made[switch].values()}
            self.part[switch] = Tables(rules, groups)
        return changed

    def _leads_to_host(self, port: PortId) -> bool:
        return not self._fixed.topology.role(self._fixed.peers[port]).is_switch

    def _listen(self, facts: Facts) -> tuple[bool, set[str]]:
        """Take up who listens to what: whether a bit stands for another channel now or a channel has another
        number, and the switches where other first packets are asked for."""
        fixed = self._fixed
        listening = _listening(facts, fixed)
        channels = _channels(facts, fixed, listening)
        numbers = group_numbers(channels)
        kept = {channel: bit for channel, bit in self._bits.items() if channel in channels}
        taken = set(kept.values())
        free = (bit for bit in count() if bit not in taken)
        self._bits = {channel: kept[channel] if channel in kept else next(free) for channel in channels}
        before = self._channels
        self._channels = {bit: (channel, numbers[channel]) for channel, bit in self._bits.items()}
        is_renumbered = any(self._channels.get(bit, same) != same for bit, same in before.items())
        self._wanted = {}
        for channel, hosts in channels.items():
            self._want(facts.owners[channel[0]], channel, hosts)
        asked: dict[str, Fragment] = {switch: {} for switch in self._asked}
        for group, found in listening.items():
            anybody = tuple(sorted({host for host, source in found if source is None}))
            if anybody and not is_source_specific(group):
                for switch, item in _first_packets(fixed, group, anybody):
                    if isinstance(item, Rule):
                        asked[switch] |= fragment(item)
        changed = {switch for switch, rules in asked.items() if rules != self._asked[switch]}
        self._asked = asked
        return is_renumbered, changed

    def _want(self, owner: str, channel: Channel, hosts: tuple[str, ...]) -> None:
        scope = effective_scope(scope_of(channel[1]))
        root = _Root(owner, scope if scope is not None and scope <= ADMIN else 0)
        at_switches, bit = self._wanted.setdefault(root, {}), 1 << self._bits[channel]
        topology, numbers = self._fixed.topology, self._fixed.numbers
        for host in hosts:
            switch = topology.ports[host][0].peer
            ports = at_switches.setdefault(switch, {})
            number = numbers[switch, host]
            ports[number] = ports.get(number, 0) | bit

    def _spread_out(self, routing: Routing) -> dict[str, dict[_Root, _Spread]]:
        """What each root's channels need of each switch."""
        numbers = self._fixed.numbers
        spread: dict[str, dict[_Root, _Spread]] = {switch: {} for switch in self._spread}
        for root, at_switches in self._wanted.items():
            link, first = routing.backbone.hosts[root.host].link, routing.backbone.hosts[root.host].node
            if link.name in routing.down_links:
                continue
            wanted = {switch: dict(ports) for switch, ports in at_switches.items()}
            for switch, next_hop in self._within(routing, root.scope).towards_switch(first):
                if switch in wanted:
                    spread[switch][root] = _Spread(numbers[switch, next_hop], wanted[switch])
                    ports, number = wanted.setdefault(next_hop, {}), numbers[next_hop, switch]
                    ports[number] = reduce(or_, wanted[switch].values(), ports.get(number, 0))
            if first in wanted:
                spread[first][root] = _Spread(numbers[first, root.host], wanted[first])
        return spread

    def _within(self, routing: Routing, scope: int) -> Routing:
        """The ways that do not leave a zone of `scope`."""
        if not scope:
            return routing
        links = routing.down_links | self._fixed.zones.boundary_links(scope)
        before = self._confined.get(scope)
        if before is None or before.down_links != links:
            self._confined[scope] = Routing(routing.topology, links, before)
        return self._confined[scope]

    def _grow(self, switch: str, mac: str) -> bool:
        """Find the branches at a switch anew; whether they are others than before."""
        before, found = self._made[switch], dict[int, _Made]()
        for spread in self._spread[switch].values():
            ports: dict[int, list[int]] = {}
            for number in sorted(spread.wanted):
                for bit in _bits_of(spread.wanted[number]):
                    ports.setdefault(bit, []).append(number)
            for bit, out in ports.items():
                branch = _Branch(*self._channels[bit], spread.in_port, tuple(out))
                known = before.get(bit)
                found[bit] = known if known and known.branch == branch else self._make(branch, mac)
        self._made[switch] = found
        return found.keys() != before.keys() or any(made is not before[bit] for bit, made in found.items())

    def _make(self, branch: _Branch, mac: str) -> _Made:
        actions = (*_hop(mac), ToGroup(branch.number))
        match = self._match(branch.channel, branch.in_port)
        rule = Rule(TableId.MULTICAST, _TREE, match, Origin.TREE, actions)
        buckets = tuple(_bucket(port) for port in branch.ports)
        return _Made(branch, fragment(rule), Group(branch.number, GroupKind.ALL, buckets))

    def _match(self, channel: Channel, in_port: int) -> Match:
        key = channel, in_port
        if key not in self._matches:
            source, group = channel
            self._matches[key] = Match(in_port=in_port, ipv6_src=Prefix.of(source), ipv6_dst=Prefix.of(group))
        return self._matches[key]


def _bits_of(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
