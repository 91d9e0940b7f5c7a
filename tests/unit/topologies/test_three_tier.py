from collections import Counter

import pytest

from topologies.check import check
from topologies.layers import DEFAULT_LAYERS, Layer, link_key
from topologies.spec import Role, Topology
from topologies.three_tier import three_tier


def pairs(topology: Topology, key: str) -> list[tuple[str, str]]:
    return [(link.a, link.b) for link in topology.links if link_key(topology, link) == key]


def test_metro_has_the_size_the_design_gives() -> None:
    topology = three_tier(2, 4, 8)
    assert Counter(str(node.role) for node in topology) == {
        "core": 2,
        "distribution": 4,
        "access": 8,
        "edge": 8,
        "origin": 1,
        "user": 16,
        "dns": 1,
    }
    assert Counter(link_key(topology, link) for link in topology.links) == {
        "core-core": 1,
        "core-distribution": 8,
        "distribution-access": 16,
        "edge": 8,
        "origin": 1,
        "user": 16,
        "dns": 1,
    }


def test_users_and_edges_sit_on_their_access_switch() -> None:
    topology = three_tier(2, 4, 8)
    for number in range(1, 9):
        access = f"access{number}"
        assert topology.access_port(f"edge{number}").node == access
        assert topology.access_port(f"user{2 * number - 1}").node == access
        assert topology.access_port(f"user{2 * number}").node == access


def test_every_switch_below_the_core_has_two_ways_up() -> None:
    topology = three_tier(3, 5, 11)
    for key in ("core-distribution", "distribution-access"):
        ways_up = Counter(lower for _, lower in pairs(topology, key))
        assert set(ways_up.values()) == {2}


def test_access_switches_of_a_block_share_their_distribution_switches() -> None:
    topology = three_tier(2, 4, 8)
    ups = {access: {up for up, low in pairs(topology, "distribution-access") if low == access}
           for access in topology.of_role(Role.ACCESS)}  # fmt: skip
    assert [ups[f"access{number}"] for number in (1, 4)] == [{"dist1", "dist2"}] * 2
    assert [ups[f"access{number}"] for number in (5, 8)] == [{"dist3", "dist4"}] * 2


@pytest.mark.parametrize(("core", "ring", "mesh"), [(1, 0, 0), (2, 1, 1), (3, 3, 3), (4, 4, 6), (6, 6, 15)])
def test_the_core_is_a_ring_or_a_mesh(core: int, ring: int, mesh: int) -> None:
    assert len(pairs(three_tier(core, 2, 2), "core-core")) == ring
    assert len(pairs(three_tier(core, 2, 2, mesh=True), "core-core")) == mesh


def test_edges_are_spread_over_the_access_switches() -> None:
    topology = three_tier(2, 4, 8, edges=4)
    places = [topology.access_port(edge).node for edge in topology.of_role(Role.EDGE)]
    assert places == ["access1", "access3", "access5", "access7"]


def test_delays_vary_by_at_most_the_spread() -> None:
    topology = three_tier(4, 8, 16, spread=0.2)
    for link in topology.links:
        base_ms = DEFAULT_LAYERS[link_key(topology, link)].delay_ms
        assert abs(link.delay_ms - base_ms) <= 0.2 * base_ms + 0.005
        assert link.delay_ms == round(link.delay_ms, 2)
    users = [link.delay_ms for link in topology.links if link_key(topology, link) == "user"]
    assert len(set(users)) > len(users) / 2


def test_no_spread_keeps_the_layer_delays_and_other_layers_are_taken() -> None:
    layers = {**DEFAULT_LAYERS, "user": Layer(12.345, 20)}
    topology = three_tier(2, 2, 2, layers=layers, spread=0)
    for link in topology.links:
        layer = layers[link_key(topology, link)]
        assert (link.delay_ms, link.rate_mbps) == (layer.delay_ms, layer.rate_mbps)


def test_the_largest_network_passes_the_check() -> None:
    assert check(three_tier(3, 20, 999, users_per_access=1)) == ()
    assert check(three_tier(1, 1, 100, users_per_access=90)) == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"core": 0}, "core is 0; expected 1 to 999"),
        ({"distribution": 0}, "distribution is 0; expected 1 to 999"),
        ({"access": 1000}, "access is 1000; expected 1 to 999"),
        ({"users_per_access": 91}, "users_per_access is 91; expected 1 to 90"),
        ({"edges": 9}, "edges is 9; expected 1 to 8"),
        ({"spread": 1}, "spread is 1; expected 0 to less than 1"),
    ],
)
def test_sizes_out_of_range(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        three_tier(**{"core": 2, "distribution": 4, "access": 8, **arguments})  # type: ignore[arg-type]
