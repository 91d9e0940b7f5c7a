"""Which links an experiment cuts: alternates worked out by hand on small networks, and on the catalogue's."""

from __future__ import annotations

from itertools import pairwise

import pytest

from experiments.protection import cases, choose, narrowed, survives
from topologies.files import load
from topologies.graph import nearest_edges, shortest_path_tree
from topologies.spec import Link, Node, Role, Topology

METRO = load("metro")


def network(*links: tuple[str, str, float]) -> Topology:
    """Switches joined by these links; user1 at s1, edge1 at s3."""
    switches = sorted({end for a, b, _ in links for end in (a, b)})
    nodes = (
        *(Node(name, Role.ACCESS) for name in switches),
        Node("user1", Role.USER),
        Node("edge1", Role.EDGE),
    )
    hosts = (Link("s1", "user1", 1, 100), Link("s3", "edge1", 1, 1000))
    return Topology("small", nodes, (*(Link(a, b, ms, 1000) for a, b, ms in links), *hosts))


TRIANGLE = network(("s1", "s2", 1), ("s2", "s3", 1), ("s1", "s3", 1.5))
RING = network(("s1", "s2", 1), ("s2", "s3", 1), ("s3", "s4", 1), ("s4", "s1", 1.5))

ONE = Topology(
    "one",
    (Node("s1", Role.ACCESS), Node("user1", Role.USER), Node("edge1", Role.EDGE)),
    (Link("s1", "user1", 1, 100), Link("s1", "edge1", 1, 100)),
)


def test_a_triangle_protects_its_links() -> None:
    (case,) = cases(TRIANGLE, ("edge1",), "user1")
    assert (case.a, case.b, case.edge, case.is_protected) == ("s1", "s3", "edge1", True)


def test_a_neighbour_that_would_send_it_back_is_no_alternate() -> None:
    # Cut off from s3, s2 has s1 only, whose own way to the edge leads by s2.
    assert not survives(RING, ("edge1",), "user1", "s2", "s3")


def test_answers_need_an_alternate_too() -> None:
    # Packets from s1 go round by s4. Answers still go to s2, whose only other neighbour sends them back.
    first, second = cases(RING, ("edge1",), "user1")
    assert (first.a, first.b, first.is_protected) == ("s1", "s2", False)
    assert (second.a, second.b, second.is_protected) == ("s2", "s3", False)


@pytest.mark.parametrize("name", ["metro", "figure2"])
def test_what_is_chosen_lies_on_the_way_of_its_user(name: str) -> None:
    topology = load(name)
    choice = choose(topology, topology.of_role(Role.EDGE))
    assert choice is not None
    active = [edge for edge in topology.of_role(Role.EDGE) if edge not in choice.off]
    edge = nearest_edges(topology, active)[choice.user].edge
    path = shortest_path_tree(topology, edge).path(choice.user)
    chosen = [choice.protected, choice.unprotected]
    for case in filter(None, chosen):
        assert (case.a, case.b) in list(pairwise(path))
        assert case.edge == edge
    assert choice.protected.is_protected
    assert choice.switch in path


def test_metro_has_both_kinds_of_link_with_one_edge_off() -> None:
    choice = choose(METRO, METRO.of_role(Role.EDGE))
    assert choice is not None
    assert len(choice.off) == 1
    assert choice.unprotected is not None
    assert not choice.unprotected.is_protected


def test_a_single_switch_has_nothing_to_choose() -> None:
    assert choose(ONE, ("edge1",)) is None


def test_the_narrow_link_is_on_the_way_but_not_at_the_users_own_switch() -> None:
    topology, off = narrowed(METRO, "user1", 1280)
    (narrow,) = [link for link in topology.links if link.mtu_bytes == 1280]
    active = [edge for edge in topology.of_role(Role.EDGE) if edge not in off]
    edge = nearest_edges(topology, active)["user1"].edge
    path = shortest_path_tree(topology, edge).path("user1")
    assert {narrow.a, narrow.b} in [set(pair) for pair in pairwise(path)]
    assert "access1" not in (narrow.a, narrow.b)


def test_a_network_too_small_for_a_narrow_link_says_so() -> None:
    with pytest.raises(ValueError, match="three switches away"):
        narrowed(ONE, "user1", 1280)
