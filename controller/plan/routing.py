"""Ways between all switches: next hops by least delay, of equal delay by fewest hops, then by the order of
the topology, and loop-free alternates. Costs fall along every path, so nothing loops.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from controller.plan.alternates import PORT_BITS, Neighbourhood, Ways, ways_between, ways_to_nearest
from controller.plan.distances import UNREACHABLE, Costs, Elimination, Indices
from controller.plan.facts import Paths
from topologies.graph import PathTree
from topologies.spec import Link, Port, Topology

_NS_PER_MS = 1_000_000

K = TypeVar("K")
T = TypeVar("T")


def remembered(build: Callable[[K], T]) -> Callable[[K], T]:
    """Remember what `build` makes of each object while that lives: topologies and facts are slow to hash.
    What it makes must not refer to the object."""
    known: dict[int, T] = {}

    def get(thing: K) -> T:
        key = id(thing)
        if key not in known:
            known[key] = build(thing)
            weakref.finalize(thing, known.pop, key, None)
        return known[key]

    return get


class Backbone:
    """The switches of a topology and the links between them: `switches` by their `places` in the matrices,
    `peers` behind the ports of each, `links` with what they connect. The cost of a path is its delay in whole
    nanoseconds, and its hops in the last `hop_bits` bits.

    Raises ValueError when the delays are so long that 64 bits cannot hold their sum.
    """

    def __init__(self, topology: Topology) -> None:
        order = {switch: number for number, switch in enumerate(topology.switches)}
        links = [link for link in topology.links if link.a in order and link.b in order]
        self._elimination = Elimination(len(order), [(order[link.a], order[link.b]) for link in links])
        self.places = dict(zip(order, self._elimination.places, strict=True))
        self.switches = tuple(sorted(order, key=self.places.__getitem__))
        self.peers = [{port.number: port.peer for port in topology.ports[switch]} for switch in self.switches]
        self.links = {link.name: (self.places[link.a], self.places[link.b]) for link in links}
        self.hosts = {host: topology.access_port(host) for host in topology.hosts}
        self.hop_bits = len(topology.nodes).bit_length()
        longest = max(map(self.cost, topology.links), default=0)
        if longest * (len(order) + 2) >= UNREACHABLE:
            raise ValueError(f"delays of {topology.name} are too long to be added up")
        self._costs: Costs = np.full((len(order), len(order)), UNREACHABLE)
        np.fill_diagonal(self._costs, 0)
        for link in links:
            a, b = self.links[link.name]
            self._costs[a, b] = self._costs[b, a] = self.cost(link)
        by_degree: dict[int, dict[int, list[Port]]] = {}
        for switch, place in self.places.items():
            ports = [port for port in topology.ports[switch] if port.peer in order]
            ports.sort(key=lambda port: order[port.peer])
            by_degree.setdefault(len(ports), {})[place] = ports
        self.neighbourhoods = [
            Neighbourhood.of(ports, self.places) for degree, ports in by_degree.items() if degree
        ]

    def cost(self, link: Link) -> int:
        """The cost of a link."""
        return round(link.delay_ms * _NS_PER_MS) << self.hop_bits | 1

    def costs(self, down_links: Iterable[str]) -> Costs:
        """The costs of the links, without those that are down."""
        costs = self._costs.copy()
        for name in down_links:
            if name in self.links:
                a, b = self.links[name]
                costs[a, b] = costs[b, a] = UNREACHABLE
        return costs

    def distances(self, costs: Costs) -> Costs:
        """The distances between all switches, given the costs of the links."""
        return self._elimination.distances(costs)


backbone_of = remembered(Backbone)


@dataclass(frozen=True, slots=True)
class Nearest:
    """For every switch, by place: the number of the nearest of some hosts (-1 where none is reached) and the
    ways to it."""

    host: Indices
    ways: Ways


class Routing(Paths):
    """The ways between all switches of a topology without the links that are down.

    `ways` has a row for each switch and a column for each destination, by place; `changed` are the rows that
    differ from those of `before`, of which everything that still holds is taken over.
    """

    def __init__(self, topology: Topology, down_links: frozenset[str], before: Routing | None = None) -> None:
        super().__init__(topology, down_links)
        self.backbone = backbone_of(topology)
        self._links = self.backbone.costs(down_links)
        self.distances = self.backbone.distances(self._links)
        if before is None or before.backbone is not self.backbone:
            before = None
            self.ways: Ways = np.zeros(self.distances.shape, dtype=np.int32)
        else:
            self.ways = before.ways.copy()
        shift = None if before is None else self.distances - before.distances
        for around in self.backbone.neighbourhoods:
            if before is None or shift is None:
                rows, to = np.indices((len(around.switches), len(self.ways))).reshape(2, -1)
            else:
                rows, to = self._outdated(around, before, shift)
            found = ways_between(around, self._links, self.distances, rows, to)
            self.ways[around.switches[rows], to] = found
        if before is None:
            self.changed: Indices = np.arange(len(self.ways))
        else:
            self.changed = np.flatnonzero((self.ways != before.ways).any(axis=1))

    def _outdated(self, around: Neighbourhood, before: Routing, shift: Costs) -> tuple[Indices, Indices]:
        """The rows and destinations of the ways that may be others than `before`, from which the distances
        differ by `shift`."""
        switches, near = around.switches, around.neighbours
        moved = shift != 0
        rewired = (self._links[switches[:, None], near] != before._links[switches[:, None], near]).any(axis=1)
        rewired |= moved[near, switches[:, None]].any(axis=1)
        rewired |= moved[near[:, :, None], near[:, None, :]].any(axis=(1, 2))
        suspects = moved[switches]
        for column in near.T:
            suspects |= moved[column]
        suspects[rewired] = True
        rows, to = np.divmod(np.flatnonzero(suspects), len(shift))
        # What is further away than before by the same from a switch and all its neighbours, keeps its way.
        own, differs = shift[switches[rows], to], rewired[rows]
        for column in near.T:
            differs |= shift[column[rows], to] != own
        return rows[differs], to[differs]

    def towards_switch(self, end: str) -> list[tuple[str, str]]:
        """Every switch that reaches another and its next hop, each after all that it is the next hop of."""
        backbone, place = self.backbone, self.backbone.places[end]
        hops = self.distances[:, place] & (1 << backbone.hop_bits) - 1
        order = np.argsort(-hops, kind="stable").tolist()
        numbers = (self.ways[:, place] >> PORT_BITS).tolist()
        return [
            (backbone.switches[start], backbone.peers[start][numbers[start]])
            for start in order
            if numbers[start]
        ]

    def towards(self, root: str) -> PathTree:
        """The shortest paths of all nodes to `root`: the tree of `topologies.graph`."""
        tree = self._trees.get(root)
        if tree is None:
            tree = self._trees[root] = self._tree(root)
        return tree

    def _tree(self, root: str) -> PathTree:
        backbone, topology = self.backbone, self.topology
        distance_ms: dict[str, float] = {root: 0.0}
        parent: dict[str, str] = {}
        if topology.role(root).is_switch:
            start, around_ns = root, 0
        else:
            port = backbone.hosts[root]
            if port.link.name in self.down_links:
                return PathTree(root, distance_ms, parent)
            start, around_ns = port.node, backbone.cost(port.link) >> backbone.hop_bits
            distance_ms[start], parent[start] = around_ns / _NS_PER_MS, root
        place = backbone.places[start]
        delays_ns = (self.distances[:, place] >> backbone.hop_bits).tolist()
        next_hops = (self.ways[:, place] >> PORT_BITS).tolist()
        for switch, peers, delay_ns, number in zip(
            backbone.switches, backbone.peers, delays_ns, next_hops, strict=True
        ):
            if number:
                distance_ms[switch] = (around_ns + delay_ns) / _NS_PER_MS
                parent[switch] = peers[number]
        for host, port in backbone.hosts.items():
            if host != root and port.node in distance_ms and port.link.name not in self.down_links:
                delay_ns = around_ns + delays_ns[backbone.places[port.node]]
                distance_ms[host] = (delay_ns + (backbone.cost(port.link) >> backbone.hop_bits)) / _NS_PER_MS
                parent[host] = port.node
        return PathTree(root, distance_ms, parent)

    def path(self, start: str, end: str) -> tuple[str, ...]:
        """The switches from `start` to `end`, both included; none when there is no way."""
        backbone, path = self.backbone, [start]
        column = self.ways[:, backbone.places[end]]
        while path[-1] != end:
            place = backbone.places[path[-1]]
            number = int(column[place]) >> PORT_BITS
            if not number:
                return ()
            path.append(backbone.peers[place][number])
        return tuple(path)

    def nearest(self, hosts: Sequence[str]) -> Nearest:
        """The nearest of some hosts for every switch; of equally near ones the first."""
        size = len(self.ways)
        ports = [self.backbone.hosts[host] for host in hosts]
        up = [number for number, port in enumerate(ports) if port.link.name not in self.down_links]
        if not up:
            return Nearest(np.full(size, -1), np.zeros(size, dtype=np.int32))
        at = np.array([self.backbone.places[ports[number].node] for number in up])
        far = self.distances[:, at]
        far += np.array([self.backbone.cost(ports[number].link) for number in up])
        chosen = far.argmin(axis=1)
        rows = np.arange(size)
        least = np.minimum(far[rows, chosen], UNREACHABLE)
        numbers = np.array([ports[number].number for number in up], dtype=np.int32)
        first = np.where(at[chosen] == rows, numbers[chosen], self.ways[rows, at[chosen]] >> PORT_BITS)
        ways = first << PORT_BITS
        for around in self.backbone.neighbourhoods:
            ways[around.switches] = ways_to_nearest(around, self._links, self.distances, least, first)
        return Nearest(np.where(least < UNREACHABLE, np.array(up)[chosen], -1), ways)
