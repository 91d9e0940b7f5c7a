"""The token bucket and the repair desk by themselves."""

from __future__ import annotations

import math

import pytest

from delivery.pacing import Pacer, frame_bytes
from delivery.repair import PUT_OFF_S, QUIET_S, STALE_S, LossEstimate, RepairDesk


def test_frames_are_counted_whole() -> None:
    assert frame_bytes(1416) == 1416 + 8 + 40 + 14


def test_late_caller_catches_up_four_ticks_at_most() -> None:
    pacer = Pacer(rate_mbps=8, tick_s=0.01)
    pacer.refill(0.0)
    pacer.refill(100.0)
    frames = 0
    while pacer.may_send:
        pacer.spend(938)
        frames += 1
    assert frames == 40
    assert pacer.ready_at(100.0) == pytest.approx(100.01)
    pacer.refill(pacer.ready_at(100.0))
    assert pacer.may_send


@pytest.mark.parametrize(("rate", "tick"), [(0, 1), (-1, 1), (1, 0)])
def test_impossible_rates_are_refused(rate: float, tick: float) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        Pacer(rate, tick)


def take(
    desk: RepairDesk, now: float, *, source_symbols: int = 1000, idle: bool = False
) -> tuple[int, int] | None:
    return desk.take(now, lambda _toi: source_symbols, lambda: idle)


def test_window_takes_the_largest_count_of_all_edges() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.hear("another")
    for now, count in ((1.0, 3), (1.03, 9), (1.06, 5), (1.09, 4)):
        desk.request(7, count, now)
    desk.request(8, 1, 1.085)
    assert desk.next_deadline() == 1.1
    assert take(desk, 1.09) is None
    assert take(desk, 1.2) == (7, 9)
    assert take(desk, 1.2) == (8, 1)
    assert take(desk, 1.2) is None
    assert desk.next_deadline() is None


def test_reports_that_crossed_the_answer_are_not_answered_again() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.answering(7, 10)
    desk.request(7, 9, 2.0)
    assert desk.next_deadline() is None
    desk.request(7, 14, 2.0)
    assert take(desk, 2.1) == (7, 4)
    desk.answered(7, started_at=2.0, now=2.01)
    desk.request(7, 10, 2.04)
    assert desk.next_deadline() is None
    desk.request(7, 5, 2.05)
    assert take(desk, 2.15) == (7, 5)


def test_a_report_that_a_lossy_path_delayed_is_told_from_one_that_saw_the_answer() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.answering(7, 100)
    desk.answered(7, started_at=2.0, now=2.1)
    desk.request(7, 90, 2.6)
    assert desk.next_deadline() is None
    desk.request(7, 8, 2.6)
    assert take(desk, 2.7) == (7, 8)
    desk.request(7, 90, 2.1 + STALE_S)
    assert take(desk, 4.0) == (7, 90)


def test_answers_make_up_for_their_own_loss() -> None:
    estimate = LossEstimate()
    assert estimate.symbols_to_send(1, 1000, 1000) == 2
    count = LossEstimate().symbols_to_send(100, 1000, 1000)
    assert 100 / 0.9 < count < 100 / 0.9 + 5


def test_absence_is_not_taken_for_loss() -> None:
    estimate = LossEstimate()
    assert estimate.symbols_to_send(1000, 1000, 1000) == 1000
    assert estimate.symbols_to_send(500, 1000, 0) == 500


def test_a_window_ends_when_nobody_has_asked_for_a_while() -> None:
    desk = RepairDesk(window_s=0.3, hold_off_s=0.05)
    desk.hear("another")
    desk.request(7, 3, 1.0)
    desk.request(7, 5, 1.05)
    assert desk.next_deadline() == pytest.approx(1.05 + QUIET_S)
    assert take(desk, 1.05 + QUIET_S) == (7, 5)
    desk.request(8, 3, 2.0, "another")
    desk.request(8, 4, 2.01)
    assert desk.next_deadline() == 2.01, "everybody has asked"


def desk_of_five() -> RepairDesk:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    for edge in "abcde":
        desk.hear(edge)
    return desk


def test_a_few_that_were_away_wait_until_nothing_else_is_sent() -> None:
    desk = desk_of_five()
    desk.request(7, 1000, 1.0, "a")
    desk.request(7, 50, 1.0, "b")
    desk.request(7, 900, 1.0, "c")
    assert take(desk, 1.2) == (7, 50)
    assert take(desk, 1.2) is None
    assert desk.next_deadline() == -math.inf
    assert take(desk, 1.3, idle=True) == (7, 1000)
    assert desk.next_deadline() is None


def test_one_alone_that_was_away_is_left_to_unicast() -> None:
    desk = desk_of_five()
    desk.request(7, 1000, 1.0, "a")
    assert take(desk, 1.2, idle=True) is None
    assert desk.next_deadline() is None
    desk.request(7, 1000, 1.2 + PUT_OFF_S, "b")
    assert take(desk, 1.4 + PUT_OFF_S, idle=True) is None, "the first has fetched it by now"
    desk.request(7, 800, 1.5 + PUT_OFF_S, "c")
    assert take(desk, 1.7 + PUT_OFF_S, idle=True) == (7, 1000)


def test_what_most_edges_miss_is_repeated_at_once() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    for edge in ("a", "b", "c"):
        desk.hear(edge)
    desk.request(7, 1000, 1.0, "a")
    desk.request(7, 900, 1.0, "b")
    assert take(desk, 1.2) == (7, 1000)


def test_what_is_not_sent_any_more_is_not_answered() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.hear("b")
    desk.hear("c")
    desk.request(7, 1000, 1.0, "a")
    assert take(desk, 1.2) is None
    desk.request(7, 5, 1.2, "b")
    desk.forget([7])
    assert desk.next_deadline() is None
