"""What the planned tables do to packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path

import pytest

from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, GatewayMode, Opening, Pin, PortId, ServiceAt, port_id
from controller.plan.pipeline import PIPELINE, Origin
from controller.plan.reference import ACTIONS, MATCHES, ORIGINS, pipeline_document
from controller.plan.rules import Group, Match, Output, Rule, Step, Tables, diff
from controller.wire.frames import ICMPV6, UDP, multicast_mac
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
TCP = 6


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
    assert facts.service_hosts == ("edge2",)
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


def test_users_reach_the_name_server_and_its_answer_comes_back() -> None:
    fake = network()
    one = user_address(TOPOLOGY, "user1")
    assert fake.send("dns", unicast("dns"), one).hosts == [], "nobody has asked"
    assert fake.send("user1", one, unicast("dns")).hosts == ["dns"]
    assert fake.send("dns", unicast("dns"), one).hosts == ["user1"]


@pytest.mark.parametrize("other", ["user3", "user4"])
def test_users_are_closed_to_each_other_but_for_what_they_opened(other: str) -> None:
    one, two = user_address(TOPOLOGY, "user1"), user_address(TOPOLOGY, other)
    fake = network()
    assert fake.send("user1", one, two).hosts == []
    assert fake.send(other, two, one).hosts == ["user1"], "user1 has sent to it before"
    opened = replace(FACTS, openings=frozenset({Opening(two, TCP, 8080)}))
    fake = network(opened)
    assert fake.send("user1", one, two, ip_proto=TCP, port_dst=8080).hosts == [other]
    assert fake.send(other, two, one, ip_proto=TCP, port_dst=40000).hosts == ["user1"]
    for fields in ({"ip_proto": TCP, "port_dst": 8081}, {"ip_proto": UDP, "port_dst": 8080}):
        assert network(opened).send("user1", one, two, **fields).hosts == []


def test_an_open_gateway_lets_users_reach_each_other() -> None:
    fake = network(replace(FACTS, gateway=GatewayMode.OPEN))
    one, three = user_address(TOPOLOGY, "user1"), user_address(TOPOLOGY, "user3")
    assert fake.send("user1", one, three).hosts == ["user3"]


def test_connections_stay_with_their_edge_when_new_ones_go_elsewhere() -> None:
    one, four = user_address(TOPOLOGY, "user1"), user_address(TOPOLOGY, "user4")
    before = network()
    assert before.send("user1", one, SERVICE).hosts == ["edge1"]
    moved = replace(FACTS, accepting=("edge2", "edge3"), pins=frozenset({Pin("a1", "edge1")}))
    after = network(moved)
    after.connections = before.connections
    for _ in range(2):
        trace = after.send("user1", one, SERVICE)
        assert trace.hosts == ["edge1"]
        assert trace.delivered[0][1].tag is None, "edges never see tags"
    new = after.send("user4", four, SERVICE).hosts
    assert new == [nearest_edges(TOPOLOGY, ("edge2", "edge3"))["user4"].edge]
    assert after.send("user4", four, SERVICE).hosts == new


def test_a_tagged_connection_crosses_the_network_to_its_edge() -> None:
    three = user_address(TOPOLOGY, "user3")
    facts = replace(FACTS, bound=frozenset({Bound("user3", "edge1")}))
    fake = network(facts)
    for _ in range(2):
        trace = fake.send("user3", three, SERVICE)
        assert trace.hosts == ["edge1"]
        assert len(trace.copies) > 2
    assert fake.send("edge1", SERVICE, three).hosts == ["user3"]


def test_a_users_own_tag_is_refused() -> None:
    assert network().send("user1", user_address(TOPOLOGY, "user1"), SERVICE, tag=2).copies == {}


def test_a_packet_that_is_too_big_for_the_way_on_is_answered_with_the_mtu() -> None:
    links = tuple(replace(link, mtu_bytes=1280) if link.name == "c1-c2" else link for link in TOPOLOGY.links)
    narrow = facts_of(replace(TOPOLOGY, links=links))
    fake = FakeNetwork(narrow, plan(narrow))
    for frame_bytes, arrives in ((1294, True), (1295, False)):
        trace = fake.send("origin", ORIGIN, unicast("edge1"), frame_bytes=frame_bytes)
        crossing = any(port.switch == "c1" for port in trace.copies)
        assert bool(trace.hosts) == (arrives or not _crosses(narrow, "origin", "edge1", "c1-c2"))
        assert crossing or trace.punted
    answers = {
        rule.argument
        for tables in plan(narrow).values()
        for rule in tables.rules.values()
        if rule.origin is Origin.TOO_BIG
    }
    assert answers == {1280}
    user = user_address(TOPOLOGY, "user1")
    assert fake.send("user1", user, unicast("dns"), frame_bytes=1295).punted == [
        PortId("c1", TOPOLOGY.port("c1", "d1").number)
    ] or not _crosses(narrow, "user1", "dns", "c1-c2")


def _crosses(facts: Facts, host: str, target: str, link: str) -> bool:
    path = shortest_path_tree(facts.topology, target).path(host)
    return any({f"{a}-{b}", f"{b}-{a}"} & {link} for a, b in pairwise(path))


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
def test_an_exhausted_hop_limit_is_answered_by_the_controller(hop_limit: int) -> None:
    trace = network().send("user1", user_address(TOPOLOGY, "user1"), SERVICE, hop_limit=hop_limit)
    assert (trace.hosts, trace.punted) == ([], [port_id(TOPOLOGY.access_port("user1"))])


def test_what_is_hidden_and_what_does_not_exist_are_answered_alike() -> None:
    fake = network()
    address, port = user_address(TOPOLOGY, "user1"), port_id(TOPOLOGY.access_port("user1"))
    for target in (ORIGIN, unicast("edge1"), IPv6Address("2001:db8:dead::1"), IPv6Address("2001:db9::1")):
        trace = fake.send("user1", address, target)
        assert (trace.copies, trace.punted) == ({}, [port])


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


def test_nobody_but_the_origin_can_send_to_its_channel() -> None:
    fake = network()
    for host in (*USERS, *EDGES, "dns"):
        assert fake.send(host, ORIGIN, GROUP).hosts == []
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
                on_tree = any(r.origin is Origin.TREE for r in fake.tables[switch].rules.values())
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
        if kind.is_link_local:
            assert trace.copies == {}
            assert trace.punted == ([port] if kind in user_types else [])
        from_edge = fake.send("edge1", unicast("edge1"), GATEWAY, **fields)
        edge_types = user_types - {IcmpType.ROUTER_SOLICITATION} | {
            IcmpType.MLD_QUERY,
            IcmpType.ECHO_REQUEST,
        }
        assert bool(from_edge.punted) == (kind in edge_types)


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
    assert facts.service_hosts == ("edge2", "edge3")
    expected = nearest_edges(TOPOLOGY, facts.service_hosts)["user1"].edge
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
        "run python -m controller.plan.reference > docs/pipeline.md"
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
            group_steps = (Step.GROUP_ADD, Step.GROUP_MODIFY, Step.GROUP_DELETE)
            assert isinstance(change.item, Group) == (change.step in group_steps)
    assert diff(after, after) == ()


def test_actions_of_different_kinds_are_never_equal() -> None:
    match = Match(in_port=1)
    assert match == Match(in_port=1)
    actions = {
        action for tables in plan(FACTS).values() for r in tables.rules.values() for action in r.actions
    }
    assert len({str(action) for action in actions}) == len(actions)


def test_the_reference_explains_every_field_action_and_origin() -> None:
    assert MATCHES.keys() == set(Match.__slots__)
    assert {action for table in PIPELINE for action in table.actions} == ACTIONS.keys()
    assert ORIGINS.keys() == set(Origin)
