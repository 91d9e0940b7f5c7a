"""Which link failures the data plane survives by itself: loop-free alternates (RFC 5286), walked hop by hop.

Worked out from the topology alone, so that an experiment can choose its links and a claim need not trust
the controller's tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from topologies.graph import nearest_edges, shortest_path_tree
from topologies.spec import Role, Topology

Costs = Mapping[str, float]
"""Delay from each switch to a destination."""


SWITCHES_AROUND_NARROW_LINK = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A link between two switches on the way from `user` to the edge that serves it. `is_protected`: its
    failure is survived in both directions before anyone repairs anything."""

    user: str
    edge: str
    a: str
    b: str
    is_protected: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A user whose nearest edges `off` are off; a link on its way that is protected, one that is not, and a
    switch in the middle of it."""

    user: str
    off: tuple[str, ...]
    protected: Case
    unprotected: Case | None
    switch: str


def cases(topology: Topology, edges: Sequence[str], user: str) -> Iterator[Case]:
    """Every link between switches on the way of `user` to the nearest of `edges`, from the user on; only
    those whose failure leaves another way."""
    found = nearest_edges(topology, edges).get(user)
    if found is None:
        return
    for a, b in pairwise(shortest_path_tree(topology, found.edge).path(user)):
        if not (topology.role(a).is_switch and topology.role(b).is_switch):
            continue
        down = frozenset({topology.port(a, b).link.name})
        if user in nearest_edges(topology, edges, down_links=down):
            yield Case(user, found.edge, a, b, survives(topology, edges, user, a, b))


def choose(topology: Topology, edges: Sequence[str]) -> Choice | None:
    """A user with a link that is protected and one that is not on its way to an edge, with as few of the
    nearest edges off as that takes; else one with a protected link; None when there is none at all."""
    partial: Choice | None = None
    rounds = [
        (len(off), user, off, active)
        for user in topology.of_role(Role.USER)
        for off, active in _without_nearest(topology, edges, user)
    ]
    for _, user, off, active in sorted(rounds, key=lambda entry: entry[0]):
        found = tuple(cases(topology, active, user))
        safe = next((case for case in found if case.is_protected), None)
        bare = next((case for case in found if not case.is_protected), None)
        transit = _transit_switch(topology, active, user)
        if safe is not None and transit is not None:
            choice = Choice(user, off, safe, bare, transit)
            if bare is not None:
                return choice
            partial = partial or choice
    return partial


def narrowed(topology: Topology, user: str, mtu_bytes: int) -> tuple[Topology, tuple[str, ...]]:
    """The topology with one narrow link between `user` and the service, not next to the user's own switch;
    and the edges that must be off for it. Raises ValueError when no way is long enough."""
    for off, active in _without_nearest(topology, topology.of_role(Role.EDGE), user):
        found = nearest_edges(topology, active).get(user)
        path = shortest_path_tree(topology, found.edge).path(user) if found else ()
        if len(path) >= SWITCHES_AROUND_NARROW_LINK + 2:
            narrow = topology.port(path[-3], path[-2]).link
            links = (
                replace(link, mtu_bytes=mtu_bytes) if link is narrow else link for link in topology.links
            )
            return replace(topology, links=tuple(links)), off
    raise ValueError(f"{topology.name}: no edge of {user} is three switches away")


def _without_nearest(
    topology: Topology, edges: Sequence[str], user: str
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(off, active): none of the edges off, the nearest to the user, the two nearest, and so on."""
    distance = shortest_path_tree(topology, user).distance_ms
    ordered = sorted((edge for edge in edges if edge in distance), key=lambda edge: distance[edge])
    for count in range(len(ordered)):
        off = set(ordered[:count])
        yield (
            tuple(edge for edge in edges if edge in off),
            tuple(edge for edge in edges if edge not in off),
        )


def _transit_switch(topology: Topology, edges: Sequence[str], user: str) -> str | None:
    """A switch on the way of `user` that nobody needed hangs on, and whose failure leaves another way."""
    found = nearest_edges(topology, edges).get(user)
    path = shortest_path_tree(topology, found.edge).path(user) if found else ()
    for switch in path[2:-2]:
        if user in nearest_edges(topology, edges, down_nodes=frozenset({switch})):
            return switch
    return None


def survives(topology: Topology, edges: Sequence[str], user: str, a: str, b: str) -> bool:
    """Whether packets of `user` reach one of `edges`, and its answers the user, while link a-b is dead and
    every switch still has the routes from before, with an alternate where there is one."""
    way = _walk(topology, topology.ports[user][0].peer, _to_service(topology, edges), {a, b}, set(edges))
    if way is None:
        return False
    back = shortest_path_tree(topology, user).distance_ms
    return _walk(topology, topology.ports[way][0].peer, back, {a, b}, {user}) is not None


def _to_service(topology: Topology, edges: Sequence[str]) -> Costs:
    nearest = nearest_edges(topology, edges)
    return {name: found.distance_ms for name, found in nearest.items()} | dict.fromkeys(edges, 0.0)


def _walk(topology: Topology, start: str, costs: Costs, dead: set[str], ends: set[str]) -> str | None:
    """The end that a packet reaches; None when a switch has nowhere to send it."""
    switch = start
    for _ in topology.switches:
        towards = _next_hop(topology, switch, costs)
        if {switch, towards} == dead:
            towards = _alternate(topology, switch, towards, costs)
        if towards is None or towards in ends:
            return towards
        switch = towards
    return None


def _next_hop(topology: Topology, switch: str, costs: Costs) -> str | None:
    return _best(topology, switch, costs, lambda _peer, _delay_ms: True)


def _alternate(topology: Topology, switch: str, primary: str | None, costs: Costs) -> str | None:
    """A neighbour that does not send it back: inequality 1 of RFC 5286."""

    def is_loop_free(peer: str, delay_ms: float) -> bool:
        is_eligible = peer != primary and topology.role(peer).is_switch
        return is_eligible and costs[peer] < delay_ms + costs[switch] - 1e-9

    return _best(topology, switch, costs, is_loop_free)


def _best(
    topology: Topology, switch: str, costs: Costs, is_eligible: Callable[[str, float], bool]
) -> str | None:
    offers = [
        (costs[port.peer] + port.link.delay_ms, port.number, port.peer)
        for port in topology.ports[switch]
        if port.peer in costs and is_eligible(port.peer, port.link.delay_ms)
    ]
    return min(offers)[2] if offers else None
