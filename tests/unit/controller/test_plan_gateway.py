"""The gateway of the users: closed but for what they ask for, and connections stay with their edge."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.anycast import choices
from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, GatewayMode, Opening, Pin, PortId, ServiceAt, port_id
from controller.plan.gateway import plan_gateway
from controller.plan.meters import port_meter
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import CONTROLLER_PORT, Action, Commit, PushTag, Rule, Track
from controller.verify.network import Network
from controller.verify.packet import TCP, Context, Packet
from controller.verify.results import Fate, Walk
from controller.wire.frames import ICMPV6, UDP
from controller.wire.icmpv6 import IcmpType
from tests.unit.controller.conntrack import Segment, World
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.addressing import ERROR_SOURCE
from topologies.spec import OriginMode, Role

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
SERVICE = FACTS.addresses.service
USERS, EDGES = TOPOLOGY.of_role(Role.USER), TOPOLOGY.of_role(Role.EDGE)
WEB, DNS_PORT = 80, 53
# edge1 is the nearest of user1 and user4, edge3 the next.
NEXT = "edge3"
DRAINED = replace(FACTS, accepting=("edge2", "edge3"), pins=frozenset({Pin("a1", "edge1")}))
OPEN = replace(FACTS, gateway=GatewayMode.OPEN)


def world(facts: Facts = FACTS) -> World:
    return World(facts, plan(facts))


def become(network: World, facts: Facts) -> None:
    network.become(facts, plan(facts))


def address(host: str) -> IPv6Address:
    return user_address(TOPOLOGY, host) if host in USERS else SERVICE


def segment(
    host: str, dst: IPv6Address, flags: str = "syn", *, port: int = WEB, client_port: int = 50000
) -> Segment:
    """A TCP segment from a host's address; from a server the ports are the other way round."""
    ports = (client_port, port) if flags != "syn-ack" else (port, client_port)
    access = TOPOLOGY.access_port(host)
    return Segment(
        eth_src=FACTS.addresses.hosts[host].mac,
        eth_dst=FACTS.addresses.router_macs[access.node],
        src=address(host),
        dst=dst,
        ip_proto=TCP,
        port_src=ports[0],
        port_dst=ports[1],
        flags=flags,
    )


def error_about(packet: Packet, switch: str) -> Segment:
    """An ICMPv6 error about a packet, as the controller puts it into the tables of a switch."""
    return Segment(
        eth_src=FACTS.addresses.router_macs[switch],
        eth_dst=FACTS.addresses.router_macs[switch],
        src=ERROR_SOURCE,
        dst=packet.src,
        ip_proto=ICMPV6,
        icmpv6_type=IcmpType.PACKET_TOO_BIG,
        about=packet,
    )


def receivers(walk: Walk) -> list[str]:
    return [end.where for end in walk.delivered]


def handshake(network: World, user: str, edge: str, client_port: int = 50000) -> None:
    """A connection to the service begins, at this edge."""
    syn = segment(user, SERVICE, "syn", client_port=client_port)
    assert receivers(network.send(user, syn)) == [edge]
    answer = segment(edge, address(user), "syn-ack", client_port=client_port)
    assert receivers(network.send(edge, answer)) == [user]
    assert receivers(network.send(user, replace(syn, flags="ack"))) == [edge]


def of_table(facts: Facts, table: TableId, switch: str) -> list[Rule]:
    rules = plan_gateway(facts, choices(facts))
    return [rule for name, rule in rules if name == switch and rule.table is table]


def test_connections_begin_at_the_nearest_edge_and_answers_come_back() -> None:
    network = world()
    for user, edge in (("user1", "edge1"), ("user2", "edge2"), ("user3", "edge3"), ("user4", "edge1")):
        handshake(network, user, edge)


def test_a_drained_edge_keeps_its_connections_and_the_next_begin_elsewhere() -> None:
    network = world()
    handshake(network, "user1", "edge1")
    become(network, DRAINED)
    kept = network.send("user1", segment("user1", SERVICE, "ack"))
    assert receivers(kept) == ["edge1"]
    assert kept.delivered[0].packet.tags == (), "edges see no tags"
    assert receivers(network.send("edge1", segment("edge1", address("user1"), "syn-ack"))) == ["user1"]
    handshake(network, "user1", NEXT, client_port=50001)
    become(network, FACTS)
    handshake(network, "user1", "edge1", client_port=50002)


def test_connections_begun_while_an_edge_was_away_stay_where_they_began() -> None:
    network = world(DRAINED)
    handshake(network, "user1", NEXT)
    become(network, replace(FACTS, pins=frozenset({Pin("a1", NEXT)})))
    assert receivers(network.send("user1", segment("user1", SERVICE, "ack"))) == [NEXT]
    handshake(network, "user1", "edge1", client_port=50001)


def test_what_was_not_answered_yet_begins_anew_at_the_edge_of_now() -> None:
    network = world()
    syn = segment("user1", SERVICE)
    assert receivers(network.send("user1", syn)) == ["edge1"]
    become(network, DRAINED)
    handshake(network, "user1", NEXT)
    become(network, FACTS)
    pinned = replace(FACTS, pins=frozenset({Pin("a1", NEXT)}))
    become(network, pinned)
    assert receivers(network.send("user1", replace(syn, flags="ack"))) == [NEXT], "by its new mark"


def test_connections_of_a_dead_edge_go_the_way_of_new_ones_to_be_refused_there() -> None:
    network = world()
    handshake(network, "user1", "edge1")
    become(network, replace(DRAINED, alive=("edge2", "edge3")))
    assert receivers(network.send("user1", segment("user1", SERVICE, "ack"))) == [NEXT]
    assert not [rule for rule in of_table(network.facts, TableId.FLOW, "a1") if rule.origin is Origin.PIN]


def test_an_error_about_a_kept_connection_goes_to_its_edge_too() -> None:
    network = world()
    handshake(network, "user1", "edge1")
    become(network, DRAINED)
    quoted = segment("edge1", address("user1"), "syn-ack")
    complaint = replace(
        segment("user1", SERVICE),
        ip_proto=ICMPV6,
        icmpv6_type=IcmpType.PACKET_TOO_BIG,
        port_src=None,
        port_dst=None,
        about=quoted,
    )
    assert receivers(network.send("user1", complaint)) == ["edge1"]


def test_users_are_closed_to_each_other() -> None:
    network = world()
    for packet in (
        segment("user2", address("user1"), port=22),
        replace(segment("user2", address("user1"), port=DNS_PORT), ip_proto=UDP),
        replace(
            segment("user2", address("user1")),
            ip_proto=ICMPV6,
            icmpv6_type=IcmpType.ECHO_REQUEST,
            port_src=None,
            port_dst=None,
        ),
    ):
        found = network.send("user2", packet)
        assert [end.fate for end in found.ends] == [Fate.DROPPED]
        assert found.ends[0].where == "a1", "the gateway of the one who is asked decides"


def test_neighbours_at_one_switch_are_closed_to_each_other() -> None:
    assert receivers(world().send("user4", segment("user4", address("user1")))) == []


def test_nothing_from_the_service_comes_in_that_was_not_asked_for() -> None:
    network = world()
    assert receivers(network.send("edge1", segment("edge1", address("user1"), "syn"))) == []
    assert receivers(network.send("edge1", segment("edge1", address("user1"), "syn-ack"))) == []
    handshake(network, "user1", "edge1")
    other = segment("edge1", address("user1"), "syn-ack", client_port=50001)
    assert receivers(network.send("edge1", other)) == [], "another connection of the same two hosts"


def test_answers_of_the_name_server_come_in() -> None:
    network = world()
    server = FACTS.addresses.hosts["dns"].unicast
    question = replace(segment("user1", server, port=DNS_PORT), ip_proto=UDP)
    assert receivers(network.send("user1", question)) == ["dns"]
    answer = replace(
        segment("dns", address("user1"), "syn-ack", port=DNS_PORT), ip_proto=UDP, src=server, flags="syn"
    )
    assert receivers(network.send("dns", answer)) == ["user1"]
    assert receivers(network.send("dns", replace(answer, port_dst=50001))) == []


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_an_opening_lets_in_one_port_of_one_protocol_of_one_address(protocol: int) -> None:
    opening = Opening(address("user1"), protocol, 8080)
    network = world(replace(FACTS, openings=frozenset({opening})))
    asked = replace(segment("user2", address("user1"), port=8080), ip_proto=protocol)
    assert receivers(network.send("user2", asked)) == ["user1"]
    answer = replace(segment("user1", address("user2"), "syn-ack", port=8080), ip_proto=protocol)
    assert receivers(network.send("user1", answer)) == ["user2"]
    assert receivers(network.send("user2", replace(asked, flags="ack"))) == ["user1"]
    for closed in (
        replace(asked, port_dst=8081),
        replace(asked, ip_proto=TCP + UDP - protocol),
        replace(asked, dst=address("user4")),
    ):
        assert receivers(network.send("user2", replace(closed, port_src=50001))) == []


def test_when_an_opening_ends_its_connections_go_on_and_no_others_begin() -> None:
    network = world(replace(FACTS, openings=frozenset({Opening(address("user1"), TCP, 8080)})))
    asked = segment("user2", address("user1"), port=8080)
    network.send("user2", asked)
    network.send("user1", segment("user1", address("user2"), "syn-ack", port=8080))
    become(network, FACTS)
    assert receivers(network.send("user2", replace(asked, flags="ack"))) == ["user1"]
    assert receivers(network.send("user2", replace(asked, port_src=50001))) == []


def test_an_opening_lets_in_nothing_invalid() -> None:
    network = world(replace(FACTS, openings=frozenset({Opening(address("user1"), TCP, 8080)})))
    stray = replace(segment("user2", address("user1"), "syn-ack", client_port=8080), port_dst=8080)
    at_home = replace(stray, eth_dst=FACTS.addresses.router_macs["a1"])
    port = TOPOLOGY.port("a1", "d1").number
    assert receivers(network.enter(PortId("a1", port), at_home)) == []


def test_echo_requests_come_in_only_where_they_are_let_in() -> None:
    network = world(replace(FACTS, openings=frozenset({Opening(address("user1"), ICMPV6, 0)})))
    echo = Segment(
        eth_src=FACTS.addresses.hosts["user2"].mac,
        eth_dst=FACTS.addresses.router_macs["a2"],
        src=address("user2"),
        dst=address("user1"),
        ip_proto=ICMPV6,
        icmpv6_type=IcmpType.ECHO_REQUEST,
    )
    assert receivers(network.send("user2", echo)) == ["user1"]
    reply = replace(
        echo,
        eth_src=FACTS.addresses.hosts["user1"].mac,
        eth_dst=FACTS.addresses.router_macs["a1"],
        src=echo.dst,
        dst=echo.src,
        icmpv6_type=IcmpType.ECHO_REPLY,
    )
    assert receivers(network.send("user1", reply)) == ["user2"]
    assert receivers(network.send("user2", replace(echo, dst=address("user3")))) == []


@pytest.mark.parametrize("switch", ["a1", "d1", "c1"])
def test_errors_about_what_a_user_sent_come_in_and_others_do_not(switch: str) -> None:
    network = world()
    handshake(network, "user1", "edge1")
    sent = segment("user1", SERVICE)
    at = PortId(switch, CONTROLLER_PORT)
    assert receivers(network.enter(at, error_about(sent, switch))) == ["user1"]
    never_sent = segment("user1", SERVICE, client_port=50009)
    assert receivers(network.enter(at, error_about(never_sent, switch))) == []
    of_another = replace(error_about(sent, switch), dst=address("user2"))
    assert receivers(network.enter(at, of_another)) == []


def test_a_policy_sends_new_connections_of_one_user_to_another_edge() -> None:
    bound = replace(FACTS, bound=frozenset({Bound("user1", "edge3")}))
    network = world()
    handshake(network, "user1", "edge1")
    become(network, bound)
    assert receivers(network.send("user1", segment("user1", SERVICE, "ack"))) == ["edge1"], "begun before"
    handshake(network, "user1", "edge3", client_port=50001)
    handshake(network, "user4", "edge1", client_port=50002)
    become(network, replace(FACTS, pins=frozenset({Pin("a1", "edge3")})))
    begun = segment("user1", SERVICE, "ack", client_port=50001)
    assert receivers(network.send("user1", begun)) == ["edge3"], "begun while it was bound"
    handshake(network, "user1", "edge1", client_port=50003)


def test_a_policy_for_an_edge_that_does_not_accept_is_ignored() -> None:
    network = world(replace(DRAINED, bound=frozenset({Bound("user2", "edge1")})))
    handshake(network, "user2", "edge2")


def test_a_policy_for_the_nearest_edge_needs_no_tag() -> None:
    facts = replace(FACTS, bound=frozenset({Bound("user1", "edge1")}))
    assert not any(
        isinstance(action, PushTag)
        for switch in TOPOLOGY.of_role(Role.ACCESS)
        for rule in of_table(facts, TableId.FLOW, switch)
        for action in rule.actions
    )


def test_where_the_plain_route_is_not_to_be_relied_on_everything_is_tagged() -> None:
    facts = replace(FACTS, bound=frozenset(Bound(user, "edge2") for user in USERS))
    for _, rule in plan_gateway(facts, {}):
        if rule.match.ipv6_dst is not None and rule.table is TableId.FLOW:
            assert PushTag(2) in rule.actions


@pytest.mark.parametrize(
    "facts",
    [
        facts_of(TOPOLOGY, service_at=ServiceAt.ORIGIN),
        replace(
            facts_of(replace(TOPOLOGY, origin=OriginMode.LAST_RESORT)),
            accepting=(),
            alive=(),
        ),
    ],
)
def test_the_origin_answers_without_a_mark(facts: Facts) -> None:
    network = world(facts)
    handshake(network, "user1", "origin")
    assert {record.mark for record in network.records.values()} == {0}


def test_every_user_has_a_zone_of_its_own() -> None:
    zones: dict[PortId, set[Action]] = {}
    for switch in TOPOLOGY.of_role(Role.ACCESS):
        for rule in of_table(FACTS, TableId.GATEWAY, switch):
            assert rule.match.in_port is not None
            zones.setdefault(PortId(switch, rule.match.in_port), set()).update(rule.actions)
    assert sorted(zones) == sorted(port_id(TOPOLOGY.access_port(user)) for user in USERS)
    assert sorted(zones.values(), key=str) == [{Track(zone, TableId.FLOW)} for zone in (1, 2, 3, 4)]


def test_fragments_of_every_user_are_limited_and_nothing_else_is() -> None:
    network = Network(TOPOLOGY, plan(FACTS))
    meters: dict[str, int | None] = {}
    for user in USERS:
        at = port_id(TOPOLOGY.access_port(user))
        met = {
            is_fragment: network.lookup(
                at.switch,
                TableId.GATEWAY,
                replace(segment(user, SERVICE), is_fragment=is_fragment),
                Context(at.number),
            ).rule
            for is_fragment in (False, True)
        }
        plain, limited = met[False], met[True]
        assert plain is not None
        assert limited is not None
        assert plain.meter is None
        assert (limited.actions, limited.goto) == (plain.actions, plain.goto)
        meters[user] = limited.meter
    assert meters == {user: port_meter(TOPOLOGY.access_port(user).number, Origin.FRAGMENT) for user in USERS}


def test_an_open_gateway_lets_in_what_nobody_asked_for_and_its_answers_out() -> None:
    network = world(OPEN)
    asked = segment("user2", address("user1"), port=22)
    assert receivers(network.send("user2", asked)) == ["user1"]
    answer = segment("user1", address("user2"), "syn-ack", port=22)
    assert receivers(network.send("user1", answer)) == ["user2"]
    assert receivers(network.send("user2", replace(asked, flags="ack"))) == ["user1"]
    error = error_about(segment("user1", SERVICE, client_port=50009), "a1")
    assert receivers(network.enter(PortId("a1", CONTROLLER_PORT), error)) == ["user1"]


def test_an_open_gateway_keeps_connections_at_their_edge_too() -> None:
    network = world(OPEN)
    handshake(network, "user1", "edge1")
    become(network, replace(DRAINED, gateway=GatewayMode.OPEN))
    assert receivers(network.send("user1", segment("user1", SERVICE, "ack"))) == ["edge1"]
    handshake(network, "user1", NEXT, client_port=50001)


def test_a_closed_gateway_sends_out_nothing_invalid() -> None:
    stray = segment("user1", SERVICE, "syn-ack")
    assert receivers(world().send("user1", stray)) == []
    assert receivers(world(OPEN).send("user1", stray)) == ["edge1"]


def test_the_edge_is_remembered_by_its_number() -> None:
    for switch, edge in choices(FACTS).items():
        marks = {
            action.mark
            for rule in of_table(FACTS, TableId.FLOW, switch)
            for action in rule.actions
            if isinstance(action, Commit) and action.mark is not None
        }
        assert marks == {EDGES.index(edge) + 1}


def test_openings_of_addresses_that_nobody_has_make_no_rules() -> None:
    facts = replace(FACTS, openings=frozenset({Opening(IPv6Address("2001:db8:1::9999"), TCP, 80)}))
    assert list(plan_gateway(facts, choices(facts))) == list(plan_gateway(FACTS, choices(FACTS)))
