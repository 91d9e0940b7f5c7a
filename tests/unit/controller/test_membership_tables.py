"""The tables of RFC 9777 section 7.4, row by row, and the timers and queries of one group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from ipaddress import IPv6Address

import pytest

from controller.state.filters import MAX_SOURCES_PER_GROUP, Filter
from controller.state.querier import Timing
from controller.wire.mld import Query, RecordType

GROUP = IPv6Address("ff0e::8000:1")
TIMING = Timing()
IS_IN, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK = RecordType
BUILT_S, NOW_S = 0.0, 100.0
OLD_S, NEW_S, SHORT_S = BUILT_S + 270, NOW_S + 270, NOW_S + 2


def source(number: int) -> IPv6Address:
    return IPv6Address(int(IPv6Address("2001:db8::")) + number)


def sources(numbers: Iterable[int]) -> tuple[IPv6Address, ...]:
    return tuple(source(number) for number in numbers)


def numbers(found: Iterable[IPv6Address]) -> set[int]:
    return {int(address) & 0xFFFF for address in found}


def apply(
    state: Filter, kind: RecordType, reported: Iterable[int] = (), now_s: float = NOW_S, *, asks: bool = True
) -> int:
    return state.record(now_s, kind, sources(reported), TIMING, asks)


def include_1_2() -> Filter:
    """INCLUDE ({1, 2})."""
    state = Filter(GROUP)
    apply(state, IS_IN, (1, 2), BUILT_S)
    return state


def exclude_12_34() -> Filter:
    """EXCLUDE ({1, 2}, {3, 4})."""
    state = include_1_2()
    apply(state, IS_EX, (1, 2, 3, 4), BUILT_S)
    return state


def last_moment_s(state: Filter, is_there: Callable[[Filter], bool]) -> float:
    """When something runs out."""
    candidates = sorted({SHORT_S, OLD_S, NEW_S})
    for moment_s in candidates:
        before, after = deepcopy(state), deepcopy(state)
        before.expire(moment_s - 0.001)
        after.expire(moment_s)
        if is_there(before) and not is_there(after):
            return moment_s
    raise AssertionError(f"not at {candidates}")


def timers(state: Filter) -> dict[int, float]:
    """When the timer of each source runs out."""
    return {
        int(address) & 0xFFFF: last_moment_s(state, lambda later, which=address: which in later.sources)
        for address in state.sources
    }


def filter_timer_s(state: Filter) -> float:
    return last_moment_s(state, lambda later: later.is_exclude)


def asked(state: Filter, now_s: float = NOW_S) -> list[set[int]]:
    """The sources that are asked for; none of them means the group."""
    return [numbers(query.sources) for query in state.queries(now_s, TIMING)]


@pytest.mark.parametrize(
    ("kind", "expected", "queries"),
    [
        (IS_IN, {1: OLD_S, 2: NEW_S, 5: NEW_S}, []),
        (ALLOW, {1: OLD_S, 2: NEW_S, 5: NEW_S}, []),
        (BLOCK, {1: OLD_S, 2: SHORT_S}, [{2}]),
        (TO_IN, {1: SHORT_S, 2: NEW_S, 5: NEW_S}, [{1}]),
    ],
)
def test_records_that_leave_the_include_mode_as_it_is(
    kind: RecordType, expected: dict[int, float], queries: list[set[int]]
) -> None:
    state = include_1_2()
    apply(state, kind, (2, 5))
    assert (timers(state), numbers(state.excluded), state.is_exclude) == (expected, set(), False)
    assert asked(state) == queries


@pytest.mark.parametrize(
    ("kind", "expected", "queries"), [(IS_EX, {2: OLD_S}, []), (TO_EX, {2: SHORT_S}, [{2}])]
)
def test_records_that_turn_include_into_exclude(
    kind: RecordType, expected: dict[int, float], queries: list[set[int]]
) -> None:
    state = include_1_2()
    apply(state, kind, (2, 5))
    assert (timers(state), numbers(state.excluded)) == (expected, {5})
    assert filter_timer_s(state) == NEW_S
    assert asked(state) == queries


@pytest.mark.parametrize(
    ("kind", "requested", "excluded", "filter_s", "queries"),
    [
        (IS_IN, {1: OLD_S, 2: NEW_S, 3: NEW_S, 5: NEW_S}, {4}, OLD_S, []),
        (ALLOW, {1: OLD_S, 2: NEW_S, 3: NEW_S, 5: NEW_S}, {4}, OLD_S, []),
        (IS_EX, {2: OLD_S, 5: NEW_S}, {3}, NEW_S, []),
        (TO_EX, {2: SHORT_S, 5: SHORT_S}, {3}, NEW_S, [{2, 5}]),
        (BLOCK, {1: OLD_S, 2: SHORT_S, 5: SHORT_S}, {3, 4}, OLD_S, [{2, 5}]),
        (TO_IN, {1: SHORT_S, 2: NEW_S, 3: NEW_S, 5: NEW_S}, {4}, SHORT_S, [set(), {1}]),
    ],
)
def test_records_in_exclude_mode(
    kind: RecordType,
    requested: dict[int, float],
    excluded: set[int],
    filter_s: float,
    queries: list[set[int]],
) -> None:
    state = exclude_12_34()
    apply(state, kind, (2, 3, 5))
    assert (timers(state), numbers(state.excluded)) == (requested, excluded)
    assert filter_timer_s(state) == filter_s
    assert asked(state) == queries


@pytest.mark.parametrize("kind", [BLOCK, TO_EX])
def test_a_source_that_is_blocked_anew_gets_what_is_left_of_the_filter_timer(kind: RecordType) -> None:
    # Only the querier asks, and with that lowers the timers.
    state = exclude_12_34()
    apply(state, kind, (5,), asks=False)
    assert timers(state)[5] == OLD_S
    assert asked(state) == []


def test_a_silent_source_in_exclude_mode_is_blocked_and_one_in_include_mode_forgotten() -> None:
    state = exclude_12_34()
    apply(state, BLOCK, (1,))
    state.expire(SHORT_S)
    assert (numbers(state.sources), numbers(state.excluded)) == ({2}, {1, 3, 4})
    state = include_1_2()
    apply(state, BLOCK, (1,))
    state.expire(SHORT_S)
    assert (numbers(state.sources), numbers(state.excluded)) == ({2}, set())


def test_when_the_filter_timer_runs_out_the_requested_list_is_the_include_list() -> None:
    state = exclude_12_34()
    apply(state, IS_IN, (2, 3))
    state.expire(OLD_S)
    assert (state.is_exclude, numbers(state.sources), state.excluded) == (False, {2, 3}, frozenset())
    state.expire(NEW_S)
    assert state.is_empty
    assert state.deadline_s == float("inf")


def test_without_a_requested_list_the_record_is_deleted_when_the_filter_timer_runs_out() -> None:
    state = Filter(GROUP)
    apply(state, IS_EX, (3,))
    assert state.deadline_s == NEW_S
    state.expire(NEW_S)
    assert state.is_empty


@pytest.mark.parametrize(("kind", "reported"), [(TO_IN, ()), (BLOCK, (1,)), (IS_IN, ()), (ALLOW, ())])
def test_records_that_name_nothing_new_create_no_state(kind: RecordType, reported: tuple[int, ...]) -> None:
    state = Filter(GROUP)
    apply(state, kind, reported)
    assert state.is_empty
    assert asked(state) == []


def test_queries_for_sources_are_sent_twice_a_second_apart() -> None:
    state = include_1_2()
    apply(state, BLOCK, (1,))
    first = Query(1000, GROUP, sources((1,)))
    assert state.queries(NOW_S, TIMING) == [first]
    assert state.queries(NOW_S + 0.9, TIMING) == []
    assert state.deadline_s == NOW_S + 1
    assert state.queries(NOW_S + 1, TIMING) == [first]
    assert state.queries(NOW_S + 2, TIMING) == []


def test_queries_for_the_group_are_sent_twice_a_second_apart() -> None:
    state = Filter(GROUP)
    apply(state, IS_EX, (), BUILT_S)
    apply(state, TO_IN)
    assert state.queries(NOW_S, TIMING) == [Query(1000, GROUP)]
    assert state.deadline_s == NOW_S + 1
    assert state.queries(NOW_S + 1, TIMING) == [Query(1000, GROUP)]
    assert state.queries(NOW_S + 2, TIMING) == []


def test_a_query_repeated_for_what_somebody_still_wants_suppresses_router_processing() -> None:
    state = include_1_2()
    apply(state, BLOCK, (1, 2))
    state.queries(NOW_S, TIMING)
    apply(state, IS_IN, (1,), NOW_S + 0.5)
    assert state.queries(NOW_S + 1, TIMING) == [
        Query(1000, GROUP, sources((1,)), suppress=True),
        Query(1000, GROUP, sources((2,))),
    ]
    state = Filter(GROUP)
    apply(state, IS_EX, (), BUILT_S)
    apply(state, TO_IN)
    state.queries(NOW_S, TIMING)
    apply(state, IS_EX, (), NOW_S + 0.5)
    assert state.queries(NOW_S + 1, TIMING) == [Query(1000, GROUP, suppress=True)]


def test_a_query_for_the_group_makes_one_for_confirmed_sources_needless() -> None:
    state = exclude_12_34()
    apply(state, TO_IN, (2,))
    assert asked(state) == [set(), {1}]
    apply(state, IS_IN, (1,), NOW_S + 0.5)
    assert asked(state, NOW_S + 1) == [set()]


def test_new_queries_are_merged_with_pending_ones() -> None:
    state = include_1_2()
    apply(state, BLOCK, (1,))
    assert asked(state) == [{1}]
    apply(state, BLOCK, (2,), NOW_S + 0.5)
    assert asked(state, NOW_S + 0.5) == [{1, 2}]
    assert asked(state, NOW_S + 1.5) == [{2}]
    assert asked(state, NOW_S + 2.5) == []


def test_a_host_that_says_again_that_it_leaves_neither_starts_over_nor_gains_time() -> None:
    state = include_1_2()
    apply(state, BLOCK, (1,))
    asked(state)
    apply(state, BLOCK, (1,), NOW_S + 0.5)
    assert asked(state, NOW_S + 0.5) == []
    assert timers(state)[1] == SHORT_S
    state = Filter(GROUP)
    apply(state, IS_EX, (), BUILT_S)
    apply(state, TO_IN)
    asked(state)
    apply(state, TO_IN, (), NOW_S + 0.5)
    assert asked(state, NOW_S + 0.5) == []
    assert filter_timer_s(state) == SHORT_S


def test_a_source_deleted_meanwhile_is_not_asked_for_again() -> None:
    state = include_1_2()
    apply(state, BLOCK, (1, 2))
    asked(state)
    apply(state, IS_EX, (2,), NOW_S + 0.5)
    assert asked(state, NOW_S + 1) == [{2}]


def test_a_query_of_another_router_lowers_the_timers() -> None:
    state = exclude_12_34()
    state.lower(NOW_S, sources((1, 3, 9)), TIMING)
    assert timers(state) == {1: SHORT_S, 2: OLD_S}
    assert filter_timer_s(state) == OLD_S
    state.lower(NOW_S, (), TIMING)
    assert filter_timer_s(state) == SHORT_S
    state.lower(NOW_S + 1, (), TIMING)
    assert filter_timer_s(state) == SHORT_S


def test_in_version_1_mode_blocks_and_the_sources_of_excludes_are_ignored() -> None:
    state = Filter(GROUP)
    state.version_1_report(NOW_S, TIMING)
    apply(state, IS_EX)
    apply(state, BLOCK, (1,))
    apply(state, TO_EX, (1,))
    assert (state.sources, state.excluded, asked(state)) == (frozenset(), frozenset(), [])
    assert state.is_version_1(NOW_S + 259.9)
    assert not state.is_version_1(NOW_S + 260)
    apply(state, TO_EX, (1,), NOW_S + 260)
    assert numbers(state.sources) == {1}


def test_so_many_sources_are_kept_and_no_more() -> None:
    most = range(1, MAX_SOURCES_PER_GROUP + 1)
    state = Filter(GROUP)
    assert apply(state, ALLOW, range(1, 1001)) == 1000 - MAX_SOURCES_PER_GROUP
    assert numbers(state.sources) == set(most)
    # Known ones still count, and sources of an exclude record replace what was there.
    assert apply(state, IS_IN, (1, 1, 2000), NOW_S + 1) == 1
    assert numbers(state.sources) == set(most)
    assert apply(state, BLOCK, (5000,), NOW_S + 1) == 0
    assert apply(state, IS_EX, range(3000, 3100), NOW_S + 1) == 100 - MAX_SOURCES_PER_GROUP
    assert numbers(state.excluded) == set(range(3000, 3000 + MAX_SOURCES_PER_GROUP))
    assert apply(state, BLOCK, (5000,), NOW_S + 1) == 1


def test_after_a_restart_everything_is_as_if_just_reported() -> None:
    state = exclude_12_34()
    apply(state, TO_IN, (3,), BUILT_S)
    state.restart(NOW_S, TIMING)
    assert timers(state) == {1: NEW_S, 2: NEW_S, 3: NEW_S}
    assert filter_timer_s(state) == NEW_S
    assert asked(state) == []
