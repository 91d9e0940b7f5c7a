"""Next hops, loop-free alternates and the nearest of several hosts."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from controller.plan.alternates import PORT_BITS, PORT_MASK
from controller.plan.distances import UNREACHABLE, Elimination
from controller.plan.routing import Backbone, Routing, remembered
from tests.unit.controller.networks import small
from topologies.files import load
from topologies.graph import nearest_edges, shortest_path_tree
from topologies.spec import Link, Node, Role, Topology

METRO = load("metro")


def network(*links: tuple[str, str, float]) -> Topology:
    """Core switches named by lower case letters, edges by capitals, in the order of the alphabet."""
    names = sorted({end for a, b, _ in links for end in (a, b)})
    nodes = tuple(Node(name, Role.EDGE if name.isupper() else Role.CORE) for name in names)
    return Topology("test", nodes, tuple(Link(a, b, delay_ms, 1000) for a, b, delay_ms in links))


def way(routing: Routing, start: str, end: str) -> tuple[str | None, str | None]:
    """The next hop and the alternate, by name."""
    places = routing.backbone.places
    ports = int(routing.ways[places[start], places[end]])
    peers = routing.backbone.peers[places[start]]
    return peers.get(ports >> PORT_BITS), peers.get(ports & PORT_MASK)


def nearest(routing: Routing, hosts: list[str], switch: str) -> tuple[str | None, str | None, str | None]:
    """The nearest host, the next hop and the alternate."""
    found = routing.nearest(hosts)
    place = routing.backbone.places[switch]
    number, ports = int(found.host[place]), int(found.ways[place])
    peers = routing.backbone.peers[place]
    return None if number < 0 else hosts[number], peers.get(ports >> PORT_BITS), peers.get(ports & PORT_MASK)


@pytest.mark.parametrize("topology", [METRO, load("figure2"), small()], ids=lambda topology: topology.name)
def test_trees_are_those_of_the_topology_for_every_root_and_failure(topology: Topology) -> None:
    roots = [node.name for node in topology]
    for down in (frozenset[str](), *(frozenset({link.name}) for link in topology.links[::3])):
        routing = Routing(topology, down)
        for root in roots:
            assert routing.towards(root) == shortest_path_tree(topology, root, down_links=down)


def test_an_unknown_root_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        Routing(METRO, frozenset()).towards("nowhere")


def test_delay_counts_before_hops_and_hops_before_the_order_of_the_topology() -> None:
    routing = Routing(network(("a", "b", 1), ("b", "d", 1), ("a", "c", 1), ("c", "d", 1)), frozenset())
    assert way(routing, "a", "d")[0] == "b", "equal in all but the order"
    routing = Routing(network(("a", "b", 1), ("b", "d", 1), ("a", "d", 2)), frozenset())
    assert way(routing, "a", "d")[0] == "d", "as far, with fewer hops"
    routing = Routing(network(("a", "b", 1), ("b", "d", 0.999_999), ("a", "d", 2)), frozenset())
    assert way(routing, "a", "d")[0] == "b", "nearer by one nanosecond"


def test_an_alternate_does_not_send_the_packet_back() -> None:
    ring = network(("a", "b", 1), ("b", "c", 1), ("c", "d", 1), ("d", "a", 1))
    routing = Routing(ring, frozenset())
    assert way(routing, "a", "b") == ("b", None), "d is as near to b by way of a"
    assert way(routing, "a", "c") == ("b", "d")
    routing = Routing(network(("a", "b", 1), ("b", "c", 1), ("c", "a", 1)), frozenset())
    assert way(routing, "a", "b") == ("b", "c")


def test_an_alternate_that_avoids_the_next_hop_comes_before_a_nearer_one() -> None:
    # s reaches d by e; n is near but depends on e, far does not.
    links = [("s", "e", 1), ("e", "d", 1), ("s", "n", 1), ("n", "e", 1), ("f", "d", 1)]
    assert way(Routing(network(*links, ("s", "f", 5)), frozenset()), "s", "d") == ("e", "f")
    without = Routing(network(*links, ("s", "f", 5)), frozenset({"s-f"}))
    assert way(without, "s", "d") == ("e", None), "n is no nearer to d than s, and would ask s when e is dead"
    links[2:4] = [("s", "n", 1), ("n", "e", 0.5)]
    nearer = Routing(network(*links, ("s", "f", 5)), frozenset({"s-f"}))
    assert way(nearer, "s", "d") == ("e", "n")


def test_among_alternates_that_protect_as_much_the_nearest_and_then_the_first_is_taken() -> None:
    links = [("s", "a", 1), ("a", "z", 1), ("s", "b", 3), ("b", "z", 1), ("s", "c", 2), ("c", "z", 1)]
    assert way(Routing(network(*links), frozenset()), "s", "z") == ("a", "c")
    links[4] = ("s", "c", 3)
    assert way(Routing(network(*links), frozenset()), "s", "z") == ("a", "b")


def test_where_nothing_leads_there_is_no_way() -> None:
    routing = Routing(network(("a", "b", 1), ("c", "d", 1)), frozenset({"c-d"}))
    assert way(routing, "a", "c") == (None, None)
    assert way(routing, "c", "d") == (None, None)
    assert way(routing, "a", "a") == (None, None)
    assert routing.path("a", "c") == ()
    assert routing.path("a", "b") == ("a", "b")
    assert routing.path("a", "a") == ("a",)


def test_the_nearest_host_is_that_of_the_topology_for_every_failure() -> None:
    edges = list(METRO.of_role(Role.EDGE))
    for down in (frozenset[str](), *(frozenset({link.name}) for link in METRO.links)):
        routing, expected = Routing(METRO, down), nearest_edges(METRO, edges[2:], down_links=down)
        for switch in METRO.switches:
            host, next_hop, _ = nearest(routing, edges[2:], switch)
            assert host == expected[switch].edge
            assert next_hop == shortest_path_tree(METRO, host, down_links=down).parent[switch]


def test_of_equally_near_hosts_the_first_asked_for_counts() -> None:
    topology = network(("a", "b", 1), ("b", "c", 1), ("a", "E", 1), ("c", "F", 1))
    routing = Routing(topology, frozenset())
    assert nearest(routing, ["E", "F"], "b") == ("E", "a", "c")
    assert nearest(routing, ["F", "E"], "b") == ("F", "c", "a")


def test_when_a_host_is_dead_its_switch_sends_to_whoever_goes_to_another() -> None:
    topology = network(("a", "b", 1), ("b", "c", 1), ("a", "E", 1), ("c", "F", 1), ("a", "d", 1))
    routing = Routing(topology, frozenset())
    assert nearest(routing, ["E", "F"], "a") == ("E", "E", None), "b is as near to E and would send back"
    topology = network(("a", "b", 1), ("b", "c", 0.5), ("a", "E", 1), ("c", "F", 1), ("a", "d", 1))
    assert nearest(Routing(topology, frozenset()), ["E", "F"], "a") == ("E", "E", "b")
    assert nearest(Routing(topology, frozenset({"a-E"})), ["E", "F"], "a") == ("F", "b", None)
    assert nearest(Routing(topology, frozenset({"a-E", "c-F"})), ["E", "F"], "a") == (None, None, None)
    assert nearest(Routing(topology, frozenset()), [], "a") == (None, None, None)


def test_when_a_host_is_dead_the_nearest_other_one_counts_whichever_neighbour_leads_to_it() -> None:
    links = [("a", "E", 0.5), ("a", "b", 1), ("b", "F", 1), ("a", "c", 2), ("c", "G", 1), ("a", "d", 1)]
    assert nearest(Routing(network(*links), frozenset()), ["E", "F", "G"], "a") == ("E", "E", "b")


def test_what_is_taken_over_from_before_a_failure_is_what_a_fresh_start_finds() -> None:
    before = Routing(METRO, frozenset())
    for first in METRO.links:
        for down in (frozenset({first.name}), frozenset({first.name, METRO.links[0].name})):
            after, fresh = Routing(METRO, down, before), Routing(METRO, down)
            assert (after.ways == fresh.ways).all()
            assert (after.distances == fresh.distances).all()
            differing = np.flatnonzero((before.ways != fresh.ways).any(axis=1))
            assert after.changed.tolist() == differing.tolist()
            mended = Routing(METRO, frozenset(), after)
            assert (mended.ways == before.ways).all()


def test_ways_of_another_topology_are_not_taken_over() -> None:
    before = Routing(METRO, frozenset())
    assert Routing(small(), frozenset(), before).changed.tolist() == list(range(len(small().switches)))


def test_long_chains_and_dense_graphs_have_exact_distances() -> None:
    size = 40
    chain = [(node, node + 1) for node in range(size - 1)]
    dense = [(a, b) for a in range(size) for b in range(a)]
    for pairs, expected in ((chain, lambda a, b: abs(a - b)), (dense, lambda a, b: int(a != b))):
        elimination = Elimination(size, pairs)
        costs = np.full((size, size), UNREACHABLE)
        np.fill_diagonal(costs, 0)
        places = elimination.places
        for a, b in pairs:
            costs[places[a], places[b]] = costs[places[b], places[a]] = 1
        found = elimination.distances(costs)
        for a in range(size):
            for b in range(size):
                assert found[places[a], places[b]] == expected(a, b)


def test_a_cost_is_nanoseconds_and_hops_and_a_sum_that_does_not_fit_is_an_error() -> None:
    backbone = Backbone(network(("a", "b", 0.000_001), ("b", "c", 0)))
    places = backbone.places
    found = backbone.distances(backbone.costs(()))[places["a"], places["c"]]
    assert divmod(int(found), 1 << backbone.hop_bits) == (1, 2)
    mars = [("a", "b", 1_200_000), ("b", "c", 1_200_000)]
    assert way(Routing(network(*mars), frozenset()), "a", "c") == ("b", None)
    with pytest.raises(ValueError, match="too long"):
        Backbone(network(("a", "b", 1e12)))


def test_what_is_remembered_of_an_object_is_made_once_and_goes_with_it() -> None:
    made = []
    names = remembered(lambda topology: made.append(topology.name) or topology.name)
    topology = network(("a", "b", 1))
    assert [names(topology), names(topology), made] == ["test", "test", ["test"]]
    del topology
    gc.collect()
    assert names(network(("a", "b", 1))) == "test"
    assert made == ["test", "test"]
