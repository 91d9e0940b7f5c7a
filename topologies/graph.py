"""Shortest paths by delay: what the controller plans with and the report explains with.

Delays are added as whole nanoseconds, so that equal paths compare equal whatever the order of their
links. Among paths of equal delay the one with fewer hops wins, then the next hop that comes first in
the topology: the same input gives the same tree on every machine. Hosts never carry transit traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from topologies.spec import Link, Role, Topology

_NS_PER_MS = 1_000_000

Cost = tuple[int, int]
"""Nanoseconds, hops."""


@dataclass(frozen=True, slots=True)
class PathTree:
    """The shortest paths of every reachable node to `root`.

    `distance_ms` holds every reachable node (the root with 0), one way, propagation only; `parent` the
    next node towards the root for each of them but the root itself.
    """

    root: str
    distance_ms: Mapping[str, float]
    parent: Mapping[str, str]

    def path(self, node: str) -> tuple[str, ...]:
        """The nodes from `node` to the root, both included. Raises KeyError when there is no path."""
        if node not in self.distance_ms:
            raise KeyError(f"{node} has no path to {self.root}")
        path = [node]
        while path[-1] != self.root:
            path.append(self.parent[path[-1]])
        return tuple(path)


@dataclass(frozen=True, slots=True)
class NearestEdge:
    """The edge nearest to a node: `distance_ms` one way, including the edge's own link.

    `equally_near` names every edge at the same delay and hop count, `edge` (the first of them in the
    order asked for) included; more than one means that only the order decided.
    """

    edge: str
    distance_ms: float
    equally_near: tuple[str, ...]


def shortest_path_tree(
    topology: Topology,
    root: str,
    *,
    down_links: frozenset[str] = frozenset(),
    down_nodes: frozenset[str] = frozenset(),
) -> PathTree:
    """The shortest paths to `root`, without the links (by name, `a-b`) and nodes that are down.

    Unreachable nodes are missing from the tree; a root that is down reaches nothing. Raises KeyError
    when the topology has no such root.
    """
    topology.role(root)
    costs, before = _settle(topology, (root,), down_links, down_nodes)
    return PathTree(
        root=root,
        distance_ms={name: cost[0] / _NS_PER_MS for name, cost in costs.items()},
        parent={name: nodes[0] for name, nodes in before.items() if nodes},
    )


def nearest_edges(
    topology: Topology,
    edges: Iterable[str] | None = None,
    *,
    down_links: frozenset[str] = frozenset(),
    down_nodes: frozenset[str] = frozenset(),
) -> Mapping[str, NearestEdge]:
    """For every switch and user that reaches one, the nearest of `edges` (default: all edges).

    Raises KeyError when the topology has no node of such a name.
    """
    wanted = topology.of_role(Role.EDGE) if edges is None else tuple(edges)
    for edge in wanted:
        topology.role(edge)
    rank = {edge: position for position, edge in enumerate(wanted)}
    costs, before = _settle(topology, wanted, down_links, down_nodes)
    at: dict[str, tuple[str, ...]] = {}
    for name in sorted(costs, key=costs.__getitem__):
        found = {edge for node in before[name] for edge in at[node]}
        at[name] = tuple(sorted(found, key=rank.__getitem__)) if before[name] else (name,)
    return {
        node.name: NearestEdge(at[node.name][0], costs[node.name][0] / _NS_PER_MS, at[node.name])
        for node in topology
        if node.name in costs and (node.role.is_switch or node.role is Role.USER)
    }


def path_links(topology: Topology, path: Sequence[str]) -> tuple[Link, ...]:
    """The links along a path of node names. Raises KeyError where two neighbours share no link."""
    return tuple(topology.port(here, there).link for here, there in pairwise(path))


def path_delay_ms(topology: Topology, path: Sequence[str]) -> float:
    """The one-way propagation delay along a path. Raises KeyError where two neighbours share no link."""
    return sum(_delay_ns(link) for link in path_links(topology, path)) / _NS_PER_MS


def round_trip_ms(topology: Topology, path: Sequence[str], out_bytes: int, back_bytes: int) -> float:
    """The round trip of one frame out and one back over idle links that store and forward.

    Sizes are those of the frames, the 14 bytes of Ethernet header included. Raises KeyError where two
    neighbours of the path share no link.
    """
    bits = (out_bytes + back_bytes) * 8
    serialisation_ms = sum(bits / (link.rate_mbps * 1000) for link in path_links(topology, path))
    return 2 * path_delay_ms(topology, path) + serialisation_ms


def _settle(
    topology: Topology, sources: tuple[str, ...], down_links: frozenset[str], down_nodes: frozenset[str]
) -> tuple[dict[str, Cost], dict[str, list[str]]]:
    """Dijkstra from several sources: the cost of each node reached, and every neighbour that offers
    that cost, in the order of the topology (none for a source)."""
    order = {node.name: position for position, node in enumerate(topology)}
    costs: dict[str, Cost] = {}
    before: dict[str, list[str]] = {}
    queue: list[tuple[Cost, int, str, str]] = []
    for name in sources:
        if name not in down_nodes:
            heappush(queue, ((0, 0), -1, name, ""))
    while queue:
        cost, _, name, via = heappop(queue)
        if name in costs:
            # The queue yields offers of equal cost in the order of the topology.
            if via and cost == costs[name] and via not in before[name] and before[name]:
                before[name].append(via)
            continue
        costs[name] = cost
        before[name] = [via] if via else []
        if via and not topology.role(name).is_switch:
            continue
        for port in topology.ports[name]:
            if port.peer not in down_nodes and port.link.name not in down_links:
                offer = (cost[0] + _delay_ns(port.link), cost[1] + 1)
                heappush(queue, (offer, order[name], port.peer, name))
    return costs, before


def _delay_ns(link: Link) -> int:
    return round(link.delay_ms * _NS_PER_MS)
