"""Multicast: codes, the tables of RFC 9777 against a literal reading of them, and trees of any membership."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.facts import Membership, PortId
from controller.plan.zones import Zones, is_forwarded
from controller.state.filters import Filter
from controller.state.membership import Listeners, Outcome
from controller.state.querier import Timing
from controller.wire.frames import ICMPV6, Frame
from controller.wire.mld import (
    Query,
    Record,
    RecordType,
    Report,
    decode_code,
    decode_mld,
    encode_code,
    encode_mld,
)
from tests.unit.controller.networks import small
from tests.unit.controller.test_trees import Walk, address, facts_of, member
from tests.unit.controller.test_zones import two_areas
from topologies.graph import shortest_path_tree
from topologies.spec import Role

IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = RecordType
ROUTER = IPv6Address("fe80::1")
TIMING = Timing()
MALI, LLQT = TIMING.listening_interval_s, TIMING.last_listener_query_time_s

groups = st.integers(0xFF << 120, 2**128 - 1).map(IPv6Address)
unicast = st.integers(1, (0xFF << 120) - 1).map(IPv6Address)


@given(st.integers(0, 0xFFFF))
def test_every_maximum_response_code_is_that_of_its_value(code: int) -> None:
    assert encode_code(decode_code(code, 15), 15) == code


@given(st.integers(0, 0xFF))
def test_every_qqic_is_that_of_its_value(code: int) -> None:
    assert encode_code(decode_code(code, 7), 7) == code


@given(st.integers(0, 31_744))
def test_a_query_interval_is_never_too_large_and_nearly_exact(value: int) -> None:
    decoded = decode_code(encode_code(value, 7), 7)
    assert decoded <= value
    assert value - decoded <= value / 16


@given(
    st.builds(
        Query,
        st.integers(0, 0xFFFF).map(lambda code: decode_code(code, 15)),
        groups,
        st.lists(unicast, max_size=5).map(tuple),
        st.integers(0, 7),
        st.integers(0, 0xFF).map(lambda code: decode_code(code, 7)),
        st.booleans(),
    )
)
def test_queries_survive_a_round_trip(query: Query) -> None:
    payload = encode_mld(ROUTER, query.group, query)
    frame = Frame("02:00:00:00:00:01", "02:00:00:00:00:02", ROUTER, query.group, 1, ICMPV6, payload, True)
    assert decode_mld(frame) == query


class Literal:
    """Tables 7 and 8 with the timers of all sources in one dictionary, 0 for those on the Exclude List; every
    row is written out."""

    def __init__(self) -> None:
        self.filter_s = 0.0
        self.timers: dict[IPv6Address, float] = {}

    def expire(self, now_s: float) -> None:
        gone = {source for source, moment in self.timers.items() if moment <= now_s}
        if self.filter_s > now_s:
            self.timers.update(dict.fromkeys(gone, 0.0))
        else:
            self.filter_s = 0.0
            for source in gone:
                del self.timers[source]

    def record(self, now_s: float, kind: RecordType, reported: set[IPv6Address]) -> None:
        x = {source for source, moment in self.timers.items() if moment > 0}
        y = self.timers.keys() - x
        b, until_s, query = reported, now_s + MALI, set()
        new = dict(self.timers)
        if self.filter_s == 0:
            if kind in (IS_IN, ALLOW, TO_IN):
                new |= dict.fromkeys(b, until_s)
            if kind in (IS_EX, TO_EX):
                new |= dict.fromkeys(b - x, 0.0)
                for source in x - b:
                    del new[source]
                self.filter_s = until_s
            query = {BLOCK: x & b, TO_EX: x & b, TO_IN: x - b}.get(kind, set())
        else:
            if kind in (IS_IN, ALLOW, TO_IN):
                new |= dict.fromkeys(b, until_s)
            if kind is BLOCK:
                new |= dict.fromkeys(b - x - y, self.filter_s)
            if kind in (IS_EX, TO_EX):
                new |= dict.fromkeys(b - x - y, until_s if kind is IS_EX else self.filter_s)
                for source in (x - b) | (y - b):
                    del new[source]
                self.filter_s = until_s
            if kind is TO_IN:
                self.filter_s = min(self.filter_s, now_s + LLQT)
            query = {BLOCK: b - y, TO_EX: b - y, TO_IN: x - b}.get(kind, set())
        for source in query:
            new[source] = min(new[source], now_s + LLQT)
        self.timers = new


sources = st.integers(1, 5).map(lambda number: IPv6Address(f"2001:db8::{number}"))
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 2.0, 100.0, 269.0, 270.0]),
        st.sampled_from(RecordType),
        st.sets(sources),
    ),
    max_size=12,
)


@given(steps)
def test_a_filter_does_what_the_tables_say(found: list[tuple[float, RecordType, set[IPv6Address]]]) -> None:
    state, literal, now_s = Filter(IPv6Address("ff0e::1:2")), Literal(), 1.0
    for wait_s, kind, reported in found:
        now_s += wait_s
        for machine in (state, literal):
            machine.expire(now_s)
        state.record(now_s, kind, sorted(reported), TIMING, asks=True)
        literal.record(now_s, kind, reported)
        state.queries(now_s, TIMING)
        running = {source for source, moment in literal.timers.items() if moment > 0}
        assert (state.sources, state.excluded) == (running, literal.timers.keys() - running)
        assert state.is_exclude == (literal.filter_s > 0)


PORTS = (PortId("a1", 4), PortId("a1", 5))
SOME_GROUPS = [IPv6Address(group) for group in ("ff35::8000:1", "ff0e::1:2", "ff02::1:ff00:9", "ff02::fb")]
records = st.builds(
    Record,
    st.sampled_from(RecordType),
    st.sampled_from(SOME_GROUPS),
    st.lists(sources, max_size=3).map(tuple),
)
reports = st.builds(Report, st.lists(records, max_size=3).map(tuple), st.sampled_from([1, 2]))


@given(st.lists(st.tuples(st.integers(0, 150), st.sampled_from(PORTS), reports), max_size=15))
def test_what_joins_and_leaves_adds_up_and_nothing_spins(
    found: list[tuple[int, PortId, Report]],
) -> None:
    listeners, members, now_s = Listeners(), set[Membership](), 0.0

    def take(outcome: Outcome) -> None:
        assert members.isdisjoint(outcome.joined)
        assert members.issuperset(outcome.left)
        members.difference_update(outcome.left)
        members.update(outcome.joined)
        assert members == listeners.members
        assert all(is_forwarded(membership.group) for membership in members)

    for wait_s, port, report in found:
        until_s = now_s + wait_s
        while listeners.deadline_s is not None and listeners.deadline_s <= until_s:
            now_s = listeners.deadline_s
            take(listeners.tick(now_s))
            assert listeners.deadline_s is None or listeners.deadline_s > now_s
        now_s = until_s
        take(listeners.report(now_s, port, report))
    while listeners.deadline_s is not None:
        assert listeners.deadline_s <= now_s + MALI * 2
        take(listeners.tick(listeners.deadline_s))
    assert members == set()
    assert not any(listeners.solicited_node_listeners(group) for group in SOME_GROUPS)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whoever_listens_and_whatever_fails_everybody_gets_what_is_due(data: st.DataObject) -> None:
    topology = data.draw(st.sampled_from([small(), two_areas()]))
    infrastructure = topology.of_role(Role.EDGE, Role.ORIGIN)
    sender = data.draw(st.sampled_from(infrastructure))
    prefix = data.draw(st.sampled_from(["ff3", "ff0"]))
    group = IPv6Address(f"{prefix}{data.draw(st.integers(0, 15)):x}::8000:1")
    hosts = data.draw(st.sets(st.sampled_from([*infrastructure, *topology.of_role(Role.USER)])))
    links = [link.name for link in topology.links]
    down = data.draw(st.sets(st.sampled_from(links), max_size=4))
    source = address(topology, sender)
    facts = facts_of(topology, [member(topology, host, group, source) for host in hosts], (), down)
    walk = Walk(facts, sender, group)
    zones = Zones(topology)
    outside = zones.boundary_links(int(group.packed[1]) & 15)
    paths = shortest_path_tree(topology, sender, down_links=facts.down_links | outside)
    due = {
        host for host in hosts - {sender} if zones.reaches(group, sender, host) and host in paths.distance_ms
    }
    assert walk.heard == dict.fromkeys(due, 1)
    assert set(walk.links.values()) <= {1}
    assert not walk.links.keys() & outside
