"""Shortest paths against a brute-force Bellman-Ford, on any graph with ties, cuts and failures."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.graph import Cost, nearest_edges, path_delay_ms, shortest_path_tree
from topologies.spec import Link, Node, Role, Topology

UNREACHED = (10**18, 0)


@st.composite
def graphs(draw: st.DrawFn) -> Topology:
    """A few switches and edges with any links; small delays, so that many paths are equal."""
    switches = [f"s{number}" for number in range(draw(st.integers(1, 7)))]
    hosts = [f"e{number}" for number in range(draw(st.integers(1, 3)))]
    delays = st.sampled_from([0, 0.1, 0.2, 0.3, 1, 2])
    pairs = (
        draw(st.lists(st.sampled_from([*combinations(switches, 2), None]), unique=True)) if switches else []
    )
    links = [Link(*pair, draw(delays), 100) for pair in pairs if pair]
    links += [Link(draw(st.sampled_from(switches)), host, draw(delays), 100) for host in hosts]
    nodes = [Node(name, Role.ACCESS) for name in switches] + [Node(name, Role.EDGE) for name in hosts]
    return Topology("test", tuple(draw(st.permutations(nodes))), tuple(draw(st.permutations(links))))


def bellman_ford(
    topology: Topology, root: str, down_links: frozenset[str], down_nodes: frozenset[str]
) -> dict[str, Cost]:
    """Costs in nanoseconds and hops of every node that reaches the root."""
    costs = {node.name: UNREACHED for node in topology}
    if root not in down_nodes:
        costs[root] = (0, 0)
    for _ in topology.nodes:
        for link in topology.links:
            if link.name in down_links or {link.a, link.b} & down_nodes:
                continue
            for here, there in ((link.a, link.b), (link.b, link.a)):
                if costs[here] != UNREACHED and (here == root or topology.role(here).is_switch):
                    offer = (costs[here][0] + round(link.delay_ms * 10**6), costs[here][1] + 1)
                    costs[there] = min(costs[there], offer)
    return {name: cost for name, cost in costs.items() if cost != UNREACHED}


@st.composite
def failures(draw: st.DrawFn) -> tuple[Topology, frozenset[str], frozenset[str]]:
    topology = draw(graphs())
    links = draw(st.sets(st.sampled_from([link.name for link in topology.links]), max_size=3))
    nodes = draw(st.sets(st.sampled_from([node.name for node in topology]), max_size=2))
    return topology, frozenset(links), frozenset(nodes)


@settings(max_examples=150, deadline=None)
@given(failures(), st.data())
def test_trees_agree_with_bellman_ford(
    case: tuple[Topology, frozenset[str], frozenset[str]], data: st.DataObject
) -> None:
    topology, down_links, down_nodes = case
    root = data.draw(st.sampled_from([node.name for node in topology]))
    tree = shortest_path_tree(topology, root, down_links=down_links, down_nodes=down_nodes)
    expected = bellman_ford(topology, root, down_links, down_nodes)
    assert tree.distance_ms == {name: cost[0] / 10**6 for name, cost in expected.items()}
    for name in expected:
        path = tree.path(name)
        assert (path[0], path[-1], len(path) - 1) == (name, root, expected[name][1])
        assert path_delay_ms(topology, path) == tree.distance_ms[name]
        assert not set(path) & down_nodes
        assert all(topology.role(middle).is_switch for middle in path[1:-1])
        if name != root:
            assert tree.parent[name] == next(
                node.name for node in topology if leads(topology, name, node.name, root, expected, down_links)
            )


def leads(
    topology: Topology, name: str, via: str, root: str, costs: dict[str, Cost], down_links: frozenset[str]
) -> bool:
    """Whether a shortest path from `name` to the root may go over its neighbour `via`."""
    if via not in costs or not (via == root or topology.role(via).is_switch):
        return False
    return any(
        port.peer == via
        and port.link.name not in down_links
        and (costs[via][0] + round(port.link.delay_ms * 10**6), costs[via][1] + 1) == costs[name]
        for port in topology.ports[name]
    )


@settings(max_examples=100, deadline=None)
@given(failures(), st.data())
def test_the_nearest_edge_is_the_least_of_all_trees(
    case: tuple[Topology, frozenset[str], frozenset[str]], data: st.DataObject
) -> None:
    topology, down_links, down_nodes = case
    edges = data.draw(st.permutations(topology.of_role(Role.EDGE)))
    nearest = nearest_edges(topology, edges, down_links=down_links, down_nodes=down_nodes)
    costs = {edge: bellman_ford(topology, edge, down_links, down_nodes) for edge in edges}
    for switch in topology.switches:
        offers = {edge: costs[edge][switch] for edge in edges if switch in costs[edge]}
        assert (switch in nearest) == bool(offers)
        if offers:
            best = min(offers.values())
            assert nearest[switch].distance_ms == best[0] / 10**6
            assert nearest[switch].equally_near == tuple(edge for edge in edges if offers.get(edge) == best)
            assert nearest[switch].edge == nearest[switch].equally_near[0]
