"""The layout of pictures: every node in its layer's row, no two in one place, whatever the network."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from experiments.drawing import ROWS, TOP_ROW, LoadScale, layout, link_load
from experiments.loads import Load
from topologies.catalogue import names
from topologies.files import load
from topologies.spec import Role, Topology
from topologies.three_tier import three_tier

NETWORKS = [load(name) for name in names()] + [three_tier(1, 1, 1), three_tier(4, 6, 12)]


def _without_users(topology: Topology, switch: str) -> Topology:
    gone = {port.peer for port in topology.ports[switch] if topology.role(port.peer) is Role.USER}
    return replace(
        topology,
        nodes=tuple(node for node in topology.nodes if node.name not in gone),
        links=tuple(link for link in topology.links if not gone & {link.a, link.b}),
    )


@pytest.mark.parametrize(
    "topology", [*NETWORKS, _without_users(NETWORKS[0], "access1")], ids=lambda t: t.name
)
def test_every_node_has_a_place_of_its_own_in_its_row(topology: Topology) -> None:
    points = layout(topology)
    assert points.keys() == {node.name for node in topology}
    for one, other in combinations(points, 2):
        (ax, ay), (bx, by) = points[one], points[other]
        assert abs(ax - bx) >= 0.3 or abs(ay - by) >= 0.3, (one, other)
    for node in topology:
        y = points[node.name][1]
        assert y == ROWS[node.role] if node.role in ROWS else y in (TOP_ROW, ROWS[Role.EDGE])


def test_a_links_load_is_its_busier_direction_with_what_was_lost() -> None:
    loads = {
        ("a", "b"): Load("a-b", "a", "b", "core", 1000, 10, 2, 1.0),
        ("b", "a"): Load("a-b", "b", "a", "core", 3000, 30, 0, 1.0),
    }
    assert link_load(loads, "a", "b", 1500) == 4028
    assert link_load({}, "a", "b", 1500) == 0
    assert [LoadScale(200.0).share(load) for load in (0, 100, 400)] == [0, 0.5, 1]
    assert LoadScale(0.0).share(0) == 0
