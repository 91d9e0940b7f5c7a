"""What the planned tables do to packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from controller.plan.anycast import SERVICE_GROUP
from controller.plan.compile import plan
from controller.plan.facts import Facts, PortId, ServiceAt, port_id
from controller.plan.pipeline import PIPELINE, pipeline_document
from controller.plan.rules import Group, Match, Output, Rule, Step, Tables, diff
from controller.wire.frames import ICMPV6, multicast_mac
from controller.wire.icmpv6 import IcmpType
from tests.unit.controller.fake_pipeline import FakeNetwork, Packet
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.addressing import GATEWAY
from topologies.graph import nearest_edges, shortest_path_tree
from topologies.spec import Role

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
SERVICE = FACTS.addresses.service
ORIGIN = FACTS.addresses.hosts["origin"].unicast
GROUP = FACTS.addresses.static_group
USERS = TOPOLOGY.of_role(Role.USER)
EDGES = TOPOLOGY.of_role(Role.EDGE)


def network(facts: Facts = FACTS, dead_ports: frozenset[PortId] = frozenset()) -> FakeNetwork:
    return FakeNetwork(facts, plan(facts), dead_ports)


def unicast(host: str) -> IPv6Address:
    return FACTS.addresses.hosts[host].unicast


def test_every_user_reaches_the_nearest_edge_and_the_answer_comes_back() -> None:
    fake = network()
    for user in USERS:
        address = user_address(TOPOLOGY, user)
        trace = fake.send(user, address, SERVICE)
        edge = nearest_edges(TOPOLOGY)[user].edge
        assert trace.hosts == [edge]
        arrived = trace.delivered[0][1]
        assert arrived.eth_dst == FACTS.addresses.hosts[edge].mac
        assert arrived.hop_limit == 64 - sum(trace.copies.values())
        assert fake.send(edge, SERVICE, address).hosts == [user]


def test_an_edge_that_is_not_a_member_is_not_asked() -> None:
    fake = network(facts_of(TOPOLOGY, members=["edge3"]))
    for user in USERS:
        assert fake.send(user, user_address(TOPOLOGY, user), SERVICE).hosts == ["edge3"]


def test_the_policy_takes_edges_out() -> None:
    facts = facts_of(TOPOLOGY, allowed=frozenset({"edge2"}))
    assert facts.healthy_edges == ("edge2",)
    assert network(facts).send("user1", user_address(TOPOLOGY, "user1"), SERVICE).hosts == ["edge2"]


def test_without_a_healthy_edge_nobody_answers() -> None:
    fake = network(facts_of(TOPOLOGY, members=[]))
    assert fake.send("user1", user_address(TOPOLOGY, "user1"), SERVICE).hosts == []


def test_central_cloud_leads_to_the_origin_and_back() -> None:
    fake = network(facts_of(TOPOLOGY, service_at=ServiceAt.ORIGIN))
    for user in USERS:
        address = user_address(TOPOLOGY, user)
        assert fake.send(user, address, SERVICE).hosts == ["origin"]
        assert fake.send("origin", SERVICE, address).hosts == [user]
    assert fake.send("edge1", SERVICE, user_address(TOPOLOGY, "user1")).hosts == []


@pytest.mark.parametrize("user", USERS)
def test_users_reach_neither_the_ula_plane_nor_the_origin(user: str) -> None:
    fake = network()
    address = user_address(TOPOLOGY, user)
    for target in (*EDGES, "origin"):
        assert fake.send(user, address, unicast(target)).hosts == []
        assert fake.send(user, unicast(target), SERVICE).hosts == []
        assert fake.send(user, unicast("edge1"), unicast(target)).hosts == []


def test_users_reach_each_other_and_the_name_server() -> None:
    fake = network()
    one, three = user_address(TOPOLOGY, "user1"), user_address(TOPOLOGY, "user3")
    assert fake.send("user1", one, three).hosts == ["user3"]
    assert fake.send("user1", one, user_address(TOPOLOGY, "user4")).hosts == ["user4"]
    assert fake.send("user1", one, unicast("dns")).hosts == ["dns"]
    assert fake.send("dns", unicast("dns"), one).hosts == ["user1"]


def test_an_address_nobody_has_claimed_leads_nowhere() -> None:
    fake = network()
    unknown = FACTS.addresses.user_prefixes["a3"][0xDEAD]
    assert fake.send("user1", user_address(TOPOLOGY, "user1"), unknown).hosts == []


def test_a_user_cannot_send_from_an_address_or_mac_that_is_not_its_own() -> None:
    fake = network()
    own, other = user_address(TOPOLOGY, "user1"), user_address(TOPOLOGY, "user4")
    assert fake.send("user1", other, SERVICE).hosts == []
    assert fake.send("user1", FACTS.addresses.user_prefixes["a1"][0x999], SERVICE).hosts == []
    assert fake.send("user1", own, SERVICE, eth_src=FACTS.addresses.hosts["user4"].mac).hosts == []
    assert fake.send("user1", SERVICE, user_address(TOPOLOGY, "user3")).hosts == []


def test_packets_for_another_mac_than_the_routers_are_dropped() -> None:
    wrong = FACTS.addresses.hosts["edge1"].mac
    assert network().send("user1", user_address(TOPOLOGY, "user1"), SERVICE, eth_dst=wrong).copies == {}


@pytest.mark.parametrize("hop_limit", [0, 1])
def test_an_exhausted_hop_limit_is_dropped_and_not_punted(hop_limit: int) -> None:
    trace = network().send("user1", user_address(TOPOLOGY, "user1"), SERVICE, hop_limit=hop_limit)
    assert (trace.hosts, trace.punted) == ([], [])


def test_the_ula_plane_connects_edges_and_origin() -> None:
    fake = network()
    for edge in EDGES:
        assert fake.send(edge, unicast(edge), ORIGIN).hosts == ["origin"]
        assert fake.send("origin", ORIGIN, unicast(edge)).hosts == [edge]
    assert fake.send("edge1", unicast("edge1"), unicast("edge3")).hosts == ["edge3"]
    assert fake.send("edge1", unicast("edge1"), user_address(TOPOLOGY, "user1")).hosts == []
    assert fake.send("edge1", unicast("edge2"), ORIGIN).hosts == []


def test_the_stream_crosses_every_link_once_and_reaches_all_members_only() -> None:
    trace = network().send("origin", ORIGIN, GROUP)
    assert trace.hosts == sorted(EDGES)
    assert set(trace.copies.values()) == {1}
    assert {packet.hop_limit for _, packet in trace.delivered} == {61}
    assert network(facts_of(TOPOLOGY, members=["edge2"])).send("origin", ORIGIN, GROUP).hosts == ["edge2"]
    assert network(facts_of(TOPOLOGY, members=[])).send("origin", ORIGIN, GROUP).copies == {}


def test_nobody_but_the_origin_can_send_to_the_group() -> None:
    fake = network()
    for host in (*USERS, *EDGES, "dns"):
        assert fake.send(host, ORIGIN, GROUP).copies == {}
    assert fake.send("edge1", unicast("edge1"), GROUP).copies == {}
    assert fake.send("origin", unicast("edge1"), GROUP).copies == {}


def test_the_stream_is_taken_only_from_the_port_towards_the_origin() -> None:
    fake = network()
    packet = Packet(FACTS.addresses.router_macs["c1"], multicast_mac(GROUP), ORIGIN, GROUP)
    parents = shortest_path_tree(TOPOLOGY, "origin").parent
    for switch in TOPOLOGY.switches:
        for port in TOPOLOGY.ports[switch]:
            if TOPOLOGY.role(port.peer).is_switch:
                accepted = port.peer == parents[switch]
                on_tree = bool(fake.tables[switch].groups.keys() - {SERVICE_GROUP})
                assert bool(fake.inject(port_id(port), packet).hosts) == (accepted and on_tree)


@pytest.mark.parametrize("group", ["ff02::1", "ff05::2", "ff0e::1:2", "ff3e::8000:1", "ff35::8000:1"])
def test_multicast_of_a_user_goes_nowhere(group: str) -> None:
    trace = network().send("user1", user_address(TOPOLOGY, "user1"), IPv6Address(group))
    assert (trace.copies, trace.punted) == ({}, [])


def test_control_messages_of_hosts_go_to_the_controller_only() -> None:
    fake = network()
    port = port_id(TOPOLOGY.access_port("user1"))
    user_types = {
        IcmpType.ROUTER_SOLICITATION,
        IcmpType.NEIGHBOR_SOLICITATION,
        IcmpType.NEIGHBOR_ADVERTISEMENT,
        IcmpType.MLDV1_REPORT,
        IcmpType.MLDV1_DONE,
        IcmpType.MLDV2_REPORT,
    }
    for kind in IcmpType:
        fields = {"ip_proto": ICMPV6, "icmpv6_type": kind}
        trace = fake.send("user1", user_address(TOPOLOGY, "user1"), SERVICE, **fields)
        assert trace.copies == {}
        assert trace.punted == ([port] if kind in user_types else [])
        from_edge = fake.send("edge1", unicast("edge1"), GATEWAY, **fields)
        advertises = kind in (IcmpType.ROUTER_SOLICITATION, IcmpType.NEIGHBOR_ADVERTISEMENT)
        assert bool(from_edge.punted) == (kind in user_types and not advertises)


@pytest.mark.parametrize(
    "link", [link.name for link in TOPOLOGY.links if TOPOLOGY.link_layer(link) in ("core", "distribution")]
)
def test_any_single_backbone_link_may_break(link: str) -> None:
    fake = network(facts_of(TOPOLOGY, down_links=[link]))
    for user in USERS:
        assert len(fake.send(user, user_address(TOPOLOGY, user), SERVICE).hosts) == 1
    assert fake.send("origin", ORIGIN, GROUP).hosts == sorted(EDGES)


def test_a_dead_edge_port_is_survived_before_the_controller_knows() -> None:
    dead = frozenset({port_id(TOPOLOGY.access_port("edge3"))})
    trace = network(dead_ports=dead).send("user3", user_address(TOPOLOGY, "user3"), SERVICE)
    assert trace.hosts == ["edge1"]


def test_a_broken_edge_link_moves_users_to_the_next_edge() -> None:
    facts = facts_of(TOPOLOGY, down_links=["edge1-a1"])
    assert facts.healthy_edges == ("edge2", "edge3")
    expected = nearest_edges(TOPOLOGY, facts.healthy_edges)["user1"].edge
    assert network(facts).send("user1", user_address(TOPOLOGY, "user1"), SERVICE).hosts == [expected]


def test_all_rules_keep_to_the_declared_pipeline() -> None:
    declared = {table.table: table for table in PIPELINE}
    for service_at in ServiceAt:
        for tables in plan(replace(FACTS, service_at=service_at)).values():
            for rule in tables.rules.values():
                table = declared[rule.table]
                assert set(rule.match.fields()) <= table.match
                assert {type(action).__name__ for action in rule.actions} <= table.actions
                assert rule.goto is None or rule.goto in table.next_tables
                assert rule.source_class is None or table.writes_class


def test_the_pipeline_document_is_current() -> None:
    document = Path(__file__).parents[3] / "docs" / "pipeline.md"
    assert document.read_text() == pipeline_document(), (
        "run python -m controller.plan.pipeline > docs/pipeline.md"
    )


def test_two_rules_for_one_match_are_refused() -> None:
    rule = next(iter(plan(FACTS)["a1"].rules.values()))
    with pytest.raises(ValueError, match="two rules for one match"):
        Tables.of([rule, replace(rule, actions=(Output(1),))])


def test_a_difference_is_applied_in_an_order_that_never_names_a_missing_group() -> None:
    before = plan(facts_of(TOPOLOGY, members=["edge1"]))["a3"]
    after = plan(facts_of(TOPOLOGY, members=["edge2", "edge3"]))["a3"]
    for old, new in ((before, after), (after, before)):
        changes = diff(old, new)
        assert changes
        assert [change.step for change in changes] == sorted(change.step for change in changes)
        for change in changes:
            assert isinstance(change.item, Rule) == (change.step in (Step.RULE_SET, Step.RULE_DELETE))
            assert isinstance(change.item, Group) == (change.step not in (Step.RULE_SET, Step.RULE_DELETE))
    assert diff(after, after) == ()


def test_actions_of_different_kinds_are_never_equal() -> None:
    match = Match(in_port=1)
    assert match == Match(in_port=1)
    actions = {
        action for tables in plan(FACTS).values() for r in tables.rules.values() for action in r.actions
    }
    assert len({str(action) for action in actions}) == len(actions)
