from dataclasses import replace

import pytest

from topologies.files import load
from topologies.graph import nearest_edges, path_delay_ms, path_links, round_trip_ms, shortest_path_tree
from topologies.spec import Link, Node, Role, Topology

METRO = load("metro")
FIGURE2 = load("figure2")


def switches(*links: tuple[str, str, float]) -> Topology:
    """Core switches in the order a, b, c ..., joined by links of these delays in ms."""
    names = sorted({end for a, b, _ in links for end in (a, b)})
    return Topology(
        "test",
        tuple(Node(name, Role.CORE) for name in names),
        tuple(Link(a, b, delay_ms, 1000) for a, b, delay_ms in links),
    )


def test_distance_and_path_follow_the_delays() -> None:
    tree = shortest_path_tree(FIGURE2, "origin")
    assert tree.path("user4") == ("user4", "access2", "dist1", "core1", "origin")
    assert tree.distance_ms["user4"] == 15 + 0.5 + 1.0 + 8
    assert tree.distance_ms["origin"] == 0
    assert tree.path("origin") == ("origin",)
    assert "origin" not in tree.parent


def test_a_link_that_is_down_is_avoided() -> None:
    tree = shortest_path_tree(FIGURE2, "origin", down_links=frozenset({"dist1-access2"}))
    assert tree.path("user4") == ("user4", "access2", "dist2", "core1", "origin")
    assert tree.distance_ms["user4"] == 15 + 0.7 + 1.3 + 8


def test_a_node_that_is_down_is_avoided_and_cuts_off_what_hangs_on_it() -> None:
    tree = shortest_path_tree(FIGURE2, "origin", down_nodes=frozenset({"dist1"}))
    assert tree.path("user3") == ("user3", "access2", "dist2", "core1", "origin")
    assert "user1" not in tree.distance_ms
    with pytest.raises(KeyError, match="user1 has no path to origin"):
        tree.path("user1")


def test_a_root_that_is_down_reaches_nothing() -> None:
    tree = shortest_path_tree(FIGURE2, "origin", down_nodes=frozenset({"origin"}))
    assert tree.distance_ms == {}


def test_an_unknown_root_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        shortest_path_tree(FIGURE2, "nowhere")


def test_fewer_hops_win_among_equal_delays() -> None:
    # By the order of nodes alone, a would come before c.
    topology = switches(("c", "a", 1), ("a", "b", 1), ("c", "b", 2))
    assert shortest_path_tree(topology, "c").path("b") == ("b", "c")


def test_the_first_node_of_the_topology_wins_among_equal_delays_and_hops() -> None:
    links = (("a", "b", 1), ("a", "c", 1), ("b", "d", 1), ("c", "d", 1))
    topology = switches(*links)
    assert shortest_path_tree(topology, "a").path("d") == ("d", "b", "a")
    by_nodes = replace(topology, nodes=tuple(reversed(topology.nodes)))
    assert shortest_path_tree(by_nodes, "a").path("d") == ("d", "c", "a")
    by_links = switches(*reversed(links))
    assert shortest_path_tree(by_links, "a").path("d") == ("d", "b", "a")


def test_equal_sums_in_another_order_are_equal() -> None:
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in binary floating point.
    topology = switches(
        ("a", "b", 0.1), ("b", "c", 0.2), ("c", "f", 0.3), ("a", "d", 0.3), ("d", "e", 0.2), ("e", "f", 0.1)
    )
    assert shortest_path_tree(topology, "a").path("f") == ("f", "c", "b", "a")


def test_hosts_carry_no_transit() -> None:
    topology = Topology(
        "test",
        (Node("core1", Role.CORE), Node("core2", Role.CORE), Node("host", Role.ORIGIN)),
        (Link("core1", "host", 1, 10), Link("core2", "host", 1, 10), Link("core1", "core2", 50, 10)),
    )
    assert shortest_path_tree(topology, "core1").path("core2") == ("core2", "core1")
    assert shortest_path_tree(topology, "host").distance_ms["core2"] == 1


def test_nearest_edges_of_metro_are_those_of_the_access_switch() -> None:
    nearest = nearest_edges(METRO)
    for number in range(1, 17):
        found = nearest[f"user{number}"]
        assert found.edge == f"edge{(number + 1) // 2}"
        assert found.equally_near == (found.edge,)
        assert found.distance_ms == shortest_path_tree(METRO, found.edge).distance_ms[f"user{number}"]
    assert set(nearest) == {*METRO.switches, *METRO.of_role(Role.USER)}


def test_nearest_edges_among_some() -> None:
    nearest = nearest_edges(FIGURE2, ["edge3", "edge1"])
    assert nearest["user3"].edge == "edge1"
    assert nearest["user3"].distance_ms == 2 + 0.5 + 0.5 + 0.1
    assert nearest["user5"].edge == "edge3"


def test_the_order_asked_for_decides_between_equally_near_edges() -> None:
    topology = Topology(
        "test",
        (Node("access1", Role.ACCESS), Node("e1", Role.EDGE), Node("e2", Role.EDGE), Node("u1", Role.USER)),
        (Link("access1", "e1", 1, 10), Link("access1", "e2", 1, 10), Link("access1", "u1", 2, 10)),
    )
    assert nearest_edges(topology)["u1"].equally_near == ("e1", "e2")
    assert nearest_edges(topology)["u1"].edge == "e1"
    assert nearest_edges(topology, ["e2", "e1"])["u1"].edge == "e2"
    without = nearest_edges(topology, down_nodes=frozenset({"e1"}))
    assert (without["u1"].edge, without["u1"].equally_near) == ("e2", ("e2",))


def test_no_edge_left_leaves_nobody_served() -> None:
    assert nearest_edges(FIGURE2, down_nodes=frozenset({"edge1", "edge2", "edge3"})) == {}
    assert nearest_edges(FIGURE2, []) == {}
    with pytest.raises(KeyError, match="edge9"):
        nearest_edges(FIGURE2, ["edge9"])


def test_links_and_delay_of_a_path() -> None:
    path = ("user1", "access1", "edge1")
    assert [link.name for link in path_links(FIGURE2, path)] == ["access1-user1", "access1-edge1"]
    assert path_delay_ms(FIGURE2, path) == 2.1
    assert path_links(FIGURE2, ("user1",)) == ()
    with pytest.raises(KeyError, match="user1 has no link to dist1"):
        path_links(FIGURE2, ("user1", "dist1"))


def test_round_trip_adds_the_serialisation_of_both_frames() -> None:
    # 1514 bytes take 0.12112 ms at 100 Mbit/s and 0.0012112 ms at 10 Gbit/s; 78 bytes 0.00624 and 0.0000624.
    round_trip = round_trip_ms(FIGURE2, ("user1", "access1", "edge1"), out_bytes=78, back_bytes=1514)
    assert round_trip == pytest.approx(2 * 2.1 + 0.12112 + 0.0012112 + 0.00624 + 0.0000624, abs=1e-12)
