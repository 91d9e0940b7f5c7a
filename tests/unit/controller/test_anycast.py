"""The service address: the nearest accepting edge, tagged connections, and what happens when an edge dies."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.anycast import choices, edge_tag, kept_edges
from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Pin, PortId, ServiceAt, port_id
from controller.plan.pipeline import Origin, TableId
from controller.plan.routing import Routing
from controller.plan.rules import ANY_TAG, CheckLarger, PopTag, Rule
from tests.unit.controller.fake_pipeline import FakeNetwork, Packet, Trace
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.graph import nearest_edges
from topologies.spec import Link, Node, OriginMode, Role

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
SERVICE = FACTS.addresses.service
EDGES = TOPOLOGY.of_role(Role.EDGE)
ACCESS = TOPOLOGY.of_role(Role.ACCESS)


def tagged(fake: FakeNetwork, switch: str, tag: int | None) -> Trace:
    """What becomes of a packet that comes to a switch from its first neighbour."""
    facts = fake.facts
    port = next(port for port in facts.topology.ports[switch] if facts.topology.role(port.peer).is_switch)
    source = IPv6Address("2001:db8:99::1")
    packet = Packet(
        facts.addresses.router_macs[port.peer], facts.addresses.router_macs[switch], source, SERVICE
    )
    return fake.inject(port_id(port), replace(packet, tag=tag))


def rules_with_tags(facts: Facts, switch: str, table: TableId = TableId.UNICAST) -> dict[int, Rule]:
    found = plan(facts)[switch].rules.values()
    return {
        rule.match.edge_tag: rule
        for rule in found
        if rule.table is table and rule.match.edge_tag not in (None, ANY_TAG)
    }


def test_the_choice_of_every_access_switch_is_its_nearest_accepting_edge() -> None:
    for accepting in (EDGES, EDGES[1:], EDGES[2:]):
        facts = replace(FACTS, accepting=accepting)
        expected = nearest_edges(TOPOLOGY, accepting)
        assert choices(facts) == {switch: expected[switch].edge for switch in ACCESS}
        assert choices(facts, Routing(TOPOLOGY, facts.down_links)) == choices(facts)


def test_the_origin_is_the_choice_of_the_baseline_and_the_last_resort() -> None:
    assert choices(replace(FACTS, service_at=ServiceAt.ORIGIN)) == dict.fromkeys(ACCESS, "origin")
    assert choices(replace(FACTS, accepting=())) == {}
    resort = replace(TOPOLOGY, origin=OriginMode.LAST_RESORT)
    assert choices(replace(facts_of(resort), accepting=())) == dict.fromkeys(ACCESS, "origin")


def test_an_access_switch_that_reaches_no_edge_has_no_choice() -> None:
    facts = replace(facts_of(TOPOLOGY, down_links=["a1-d1", "a1-d2"]), accepting=("edge2",))
    assert choices(facts) == {"a2": "edge2", "a3": "edge2"}


def test_tags_are_the_places_of_the_edges_and_only_live_and_wanted_ones_are_kept() -> None:
    assert [edge_tag(FACTS, edge) for edge in EDGES] == [1, 2, 3]
    pins = frozenset({Pin("a1", "edge3"), Pin("a1", "edge2"), Pin("a2", "edge1")})
    bound = frozenset({Bound("user1", "edge1"), Bound("user2", "edge3")})
    facts = replace(FACTS, pins=pins, bound=bound, alive=("edge1", "edge3"), accepting=("edge1",))
    assert kept_edges(facts, "a1") == ("edge1", "edge3")
    assert kept_edges(facts, "a2") == ("edge1",)
    assert kept_edges(facts, "a3") == ()


def test_without_pins_and_policies_no_switch_knows_a_tag() -> None:
    assert not any(rules_with_tags(FACTS, switch) for switch in TOPOLOGY.switches)


def test_only_the_switches_on_the_way_know_a_tag_and_the_last_one_takes_it_off() -> None:
    facts = replace(FACTS, pins=frozenset({Pin("a1", "edge3")}))
    path = Routing(TOPOLOGY, frozenset()).path("a1", "a3")
    for switch in TOPOLOGY.switches:
        found = rules_with_tags(facts, switch)
        assert set(found) == ({3} if switch in path else set())
        for rule in found.values():
            assert rule.origin is Origin.PIN
            assert (PopTag() in rule.actions) == (switch == path[-1])
    trace = tagged(FakeNetwork(facts, plan(facts)), "a1", 3)
    assert trace.hosts == ["edge3"]
    assert trace.delivered[0][1].tag is None
    assert set(trace.copies) == {
        port_id(TOPOLOGY.port(a, b)) for a, b in zip(path, [*path[1:], "edge3"], strict=True)
    }


def test_a_tagged_packet_whose_edge_has_just_died_goes_to_another_edge_untagged() -> None:
    facts = replace(FACTS, pins=frozenset({Pin("a1", "edge3")}))
    dead = frozenset({port_id(TOPOLOGY.access_port("edge3"))})
    trace = tagged(FakeNetwork(facts, plan(facts), dead), "a1", 3)
    assert trace.hosts in (["edge1"], ["edge2"])
    assert trace.delivered[0][1].tag is None


@pytest.mark.parametrize("switch", TOPOLOGY.switches)
def test_a_tag_that_nobody_on_the_way_knows_arrives_untagged_at_the_nearest_edge(switch: str) -> None:
    trace = tagged(FakeNetwork(FACTS, plan(FACTS)), switch, 7)
    assert trace.hosts == tagged(FakeNetwork(FACTS, plan(FACTS)), switch, None).hosts
    assert trace.delivered[0][1].tag is None


def test_a_pin_to_an_edge_behind_a_dead_link_has_no_path_and_loses_nothing() -> None:
    facts = facts_of(TOPOLOGY, down_links=["edge3-a3"])
    facts = replace(facts, alive=EDGES, pins=frozenset({Pin("a1", "edge3")}))
    assert not any(rules_with_tags(facts, name) for name in TOPOLOGY.switches)
    assert tagged(FakeNetwork(facts, plan(facts)), "a1", 3).hosts == ["edge1"]


def test_a_dead_edge_port_is_survived_by_a_second_edge_at_the_same_switch() -> None:
    extra = Node("edge4", Role.EDGE)
    topology = replace(
        TOPOLOGY, nodes=(*TOPOLOGY.nodes, extra), links=(*TOPOLOGY.links, Link("edge4", "a1", 0.1, 1000))
    )
    facts = facts_of(topology)
    dead = frozenset({port_id(topology.access_port("edge1"))})
    fake = FakeNetwork(facts, plan(facts), dead)
    assert fake.send("user1", user_address(topology, "user1"), SERVICE).hosts == ["edge4"]


def test_tagged_packets_are_measured_without_their_tag_by_the_links_of_their_own_way() -> None:
    links = tuple(
        replace(link, mtu_bytes=1400) if link.name in ("a1-d1", "a1-d2") else link for link in TOPOLOGY.links
    )
    facts = replace(
        facts_of(replace(TOPOLOGY, links=links)), pins=frozenset({Pin("a1", "edge3"), Pin("a1", "edge1")})
    )
    found = rules_with_tags(facts, "a1", TableId.ROUTER)
    # edge1 is at a1 itself, behind a wide link, but its alternate is an uplink.
    assert {tag: rule.actions for tag, rule in found.items()} == {
        1: (CheckLarger(1400 + 14, 0),),
        3: (CheckLarger(1400 + 14, 0),),
    }
    fake = FakeNetwork(facts, plan(facts))
    port = TOPOLOGY.port("a1", "d2")
    packet = Packet(
        facts.addresses.router_macs["d2"],
        facts.addresses.router_macs["a1"],
        IPv6Address("2001:db8:99::1"),
        SERVICE,
        tag=3,
    )
    too_long = fake.inject(port_id(port), replace(packet, frame_bytes=1419))
    assert (too_long.hosts, too_long.punted) == ([], [PortId("a1", port.number)])
