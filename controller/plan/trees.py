"""Multicast: one tree per source and group, the union of the shortest paths from the source to every
listener that its zone allows. A packet is accepted only by the port towards the source, so it cannot loop.

Sources are those that listeners name (RFC 4607); where they name none, the first packet of a sender goes to
the controller, which then plans a tree for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from hashlib import blake2b
from ipaddress import IPv6Address
from weakref import WeakKeyDictionary

from controller.plan.facts import Facts, Paths, PortId
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Bucket,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    Prefix,
    Punt,
    Rule,
    SetEthSrc,
    ToGroup,
)
from controller.plan.zones import (
    ADMIN,
    Zones,
    effective_scope,
    is_for_users,
    is_forwarded,
    is_source_specific,
    scope_of,
)
from topologies.graph import PathTree
from topologies.spec import Role

_ZONE_ENDS, _TREE, _FIRST_PACKET = 300, 128, 64
_GROUPS, _GROUP_MASK = 0x1000_0000, 0x0FFF_FFFF

Channel = tuple[IPv6Address, IPv6Address]
"""(S,G)"""
Item = tuple[str, Rule | Group]
Branch = tuple[str, int, tuple[Bucket, ...]]
"""A switch of a tree, the port towards the source, and where copies go."""
Listening = dict[IPv6Address, set[tuple[str, IPv6Address | None]]]
"""For every group the hosts that listen, with the sources that they name; None for any."""


class _Trees:
    """What stays the same from plan to plan while the links do: the zones, the shortest paths within them,
    and the rules of groups whose listeners have not changed."""

    def __init__(self, paths: Paths) -> None:
        topology = self.topology = paths.topology
        self.zones = Zones(topology)
        self.peers: dict[PortId, str] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        for switch in topology.switches:
            for port in topology.ports[switch]:
                self.peers[PortId(switch, port.number)] = port.peer
                self.numbers[switch, port.peer] = port.number
        self.boundaries = tuple(
            (port.node, _boundary(port.number, scope)) for port, scope in self.zones.boundary_ports()
        )
        self.senders = topology.of_role(Role.EDGE, Role.ORIGIN)
        self.items: dict[Hashable, tuple[Item, ...]] = {}
        self._confined: dict[int, Paths] = {}
        self._shape: tuple[Hashable, tuple[Branch, ...]] = (None, ())

    def within(self, paths: Paths, scope: int) -> Paths:
        """The shortest paths that do not leave a zone of `scope`."""
        effective = effective_scope(scope)
        if effective is None or effective > ADMIN:
            return paths
        if effective not in self._confined:
            links = paths.down_links | self.zones.boundary_links(effective)
            self._confined[effective] = Paths(self.topology, links)
        return self._confined[effective]

    def branches(self, paths: Paths, root: str, hosts: tuple[str, ...]) -> tuple[Branch, ...]:
        """The union of the shortest paths from `root` to those of the hosts that have one."""
        # One sender's groups often have the same listeners.
        if self._shape[0] != (paths, root, hosts):
            self._shape = (paths, root, hosts), tuple(self._grow(paths.towards(root), hosts))
        return self._shape[1]

    def _grow(self, tree: PathTree, hosts: tuple[str, ...]) -> Iterator[Branch]:
        ports: dict[str, set[int]] = {}
        for host in hosts:
            here = host
            while here in tree.parent and (switch := tree.parent[here]) != tree.root:
                is_known = switch in ports
                ports.setdefault(switch, set()).add(self.numbers[switch, here])
                if is_known:
                    break
                here = switch
        for switch, numbers in ports.items():
            buckets = tuple(_bucket(number) for number in sorted(numbers))
            yield switch, self.numbers[switch, tree.parent[switch]], buckets


_cache: WeakKeyDictionary[Paths, _Trees] = WeakKeyDictionary()


def plan_trees(facts: Facts, paths: Paths) -> Iterator[Item]:
    """Every switch's rules and groups for multicast, as (switch, item). What has not changed since the last
    plan with these `paths` is taken from it."""
    trees = _cache.get(paths)
    if trees is None:
        trees = _cache[paths] = _Trees(paths)
    yield from trees.boundaries
    listening = _listening(facts, trees)
    channels = _channels(facts, trees, listening)
    numbers = group_numbers(channels)
    known, trees.items = trees.items, {}
    for channel, hosts in channels.items():
        key: Hashable = (channel, hosts, numbers[channel])
        if (items := known.get(key)) is None:
            items = tuple(_tree(facts, paths, trees, channel, hosts, numbers[channel]))
        trees.items[key] = items
        yield from items
    for group, found in listening.items():
        hosts = tuple(sorted({host for host, source in found if source is None}))
        if hosts and not is_source_specific(group):
            if (items := known.get((group, hosts))) is None:
                items = tuple(_first_packets(trees, group, hosts))
            trees.items[group, hosts] = items
            yield from items


def group_numbers(channels: Iterable[Channel]) -> dict[Channel, int]:
    """An OpenFlow group for every (S,G), which does not depend on the others but where two hashes meet."""
    numbers: dict[Channel, int] = {}
    taken: set[int] = set()
    for source, group in sorted(channels):
        digest = blake2b(source.packed + group.packed, digest_size=8).digest()
        number = int.from_bytes(digest) & _GROUP_MASK
        while number in taken:
            number = (number + 1) & _GROUP_MASK
        taken.add(number)
        numbers[source, group] = _GROUPS | number
    return numbers


def _boundary(port: int, scope: int) -> Rule:
    return Rule(TableId.MULTICAST, _ZONE_ENDS, Match(in_port=port, scope=scope), Origin.SCOPE)


def _listening(facts: Facts, trees: _Trees) -> Listening:
    """Who listens to each group and may have it at all, groups in order."""
    listening: Listening = {}
    for port, group, source in facts.members:
        if port not in facts.down_ports and (source is not None or not is_source_specific(group)):
            listening.setdefault(group, set()).add((trees.peers[port], source))
    users = set(trees.topology.of_role(Role.USER))
    for group, found in listening.items():
        if not is_forwarded(group):
            found.clear()
        elif not is_for_users(group):
            listening[group] = {entry for entry in found if entry[0] not in users}
    return {group: listening[group] for group in sorted(listening) if listening[group]}


def _channels(facts: Facts, trees: _Trees, listening: Listening) -> dict[Channel, tuple[str, ...]]:
    """For every (S,G) with somebody who may have it, the hosts that do, in a fixed order."""
    senders: dict[IPv6Address, list[IPv6Address]] = {}
    for sender in facts.senders:
        senders.setdefault(sender.group, []).append(sender.source)
    channels: dict[Channel, tuple[str, ...]] = {}
    for group, found in listening.items():
        wanted: dict[IPv6Address, set[str]] = {}
        for host, named in found:
            for source in senders.get(group, ()) if named is None else (named,):
                wanted.setdefault(source, set()).add(host)
        for source in sorted(wanted):
            owner = facts.owners.get(source)
            hosts = () if owner is None else _reached(trees, group, owner, wanted[source])
            if hosts:
                channels[source, group] = hosts
    return channels


def _reached(trees: _Trees, group: IPv6Address, sender: str, hosts: set[str]) -> tuple[str, ...]:
    scope = scope_of(group)
    zone = trees.zones.zone(scope, sender)
    found = {host for host in hosts if trees.zones.zone(scope, host) == zone}
    return tuple(sorted(found - {sender}))


def _tree(
    facts: Facts, paths: Paths, trees: _Trees, channel: Channel, hosts: tuple[str, ...], number: int
) -> Iterator[Item]:
    source, group = channel
    to_group, sources, groups = ToGroup(number), Prefix.of(source), Prefix.of(group)
    matches: dict[int, Match] = {}
    within = trees.within(paths, scope_of(group))
    for switch, in_port, buckets in trees.branches(within, facts.owners[source], hosts):
        if in_port not in matches:
            matches[in_port] = Match(in_port=in_port, ipv6_src=sources, ipv6_dst=groups)
        actions = (*_hop(facts.addresses.router_macs[switch]), to_group)
        yield switch, Rule(TableId.MULTICAST, _TREE, matches[in_port], Origin.TREE, actions)
        yield switch, Group(number, GroupKind.ALL, buckets)


@cache
def _hop(mac: str) -> tuple[DecHopLimit, SetEthSrc]:
    return DecHopLimit(), SetEthSrc(mac)


@cache
def _bucket(port: int) -> Bucket:
    return Bucket((Output(port),))


def _first_packets(trees: _Trees, group: IPv6Address, hosts: tuple[str, ...]) -> Iterator[Item]:
    """Where there may be senders that these hosts are to hear, their first packet is asked for. The rule of
    a tree comes before that."""
    scope, destination = scope_of(group), Prefix.of(group)
    heard_in = Counter(trees.zones.zone(scope, host) for host in hosts)
    listening = set(hosts)
    rules: dict[int, Rule] = {}
    for sender in trees.senders:
        if heard_in[trees.zones.zone(scope, sender)] > (sender in listening):
            switch = trees.topology.ports[sender][0].peer
            number = trees.numbers[switch, sender]
            if number not in rules:
                match, meter = Match(in_port=number, ipv6_dst=destination), ERROR_METER[Origin.SENDER]
                rules[number] = Rule(
                    TableId.MULTICAST, _FIRST_PACKET, match, Origin.SENDER, (Punt(),), meter=meter
                )
            yield switch, rules[number]
