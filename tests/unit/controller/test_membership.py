"""Listeners and queriers of all ports together, in simulated time."""

from __future__ import annotations

import time
from ipaddress import IPv6Address

import pytest

from controller.plan.facts import Membership, PortId
from controller.state.membership import (
    MAX_GROUPS_PER_PORT,
    MAX_SOLICITED_NODES_PER_PORT,
    Listeners,
    Outcome,
)
from controller.wire.frames import ICMPV6, Frame, multicast_mac, parse_frame
from controller.wire.mld import ANY_GROUP, Query, Record, RecordType, Report, encode_mld
from tests.unit.controller import test_wire_mld as captured

PORT, OTHER = PortId("a1", 4), PortId("a1", 5)
GROUP, SOURCE = IPv6Address("ff35::8000:1"), IPv6Address("fd00::1")
ASM = IPv6Address("ff0e::1:2")
SOLICITED = IPv6Address("ff02::1:ff00:9")
HOST = IPv6Address("fe80::9")
OWN, LOWER, HIGHER = IPv6Address("fe80::5"), IPv6Address("fe80::4"), IPv6Address("fe80::6")
IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = RecordType
MEMBER = Membership(PORT, GROUP, SOURCE)
ANY = Membership(PORT, ASM, None)


def report(kind: RecordType, *sources: IPv6Address, group: IPv6Address = GROUP, version: int = 2) -> Report:
    return Report((Record(kind, group, sources),), version)


def specific(group: IPv6Address, *sources: IPv6Address, suppress: bool = False) -> tuple[PortId, Query]:
    return PORT, Query(1000, group, sources, suppress=suppress)


def frame(message: Report | Query, source: IPv6Address = HOST) -> Frame:
    to = IPv6Address("ff02::16")
    payload = encode_mld(source, to, message)
    return Frame("02:00:00:00:00:01", multicast_mac(to), source, to, 1, ICMPV6, payload, router_alert=True)


class TestReports:
    def test_a_listener_joins_at_once_and_expires_after_the_listening_interval(self) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(ALLOW, SOURCE)).joined == [MEMBER]
        assert listeners.report(9.0, PORT, report(IS_IN, SOURCE)) == Outcome()
        assert listeners.deadline_s == 279.0
        assert listeners.tick(278.9) == Outcome()
        assert listeners.tick(279.0) == Outcome(left=[MEMBER])
        assert (listeners.members, listeners.deadline_s) == (frozenset(), None)

    @pytest.mark.parametrize(("kind", "sources"), [(BLOCK, (SOURCE,)), (TO_IN, ())])
    def test_a_leaver_is_asked_for_twice_and_then_forgotten(
        self, kind: RecordType, sources: tuple[IPv6Address, ...]
    ) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        assert listeners.report(10.0, PORT, report(kind, *sources)) == Outcome(
            queries=[specific(GROUP, SOURCE)]
        )
        assert listeners.members == {MEMBER}
        assert listeners.deadline_s == 11.0
        assert listeners.tick(11.0) == Outcome(queries=[specific(GROUP, SOURCE)])
        assert listeners.tick(11.9) == Outcome()
        assert listeners.tick(12.0) == Outcome(left=[MEMBER])

    def test_another_listener_on_the_port_keeps_the_source(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        listeners.report(10.0, PORT, report(BLOCK, SOURCE))
        listeners.report(10.5, PORT, report(IS_IN, SOURCE))
        assert listeners.tick(11.0) == Outcome(queries=[specific(GROUP, SOURCE, suppress=True)])
        assert listeners.tick(20.0) == Outcome()
        assert listeners.deadline_s == 280.5

    def test_a_listener_to_any_source_leaves_like_one_to_a_single_source(self) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(TO_EX, group=ASM)).joined == [ANY]
        assert listeners.report(5.0, PORT, report(TO_IN, group=ASM)).queries == [specific(ASM)]
        assert listeners.tick(6.0).queries == [specific(ASM)]
        assert listeners.tick(7.0).left == [ANY]

    def test_a_change_of_the_filter_mode_changes_the_memberships(self) -> None:
        listeners = Listeners()
        named = Membership(PORT, ASM, SOURCE)
        assert listeners.report(0.0, PORT, report(IS_IN, SOURCE, group=ASM)).joined == [named]
        outcome = listeners.report(1.0, PORT, report(IS_EX, group=ASM))
        assert (outcome.joined, outcome.left) == ([ANY], [named])
        listeners.report(100.0, PORT, report(IS_IN, SOURCE, group=ASM))
        outcome = listeners.tick(271.0)
        assert (outcome.joined, outcome.left) == ([named], [ANY])
        assert listeners.members == {named}

    def test_sources_that_nobody_wants_are_told(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_EX, SOURCE, group=ASM))
        assert listeners.blocked == {Membership(PORT, ASM, SOURCE)}
        listeners.report(1.0, PORT, report(ALLOW, SOURCE, group=ASM))
        assert listeners.blocked == frozenset()

    def test_what_has_run_out_when_a_report_comes_in_does_not_count_any_more(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_EX, SOURCE, group=ASM))
        outcome = listeners.report(300.0, PORT, report(IS_IN, SOURCE, group=ASM))
        assert outcome.left == [ANY]
        assert outcome.joined == [Membership(PORT, ASM, SOURCE)]
        assert listeners.blocked == frozenset()

    def test_all_records_of_a_report_count(self) -> None:
        listeners = Listeners()
        records = (Record(IS_IN, GROUP, (SOURCE,)), Record(IS_EX, ASM))
        assert listeners.report(0.0, PORT, Report(records)).joined == [MEMBER, ANY]

    def test_who_joins_and_leaves_by_one_report_is_not_mentioned(self) -> None:
        listeners = Listeners()
        records = (Record(IS_IN, ASM, (SOURCE,)), Record(IS_EX, ASM))
        assert listeners.report(0.0, PORT, Report(records)) == Outcome(joined=[ANY])

    @pytest.mark.parametrize("group", ["ff02::2", "ff02::fb", "ff02::16", "ff01::1", "ff00::1", "ff0f::1"])
    def test_groups_that_no_router_forwards_are_not_kept(self, group: str) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(IS_EX, group=IPv6Address(group))) == Outcome()
        assert (listeners.deadline_s, listeners.counters) == (None, {})

    def test_sources_that_cannot_send_are_left_out(self) -> None:
        listeners = Listeners()
        wrong = (GROUP, IPv6Address("::"))
        assert listeners.report(0.0, PORT, report(IS_IN, *wrong, SOURCE)).joined == [MEMBER]
        assert listeners.counters == {"source-not-unicast": 2}

    def test_a_port_may_be_refused_a_group(self) -> None:
        listeners = Listeners(permits=lambda port, group: (port, group) != (PORT, GROUP))
        assert listeners.report(0.0, PORT, report(IS_IN, SOURCE)) == Outcome()
        assert listeners.report(0.0, OTHER, report(IS_IN, SOURCE)).joined == [
            Membership(OTHER, GROUP, SOURCE)
        ]
        assert listeners.counters == {"not-permitted": 1}


class TestSourceSpecificRange:
    @pytest.mark.parametrize("kind", [IS_EX, TO_EX])
    def test_exclude_records_are_ignored(self, kind: RecordType) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(kind)) == Outcome()
        listeners.report(1.0, PORT, report(IS_IN, SOURCE))
        assert listeners.report(2.0, PORT, report(kind)) == Outcome()
        assert listeners.members == {MEMBER}
        assert listeners.counters == {"exclude-in-source-specific-range": 2}

    @pytest.mark.parametrize("kind", [IS_EX, TO_IN])
    def test_version_1_is_ignored(self, kind: RecordType) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        assert listeners.report(1.0, PORT, report(kind, version=1)) == Outcome()
        assert listeners.counters == {"version-1-in-source-specific-range": 1}


class TestVersion1:
    def test_a_report_is_a_listener_to_any_source_and_a_done_its_end(self) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(IS_EX, group=ASM, version=1)).joined == [ANY]
        done = report(TO_IN, group=ASM, version=1)
        assert listeners.report(5.0, PORT, done).queries == [specific(ASM)]
        listeners.tick(6.0)
        assert listeners.tick(7.0).left == [ANY]

    def test_blocks_and_excluded_sources_are_ignored_while_a_host_of_version_1_is_there(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(IS_EX, group=ASM, version=1))
        assert listeners.report(1.0, PORT, report(BLOCK, SOURCE, group=ASM)) == Outcome()
        assert listeners.report(2.0, PORT, report(TO_EX, SOURCE, group=ASM)) == Outcome()
        assert listeners.blocked == frozenset()
        # 260 s after its last report the host of version 1 counts as gone.
        assert listeners.report(260.0, PORT, report(BLOCK, SOURCE, group=ASM)).queries == [
            specific(ASM, SOURCE)
        ]

    def test_a_done_for_a_group_that_nobody_listens_to_is_nothing(self) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(TO_IN, group=ASM, version=1)) == Outcome()
        assert listeners.deadline_s is None


class TestSolicitedNodes:
    def test_their_listeners_are_known_by_port_but_are_no_members(self) -> None:
        listeners = Listeners()
        for port in (OTHER, PORT):
            assert listeners.report(0.0, port, report(TO_EX, group=SOLICITED)) == Outcome()
        assert listeners.solicited_node_listeners(SOLICITED) == (PORT, OTHER)
        assert listeners.members == frozenset()
        listeners.report(1.0, PORT, report(TO_IN, group=SOLICITED))
        listeners.tick(2.0)
        listeners.tick(3.0)
        assert listeners.solicited_node_listeners(SOLICITED) == (OTHER,)
        listeners.port_down(OTHER)
        assert listeners.solicited_node_listeners(SOLICITED) == ()

    def test_they_have_a_limit_of_their_own(self) -> None:
        listeners = Listeners()
        for number in range(MAX_SOLICITED_NODES_PER_PORT + 5):
            group = IPv6Address(int(SOLICITED) + number)
            listeners.report(0.0, PORT, report(IS_EX, group=group))
        assert listeners.counters == {"too-many-groups": 5}
        assert listeners.report(0.0, PORT, report(IS_IN, SOURCE)).joined == [MEMBER]


class TestLimits:
    def test_a_port_cannot_fill_the_memory(self) -> None:
        listeners = Listeners()
        for index in range(MAX_GROUPS_PER_PORT + 10):
            listeners.report(0.0, PORT, report(IS_IN, SOURCE, group=IPv6Address(int(GROUP) + index)))
        many = [IPv6Address(int(SOURCE) + index) for index in range(1000)]
        listeners.report(0.0, OTHER, report(ALLOW, *many))
        assert len([member for member in listeners.members if member.port == PORT]) == MAX_GROUPS_PER_PORT
        assert len([member for member in listeners.members if member.port == OTHER]) == 64
        assert listeners.counters == {"too-many-groups": 10, "too-many-sources": 936}

    def test_the_next_deadline_does_not_take_longer_with_many_memberships(self) -> None:
        listeners = Listeners()
        for number in range(500):
            for index in range(20):
                group = IPv6Address(int(GROUP) + index)
                listeners.report(float(number), PortId("a1", number), report(IS_IN, SOURCE, group=group))
        started_s = time.process_time()
        for _ in range(10_000):
            assert listeners.deadline_s == 270.0
        assert time.process_time() - started_s < 1.0


class TestMessages:
    def test_what_the_linux_kernel_sends_is_understood(self) -> None:
        listeners = Listeners()
        joined = Membership(PORT, captured.GROUP, captured.SOURCE)
        steps = [
            (captured.LINUX_DURING_DAD, [], []),
            (captured.LINUX_JOINS_A_SOURCE, [joined], []),
            (captured.LINUX_JOINS, [Membership(PORT, captured.ASM_GROUP, None)], []),
            (captured.LINUX_ANSWERS_A_GENERAL_QUERY, [], []),
            (
                captured.LINUX_LEAVES,
                [],
                [specific(captured.ASM_GROUP), specific(captured.ASM_GROUP, captured.SOURCE)],
            ),
            (captured.LINUX_LEAVES_A_SOURCE, [], [specific(captured.GROUP, captured.SOURCE)]),
            (captured.LINUX_ANSWERS_FOR_A_SOURCE, [], []),
        ]
        for data, members, queries in steps:
            outcome = listeners.message(0.0, PORT, parse_frame(data))
            assert (outcome.joined, outcome.queries) == (members, queries)
        listeners.tick(1.0)
        listeners.tick(2.0)
        assert listeners.members == {joined}
        assert listeners.solicited_node_listeners(captured.SOLICITED) == (PORT,)
        assert listeners.counters == {"source-not-link-local": 1}

    def test_what_is_not_valid_is_counted_by_reason_and_changes_nothing(self) -> None:
        listeners = Listeners()
        good = frame(report(IS_IN, SOURCE))
        wrong = {
            "hop-limit": Frame(*(getattr(good, name) for name in Frame.__slots__[:4]), 64, *rest(good)),
            "checksum": Frame(*(getattr(good, name) for name in Frame.__slots__[:6]), b"\x8f" * 24, True),
            "source-not-link-local": frame(report(IS_IN, SOURCE), IPv6Address("::")),
        }
        for reason, broken in wrong.items():
            assert listeners.message(0.0, PORT, broken) == Outcome(), reason
        assert listeners.counters == dict.fromkeys(wrong, 1)
        assert listeners.message(0.0, PORT, good).joined == [MEMBER]

    def test_a_query_in_a_frame_counts_with_its_sender(self) -> None:
        listeners = Listeners(OWN)
        assert listeners.message(0.0, PORT, frame(Query(10_000), LOWER)) == Outcome()
        assert not listeners.is_querier(PORT)


def rest(good: Frame) -> tuple[int, bytes, bool]:
    return good.protocol, good.payload, good.router_alert


class TestQueriers:
    def test_a_port_that_comes_up_is_asked_at_once_and_then_on_schedule(self) -> None:
        listeners = Listeners()
        assert listeners.port_up(0.0, PORT).queries == [(PORT, Query(100))]
        moments = []
        for _ in range(3):
            assert listeners.deadline_s is not None
            moments.append(listeners.deadline_s)
            assert listeners.tick(listeners.deadline_s).queries == [(PORT, Query(10_000))]
        assert moments == [31.25, 156.25, 281.25]
        listeners.port_down(PORT)
        assert listeners.deadline_s is None

    def test_a_port_may_be_given_longer_to_answer(self) -> None:
        assert Listeners().port_up(0.0, PORT, 10.0).queries == [(PORT, Query(10_000))]

    def test_a_router_with_a_lower_address_asks_instead(self) -> None:
        listeners = Listeners(OWN)
        listeners.port_up(0.0, PORT)
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        assert listeners.query(1.0, PORT, LOWER, Query(10_000)) == Outcome()
        assert not listeners.is_querier(PORT)
        # No general query, and none for the leaver, whose timer waits for the querier to ask.
        assert listeners.report(2.0, PORT, report(BLOCK, SOURCE)) == Outcome()
        assert listeners.deadline_s == 256.0
        assert listeners.query(3.0, PORT, LOWER, Query(1000, GROUP, (SOURCE,))) == Outcome()
        assert listeners.deadline_s == 5.0
        assert listeners.tick(5.0).left == [MEMBER]
        assert listeners.tick(258.0).queries == [(PORT, Query(10_000))]
        assert listeners.is_querier(PORT)

    def test_pending_queries_are_given_up_when_another_router_asks(self) -> None:
        listeners = Listeners(OWN)
        listeners.report(0.0, PORT, report(IS_EX, group=ASM))
        assert listeners.report(1.0, PORT, report(TO_IN, group=ASM)).queries == [specific(ASM)]
        listeners.query(1.5, PORT, LOWER, Query(10_000))
        assert listeners.tick(2.0) == Outcome()
        assert listeners.tick(3.0) == Outcome(left=[ANY])

    def test_a_query_with_the_s_flag_lowers_no_timer_but_still_elects(self) -> None:
        listeners = Listeners(OWN)
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        listeners.query(1.0, PORT, LOWER, Query(1000, GROUP, (SOURCE,), suppress=True))
        assert not listeners.is_querier(PORT)
        assert listeners.tick(269.9).left == []

    def test_the_timers_of_the_querier_hold(self) -> None:
        listeners = Listeners(OWN)
        listeners.query(0.0, PORT, LOWER, Query(10_000, robustness=3, interval_s=20))
        listeners.report(1.0, PORT, report(IS_IN, SOURCE))
        assert listeners.deadline_s == 3 * 20 + 5
        listeners.query(50.0, PORT, LOWER, Query(10_000, robustness=3, interval_s=20))
        assert listeners.deadline_s == 1 + 3 * 20 + 2 * 10

    def test_a_router_with_a_higher_address_loses_but_its_queries_count(self) -> None:
        listeners = Listeners(OWN)
        listeners.report(0.0, PORT, report(IS_EX, group=ASM))
        listeners.query(1.0, PORT, HIGHER, Query(1000, ASM))
        assert listeners.is_querier(PORT)
        assert listeners.tick(3.0).left == [ANY]

    def test_no_user_becomes_the_querier(self) -> None:
        listeners = Listeners(OWN, user_ports={PORT})
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        listeners.query(1.0, PORT, LOWER, Query(1000, GROUP, (SOURCE,)))
        assert listeners.is_querier(PORT)
        assert listeners.deadline_s == 270.0
        assert listeners.counters == {"query-from-user": 1}

    def test_a_query_from_our_own_address_and_one_of_version_1_are_counted(self) -> None:
        listeners = Listeners(OWN)
        listeners.query(0.0, PORT, OWN, Query(10_000))
        assert listeners.is_querier(PORT)
        listeners.query(0.0, PORT, LOWER, Query(10_000, robustness=0, interval_s=0, version=1))
        assert not listeners.is_querier(PORT)
        assert listeners.counters == {"query-from-own-address": 1, "query-of-version-1": 1}

    def test_ports_do_not_concern_each_other(self) -> None:
        listeners = Listeners(OWN)
        listeners.query(0.0, PORT, LOWER, Query(10_000))
        assert (listeners.is_querier(PORT), listeners.is_querier(OTHER)) == (False, True)


class TestPorts:
    def test_a_port_that_goes_down_takes_its_listeners_along(self) -> None:
        listeners = Listeners()
        for port in (PORT, OTHER):
            listeners.report(0.0, port, report(IS_IN, SOURCE))
        assert listeners.port_down(PORT) == Outcome(left=[MEMBER])
        assert listeners.members == {Membership(OTHER, GROUP, SOURCE)}
        assert listeners.port_down(PORT) == Outcome()

    def test_nothing_ages_while_a_switch_is_out_of_reach(self) -> None:
        listeners = Listeners()
        listeners.port_up(0.0, PORT)
        listeners.report(0.0, PORT, report(IS_IN, SOURCE))
        listeners.report(1.0, PORT, report(BLOCK, SOURCE))
        listeners.pause(PORT)
        assert listeners.deadline_s is None
        assert listeners.tick(1000.0) == Outcome()
        assert listeners.members == {MEMBER}
        assert listeners.port_up(1000.0, PORT) == Outcome(queries=[(PORT, Query(100))])
        listeners.tick(1031.25)
        listeners.tick(1156.25)
        assert listeners.deadline_s == 1270.0
        assert listeners.tick(1270.0).left == [MEMBER]

    def test_what_is_restored_counts_as_just_reported(self) -> None:
        listeners = Listeners()
        both = [ANY, MEMBER]
        outcome = listeners.restore(0.0, reversed(both))
        assert set(outcome.joined) == set(both)
        assert outcome.queries == []
        assert listeners.members == set(both)
        assert listeners.deadline_s == 270.0
        assert set(listeners.tick(270.0).left) == set(both)

    def test_restoring_a_group_with_a_named_and_with_any_source_listens_to_any(self) -> None:
        listeners = Listeners()
        listeners.restore(0.0, [Membership(PORT, ASM, SOURCE), ANY])
        assert listeners.members == {ANY}

    def test_the_same_reports_in_another_order_of_sources_give_the_same_outcome(self) -> None:
        several = [IPv6Address(int(SOURCE) + number) for number in (3, 1, 2)]
        expected = Listeners().report(0.0, PORT, report(IS_IN, *sorted(several)))
        assert Listeners().report(0.0, PORT, report(IS_IN, *several)) == expected


def test_general_queries_ask_about_no_group() -> None:
    ((_, query),) = Listeners().port_up(0.0, PORT).queries
    assert (query.group, query.sources) == (ANY_GROUP, ())
