"""What the network should do, worked out without the code under test: distances by relaxation."""

from __future__ import annotations

from topologies.spec import Link, Role, Topology


def distances_ms(topology: Topology, root: str) -> dict[str, float]:
    """One-way propagation delay of every node to the host `root`, by Bellman and Ford's algorithm; hosts
    carry no transit traffic."""
    best = {root: 0.0}
    for _ in topology.nodes:
        for link in topology.links:
            for here, there in ((link.a, link.b), (link.b, link.a)):
                transit = here == root or topology.role(here).is_switch
                if here in best and transit and best[here] + link.delay_ms < best.get(there, 1e9):
                    best[there] = best[here] + link.delay_ms
    return best


def by_distance(topology: Topology, user: str) -> list[str]:
    """The edges from the nearest to the farthest; fails when two are equally near to this user."""
    delays = {edge: distances_ms(topology, edge)[user] for edge in topology.of_role(Role.EDGE)}
    rounded = {round(delay, 6) for delay in delays.values()}
    assert len(rounded) == len(delays), f"{topology.name} does not decide which edge is nearest to {user}"
    return sorted(delays, key=delays.__getitem__)


def shortest_path(topology: Topology, start: str, root: str) -> list[Link]:
    """The links of the shortest path between two hosts: down the slope of `distances_ms`."""
    slope = distances_ms(topology, root)
    here, links = start, []
    while here != root:
        link = next(
            link
            for link in topology.links
            if here in (link.a, link.b)
            and (link.other(here) == root or topology.role(link.other(here)).is_switch)
            and abs(slope[here] - slope[link.other(here)] - link.delay_ms) < 1e-9
        )
        links.append(link)
        here = link.other(here)
    return links
