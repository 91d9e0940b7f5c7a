"""A packet's way through tables written by hand: what OpenFlow does with every match and action."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

import pytest

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
    Action,
    Bucket,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    PopTag,
    Prefix,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from controller.verify.network import Network
from controller.verify.packet import Packet
from controller.verify.results import Committed, Fate, GroupMet, RuleMet, Sent, Tracked, Walk
from controller.verify.walk import MAX_HOPS, Connection, always, walk
from controller.wire.frames import ICMPV6, UDP
from topologies.spec import Link, Node, Role, Topology

# A triangle of switches; the hosts hang on port 3 of a and of b.
TOPOLOGY = Topology(
    "triangle",
    (
        *(Node(name, Role.ACCESS) for name in ("a", "b", "c")),
        Node("edge1", Role.EDGE),
        Node("user1", Role.USER),
    ),
    (
        Link("a", "b", 1.5, 100),
        Link("c", "a", 2, 100),
        Link("b", "c", 4, 100),
        Link("a", "user1", 0.5, 100),
        Link("b", "edge1", 0.25, 100),
    ),
)
A_B, A_C, A_USER = 1, 2, 3
B_A, B_C, B_EDGE = 1, 2, 3
AT_USER = PortId("a", A_USER)
C_A, C_B = 1, 2
INGRESS, PERMIT, ROUTER = TableId.INGRESS, TableId.PERMIT, TableId.ROUTER
FLOW, UNICAST, DELIVER = TableId.FLOW, TableId.UNICAST, TableId.DELIVER
SRC, DST = IPv6Address("2001:db8:1::5"), IPv6Address("2001:db8:ffff::1")
PACKET = Packet("02:00:00:00:00:01", "02:00:00:00:00:02", SRC, DST, UDP, 4000, 53)


def rule(table: TableId, match: Match, *actions: Action, priority: int = 100, **fields: Any) -> Rule:
    return Rule(table, priority, match, fields.pop("origin", Origin.ROUTE), actions, **fields)


def entry(*actions: Action, **fields: Any) -> Rule:
    """The only rule of INGRESS."""
    return rule(INGRESS, Match(), *actions, **fields)


def run(
    a: list[Rule],
    b: list[Rule] | None = None,
    c: list[Rule] | None = None,
    *,
    groups: list[Group] | None = None,
    packet: Packet = PACKET,
    at: PortId = AT_USER,
    **options: Any,
) -> Walk:
    tables = {"a": Tables.of(a, groups or []), "b": Tables.of(b or []), "c": Tables.of(c or [])}
    network = Network(TOPOLOGY, tables, options.pop("down_ports", ()))
    return walk(network, packet, at, **options)


def fates(found: Walk) -> list[tuple[Fate, str]]:
    return [(end.fate, end.where) for end in found.ends]


def test_a_packet_reaches_a_host_two_switches_away() -> None:
    found = run(
        [entry(DecHopLimit(), Output(A_B))], [entry(DecHopLimit(), SetEthDst("02:ed"), Output(B_EDGE))]
    )
    (end,) = found.ends
    assert (end.fate, end.where, end.delay_ms) == (Fate.DELIVERED, "edge1", 1.75)
    assert end.packet == replace(PACKET, hop_limit=62, eth_dst="02:ed")
    assert [(hop.at, hop.delay_ms) for hop in found.path(end)] == [
        (PortId("a", A_USER), 0),
        (PortId("b", B_A), 1.5),
    ]
    assert found.delivered == found.ends


def test_the_highest_priority_wins() -> None:
    found = run(
        [
            rule(INGRESS, Match(), Output(A_B), priority=10),
            rule(INGRESS, Match(ipv6_dst=Prefix.of(DST)), priority=20, origin=Origin.SCOPE),
        ]
    )
    (end,) = found.ends
    assert (end.fate, end.where) == (Fate.DROPPED, "a")
    assert end.rule is not None
    assert end.rule.origin is Origin.SCOPE


def test_a_miss_drops_in_the_first_table_and_in_a_later_one() -> None:
    assert fates(run([])) == [(Fate.DROPPED, "a")]
    found = run([entry(goto=PERMIT)])
    assert found.hops[0].events[-1] == RuleMet(PERMIT, None)
    assert "permit" in found.ends[0].reason


def test_nothing_leaves_by_the_port_it_came_in_by() -> None:
    found = run([entry(Output(A_USER))])
    assert fates(found) == [(Fate.DROPPED, "a")]
    assert "where it came in" in found.ends[0].reason


def test_a_rule_without_actions_drops() -> None:
    assert "nowhere" in run([entry()]).ends[0].reason


@pytest.mark.parametrize(
    ("match", "packet"),
    [
        (Match(in_port=A_USER), PACKET),
        (Match(eth_src=PACKET.eth_src, eth_dst=PACKET.eth_dst), PACKET),
        (Match(ip_proto=UDP, port_dst=53), PACKET),
        (Match(hop_limit=1), replace(PACKET, hop_limit=1)),
        (Match(ip_proto=ICMPV6, icmpv6_type=128), replace(PACKET, ip_proto=ICMPV6, icmpv6_type=128)),
        (Match(ipv6_src=Prefix.of(SRC), ipv6_dst=Prefix(int(DST) >> 80 << 80, 48)), PACKET),
        (Match(edge_tag=ANY_TAG), replace(PACKET, tags=(7,))),
        (Match(edge_tag=7), replace(PACKET, tags=(7,))),
        (Match(), replace(PACKET, tags=(7,))),
        (Match(scope=5), replace(PACKET, dst=IPv6Address("ff35::8000:1"))),
    ],
)
def test_what_a_match_is_for(match: Match, packet: Packet) -> None:
    assert fates(run([rule(INGRESS, match, Punt())], packet=packet)) == [(Fate.PUNTED, "a")]


@pytest.mark.parametrize(
    ("match", "packet"),
    [
        (Match(in_port=A_B), PACKET),
        (Match(eth_src=PACKET.eth_dst), PACKET),
        (Match(ip_proto=UDP, port_dst=54), PACKET),
        (Match(ipv6_src=Prefix.of(DST)), PACKET),
        (Match(edge_tag=ANY_TAG), PACKET),
        (Match(edge_tag=6), replace(PACKET, tags=(7,))),
        (Match(), replace(PACKET, tags=(7, 6))),
        (Match(scope=5), replace(PACKET, dst=IPv6Address("ff38::8000:1"))),
        (Match(scope=5), PACKET),
        (Match(ct_state=CtState.NEW), PACKET),
        (Match(too_big=0), PACKET),
        (Match(source_class=1), PACKET),
    ],
)
def test_what_a_match_is_not_for(match: Match, packet: Packet) -> None:
    assert fates(run([rule(INGRESS, match, Punt())], packet=packet)) == [(Fate.DROPPED, "a")]


def test_the_class_is_known_in_later_tables() -> None:
    found = run([entry(goto=PERMIT, source_class=2), rule(PERMIT, Match(source_class=2), Punt())])
    assert fates(found) == [(Fate.PUNTED, "a")]


def test_a_punted_packet_says_why() -> None:
    found = run([entry(Punt(), origin=Origin.TOO_BIG, argument=1280)])
    (end,) = found.ends
    assert end.rule is not None
    assert (end.reason, end.rule.argument) == ("too big", 1280)


def test_conntrack_sends_the_packet_on_with_its_state_and_mark() -> None:
    match = Match(ct_state=CtState.ESTABLISHED, ct_mark=3)
    rules = [entry(Track(9, FLOW)), rule(FLOW, match, PushTag(3), goto=ROUTER), rule(ROUTER, Match(), Punt())]
    found = run(rules, connections=always(CtState.ESTABLISHED, 3))
    assert Tracked(9, CtState.ESTABLISHED, 3) in found.hops[0].events
    assert found.ends[0].packet.tag == 3
    assert fates(run(rules)) == [(Fate.DROPPED, "a")], "a new connection meets no rule"


def test_each_zone_is_asked_for_itself() -> None:
    asked: list[tuple[int, int]] = []

    def connections(zone: int, packet: Packet) -> Connection:
        asked.append((zone, packet.hop_limit))
        return Connection(CtState.NEW if zone == 1 else CtState.RELATED)

    a = [
        entry(Track(1, FLOW)),
        rule(FLOW, Match(ct_state=CtState.NEW), DecHopLimit(), Commit(1, 5), Output(A_B)),
    ]
    b = [entry(Track(2, DELIVER)), rule(DELIVER, Match(ct_state=CtState.RELATED), Output(B_EDGE))]
    found = run(a, b, connections=connections)
    assert asked == [(1, 64), (2, 63)]
    assert Committed(1, 5) in found.hops[0].events
    assert fates(found) == [(Fate.DELIVERED, "edge1")]


@pytest.mark.parametrize(("frame_bytes", "fate"), [(1294, Fate.DELIVERED), (1295, Fate.PUNTED)])
def test_large_packets_are_found_by_their_frame(frame_bytes: int, fate: Fate) -> None:
    rules = [
        entry(CheckLarger(1294, 2), goto=UNICAST),
        rule(UNICAST, Match(too_big=2), Punt(), priority=1000),
        rule(UNICAST, Match(), Output(A_B)),
    ]
    found = run(rules, [entry(Output(B_EDGE))], packet=replace(PACKET, frame_bytes=frame_bytes))
    assert found.ends[0].fate is fate


def test_tags_are_pushed_and_popped() -> None:
    found = run(
        [entry(PushTag(4), Output(A_B))],
        [rule(INGRESS, Match(edge_tag=4), PopTag(), Output(B_EDGE))],
    )
    assert found.hops[1].packet.tags == (4,)
    assert found.delivered[0].packet.tags == ()


def group(kind: GroupKind, *buckets: Bucket) -> list[Group]:
    return [Group(7, kind, buckets)]


BOTH = (Bucket((Output(A_B),), watch_port=A_B), Bucket((DecHopLimit(), Output(A_C)), watch_port=A_C))


def test_every_bucket_of_an_all_group_has_a_copy_of_its_own() -> None:
    buckets = (Bucket((SetEthSrc("02:11"), Output(A_B))), Bucket((Output(A_C),)), Bucket((Output(A_USER),)))
    found = run(
        [entry(ToGroup(7), Output(A_C))],
        [entry(Output(B_EDGE))],
        [entry(Output(C_B))],
        groups=group(GroupKind.ALL, *buckets),
    )
    assert GroupMet(7, (0, 1, 2)) in found.hops[0].events
    by_switch = [(hop.at.switch, hop.packet.eth_src, hop.parent) for hop in found.hops]
    assert by_switch == [
        ("a", PACKET.eth_src, None),
        ("b", "02:11", 0),
        ("c", PACKET.eth_src, 0),
        ("b", PACKET.eth_src, 2),
        ("c", PACKET.eth_src, 0),
        ("b", PACKET.eth_src, 4),
    ]
    assert len(found.delivered) == 3
    assert [end.fate for end in found.ends if end.where == "a"] == [Fate.DROPPED], "not back to the user"


@pytest.mark.parametrize(
    ("down", "bucket", "hops"),
    [
        ((), (0,), ["a", "b"]),
        ((PortId("a", A_B),), (1,), ["a", "c", "b"]),
        # A link whose far end is down has no carrier at this end either.
        ((PortId("b", B_A),), (1,), ["a", "c", "b"]),
        ((PortId("a", A_B), PortId("a", A_C)), (), ["a"]),
    ],
)
def test_fast_failover_takes_the_first_live_bucket(
    down: tuple[PortId, ...], bucket: tuple[int, ...], hops: list[str]
) -> None:
    found = run(
        [entry(ToGroup(7))],
        [entry(Output(B_EDGE))],
        [entry(Output(C_B))],
        groups=group(GroupKind.FAST_FAILOVER, *BOTH),
        down_ports=down,
    )
    assert GroupMet(7, bucket) in found.hops[0].events
    assert [hop.at.switch for hop in found.hops] == hops
    assert bool(found.delivered) == bool(bucket)


def test_a_group_that_is_not_there_drops() -> None:
    assert "no group 0x7" in run([entry(ToGroup(7))]).ends[0].reason


def test_an_exhausted_hop_limit_drops_in_a_rule_and_in_a_bucket() -> None:
    tired = replace(PACKET, hop_limit=1)
    assert "hop limit" in run([entry(DecHopLimit(), Output(A_B))], packet=tired).ends[0].reason
    found = run(
        [entry(ToGroup(7))],
        [entry(Output(B_EDGE))],
        groups=group(GroupKind.ALL, BOTH[1], Bucket((Output(A_B),))),
        packet=tired,
    )
    assert fates(found) == [(Fate.DROPPED, "a"), (Fate.DELIVERED, "edge1")]


def test_what_is_sent_out_of_a_dead_or_unknown_port_is_lost() -> None:
    assert fates(run([entry(Output(A_B))], down_ports=(PortId("a", A_B),))) == [(Fate.LOST, "a")]
    found = run([entry(Output(99))])
    assert fates(found) == [(Fate.LOST, "a")]
    assert Sent(99) in found.hops[0].events


def test_a_loop_is_found_at_the_place_where_it_closes() -> None:
    found = run([entry(DecHopLimit(), Output(A_B))], [entry(Output(B_C))], [entry(Output(C_A))])
    (end,) = found.ends
    assert (end.fate, end.where) == (Fate.LOOPED, "b")
    assert [hop.at for hop in found.hops] == [
        PortId("a", A_USER),
        PortId("b", B_A),
        PortId("c", C_B),
        PortId("a", A_C),
    ]


def test_the_same_switch_twice_is_no_loop_when_the_packet_has_changed() -> None:
    a = [
        rule(INGRESS, Match(in_port=A_USER), PushTag(1), Output(A_B)),
        rule(INGRESS, Match(edge_tag=1), PopTag(), Output(A_USER)),
    ]
    found = run(a, [entry(Output(B_C))], [entry(Output(C_A))])
    assert fates(found) == [(Fate.DELIVERED, "user1")]


def test_a_storm_ends() -> None:
    flood = [entry(ToGroup(7))]
    both_ways = [Bucket((PushTag(2), PopTag(), Output(port))) for port in (1, 2)]
    tables = Tables.of(flood, [Group(7, GroupKind.ALL, tuple(both_ways))])
    found = walk(Network(TOPOLOGY, {"a": tables, "b": tables, "c": tables}), PACKET, PortId("a", A_USER))
    assert len(found.hops) <= MAX_HOPS
    assert {end.fate for end in found.ends} <= {Fate.LOOPED, Fate.DROPPED}
    assert Fate.LOOPED in {end.fate for end in found.ends}


def test_tables_and_groups_that_go_round_end() -> None:
    assert fates(run([entry(Track(1, INGRESS))])) == [(Fate.LOOPED, "a")]
    own = [Group(7, GroupKind.ALL, (Bucket((ToGroup(7),)),))]
    assert fates(run([entry(ToGroup(7))], groups=own)) == [(Fate.DROPPED, "a")]


def test_what_the_controller_sends_comes_in_by_its_port() -> None:
    own = rule(INGRESS, Match(in_port=CONTROLLER_PORT), Output(A_USER))
    assert fates(run([own], at=PortId("a", CONTROLLER_PORT))) == [(Fate.DELIVERED, "user1")]


def test_rules_that_openflow_lets_win_by_chance_are_named() -> None:
    first = rule(INGRESS, Match(in_port=A_USER), Output(A_B))
    second = rule(INGRESS, Match(ipv6_dst=Prefix.of(DST)), Output(A_C))
    same = rule(INGRESS, Match(ipv6_src=Prefix.of(SRC)), Output(A_B))
    met = run([first, second, same]).hops[0].events[0]
    assert isinstance(met, RuleMet)
    assert met.rule == first
    assert met.rivals == (second,)
