"""Scope zones: who is inside, and where they end."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import combinations

import pytest

from controller.plan.zones import (
    SCOPES,
    Zones,
    effective_scope,
    is_for_users,
    is_forwarded,
    is_source_specific,
    scope_of,
)
from topologies.spec import Link, Node, Role, Topology


def two_areas() -> Topology:
    """Two distribution areas with two access switches each, on one core switch."""
    core = [Node("c1", Role.CORE)]
    distribution = [Node(name, Role.DISTRIBUTION) for name in ("d1", "d2", "d3")]
    access = [Node(name, Role.ACCESS) for name in ("a1", "a2", "a3")]
    edges = [Node(name, Role.EDGE) for name in ("edge1", "edge2", "edge3")]
    others = [Node("user1", Role.USER), Node("user2", Role.USER), Node("origin", Role.ORIGIN)]
    pairs = ["d1-c1", "d2-c1", "d3-c1", "a1-d1", "a1-d2", "a2-d1", "a2-d2", "a3-d3"]
    pairs += ["edge1-a1", "edge2-a2", "edge3-a3", "user1-a1", "user2-a3", "origin-c1"]
    links = tuple(Link(*pair.split("-"), 1.0, 1000.0) for pair in pairs)
    return Topology("areas", (*core, *distribution, *access, *edges, *others), links)


TOPOLOGY = two_areas()
ZONES = Zones(TOPOLOGY)
GROUPS = {scope: IPv6Address(f"ff3{scope:x}::8000:1") for scope in SCOPES}


@pytest.mark.parametrize(
    ("scope", "effective"),
    list(enumerate([None, None, None, 3, 4, 5, 5, 5, 8, 8, 8, 8, 8, 8, 14, None])),
)
def test_a_scope_that_is_not_in_use_is_treated_as_the_next_smaller_one(
    scope: int, effective: int | None
) -> None:
    assert effective_scope(scope) == effective
    assert is_forwarded(GROUPS[scope]) is (effective is not None)


def test_the_scope_is_in_the_second_byte() -> None:
    assert [scope_of(GROUPS[scope]) for scope in SCOPES] == list(SCOPES)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("ff35::8000:1", True),
        ("ff3e::1", True),
        ("ff3e:0:1::1", True),
        ("ff3e:1::1", False),
        ("ff35:40::8000:1", False),
        ("ff05::1", False),
        ("ff15::1", False),
    ],
)
def test_the_source_specific_range_is_ff3x_32(group: str, expected: bool) -> None:
    assert is_source_specific(IPv6Address(group)) is expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("ff3e::8000:1", True),
        ("ff0e::1", True),
        ("ff3e:0:1::1", False),
        ("ff1e::1", False),
        ("ff08::1", False),
        ("ff38::8000:1", False),
        ("ff35::8000:1", False),
        ("ff02::1", False),
    ],
)
def test_users_may_join_global_groups_only(group: str, expected: bool) -> None:
    address = IPv6Address(group)
    assert is_for_users(address) is expected
    assert ZONES.may_join("user1", address) is expected
    assert ZONES.may_join("edge1", address) is is_forwarded(address)


def test_a_realm_is_one_switch() -> None:
    assert ZONES.inside(3, "edge1", "a1")
    assert not ZONES.inside(3, "a1", "d1")
    assert not ZONES.inside(3, "edge1", "edge2")


def test_an_admin_local_zone_is_what_is_connected_without_the_core() -> None:
    assert ZONES.inside(4, "d1", "d2", "a1", "a2", "edge1", "edge2")
    assert not ZONES.inside(4, "edge1", "edge3")
    assert not ZONES.inside(4, "d1", "c1")
    assert ZONES.inside(4, "d3", "a3", "edge3")
    assert ZONES.inside(4, "c1", "origin")


@pytest.mark.parametrize("scope", [5, 6, 7, 8, 9, 13])
def test_a_site_and_an_organisation_are_all_switches_but_no_users(scope: int) -> None:
    assert ZONES.inside(scope, *TOPOLOGY.switches, "edge1", "edge3", "origin")
    assert not ZONES.inside(scope, "origin", "user1")


def test_the_world_has_everybody_in_it() -> None:
    assert ZONES.inside(14, *(node.name for node in TOPOLOGY))


@pytest.mark.parametrize("scope", [0, 1, 2, 15])
def test_scopes_that_are_never_forwarded_have_no_zone(scope: int) -> None:
    assert ZONES.zone(scope, "a1") is None
    assert not ZONES.inside(scope, "a1", "a1")
    assert not ZONES.reaches(GROUPS[scope], "edge1", "edge2")
    assert not ZONES.may_join("edge1", GROUPS[scope])


def test_who_is_reached_by_whom() -> None:
    assert ZONES.reaches(GROUPS[4], "edge1", "edge2")
    assert not ZONES.reaches(GROUPS[4], "edge1", "edge3")
    assert ZONES.reaches(GROUPS[5], "edge1", "edge3")
    assert ZONES.reaches(GROUPS[14], "origin", "user1")
    assert not ZONES.reaches(GROUPS[8], "origin", "user1")
    assert not ZONES.reaches(GROUPS[14], "user1", "edge1")


def test_zones_end_where_the_switches_of_a_link_are_in_different_ones() -> None:
    found = {(port.node, port.peer, scope) for port, scope in ZONES.boundary_ports()}
    switch_links = [(a, b) for a, b in ((link.a, link.b) for link in TOPOLOGY.links) if is_backbone(a, b)]
    both_ways = switch_links + [(b, a) for a, b in switch_links]
    admin = {(a, b, 4) for a, b in both_ways if "c1" in (a, b)}
    assert found == {(a, b, 3) for a, b in both_ways} | admin
    assert ZONES.boundary_links(4) == {"d1-c1", "d2-c1", "d3-c1"}


def is_backbone(*nodes: str) -> bool:
    return all(TOPOLOGY.role(node).is_switch for node in nodes)


def test_zones_of_one_scope_do_not_overlap_and_larger_scopes_have_larger_zones() -> None:
    for smaller, larger in combinations((3, 4, 5, 8, 14), 2):
        for a, b in combinations(TOPOLOGY.switches, 2):
            assert not ZONES.inside(smaller, a, b) or ZONES.inside(larger, a, b)
