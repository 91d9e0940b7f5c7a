"""What one switch does in the walker where Open vSwitch is not what one would think; still checked by
`tests/openvswitch/test_trace_agreement.py`, which has found it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
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
from controller.verify.results import Committed, Fate
from controller.verify.walk import Left, Visit, visit
from tests.unit.controller.networks import small

PACKET = Packet("02:01", "02:02", IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))
ANY = Match()
FIRST, SECOND = "02:11", "02:22"


def rule(table: TableId, *actions: Action, match: Match = ANY, goto: TableId | None = None) -> Rule:
    priority = len(match.fields())
    return Rule(table, priority, match, Origin.ROUTE, actions, goto=goto)


def visited(rules: Iterable[Rule], *buckets: Bucket, packet: Packet = PACKET) -> Visit:
    tables = Tables.of(rules, [Group(1, GroupKind.ALL, buckets)])
    return visit(Network(small(), {"c1": tables}), packet, PortId("c1", 4))


@pytest.mark.parametrize("is_fragment", [False, True])
def test_a_rule_may_ask_whether_a_packet_is_a_fragment(is_fragment: bool) -> None:
    rules = [
        rule(TableId.INGRESS, Output(1), match=Match(in_port=4, is_fragment=True)),
        rule(TableId.INGRESS, Output(2), match=Match(in_port=4, is_fragment=False)),
    ]
    (left,) = visited(rules, packet=replace(PACKET, is_fragment=is_fragment)).copies
    assert isinstance(left, Left)
    assert left.port == (1 if is_fragment else 2)


def bucket(*actions: Action) -> Visit:
    """What comes of a group with one bucket."""
    return visited([rule(TableId.INGRESS, ToGroup(1))], Bucket(actions))


def sent(found: Visit) -> list[tuple[int, Packet]]:
    return [(copy.port, copy.packet) for copy in found.copies if isinstance(copy, Left)]


def test_of_several_outputs_in_a_bucket_the_last_one_counts() -> None:
    assert sent(bucket(Output(1), Output(2))) == [(2, PACKET)]
    assert sent(bucket(Punt(), Output(2))) == [(2, PACKET)]
    assert [copy.packet for copy in bucket(Output(2), Punt()).copies] == [PACKET]


def test_a_bucket_that_sends_remembers_nothing() -> None:
    both, only = bucket(Commit(5, 1), Output(2)), bucket(Commit(5, 1))
    assert Committed(5, 1) not in both.events
    assert Committed(5, 1) in only.events


def test_the_actions_of_a_bucket_have_an_order_of_their_own() -> None:
    found = bucket(
        Output(2), SetEthDst(FIRST), SetEthSrc(FIRST), SetEthSrc(SECOND), DecHopLimit(), DecHopLimit()
    )
    assert sent(found) == [(2, replace(PACKET, eth_dst=FIRST, eth_src=SECOND, hop_limit=63))]
    assert sent(bucket(PushTag(2), PopTag(), PushTag(3), Output(1))) == [(1, replace(PACKET, tags=(3,)))]


def test_a_bucket_without_an_output_does_nothing() -> None:
    (copy,) = bucket(DecHopLimit(), SetEthSrc(FIRST)).copies
    assert not isinstance(copy, Left)
    assert (copy.fate, copy.packet) == (Fate.DROPPED, PACKET)


def test_behind_a_group_without_a_live_bucket_the_rule_goes_on() -> None:
    group = Group(1, GroupKind.FAST_FAILOVER, (Bucket((Output(1),), 1),))
    tables = Tables.of([rule(TableId.INGRESS, ToGroup(1), Output(2))], [group])
    network = Network(small(), {"c1": tables}, [PortId("c1", 1)])
    found = visit(network, PACKET, PortId("c1", 4))
    assert sent(found) == [(2, PACKET)]


def test_two_tags_hide_ipv6_only_when_a_packet_comes_in_with_them() -> None:
    rules = [
        rule(TableId.INGRESS, PushTag(1), goto=TableId.PERMIT),
        rule(TableId.PERMIT, PushTag(2), goto=TableId.GATEWAY),
        rule(TableId.GATEWAY, PushTag(3), Output(1)),
    ]
    assert sent(visited(rules)) == [(1, replace(PACKET, tags=(3, 2)))]
    assert sent(visited(rules, packet=replace(PACKET, tags=(7,)))) == [(1, replace(PACKET, tags=(3, 2)))]
    (dropped,) = visited(rules, packet=replace(PACKET, tags=(7, 8))).copies
    assert not isinstance(dropped, Left)
    assert dropped.fate is Fate.DROPPED


def test_what_connection_tracking_found_is_forgotten_when_it_is_told_something() -> None:
    state = Match(ct_state=CtState.NEW)
    rules = [
        rule(TableId.INGRESS, Track(1, TableId.FLOW), goto=TableId.DELIVER),
        rule(TableId.FLOW, match=state, goto=TableId.ROUTER),
        rule(TableId.ROUTER, Output(1), Commit(1), match=state, goto=TableId.DELIVER),
        rule(TableId.DELIVER, Output(2), match=state),
        rule(TableId.DELIVER, Output(3)),
    ]
    assert [port for port, _ in sent(visited(rules))] == [1, 3, 3]


@pytest.mark.parametrize(("limits", "port"), [((50, 200), 2), ((200, 50), 1)])
def test_the_last_measure_counts(limits: tuple[int, int], port: int) -> None:
    checks = (CheckLarger(limit, 3) for limit in limits)
    rules = [
        rule(TableId.INGRESS, *checks, goto=TableId.UNICAST),
        rule(TableId.UNICAST, Output(1), match=Match(too_big=3)),
        rule(TableId.UNICAST, Output(2)),
    ]
    assert [port for port, _ in sent(visited(rules))] == [port]
