"""The token bucket and the repair desk by themselves."""

from __future__ import annotations

import pytest

from delivery.pacing import Pacer, frame_bytes
from delivery.repair import STALE_S, LossEstimate, RepairDesk


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


def test_window_takes_the_largest_count_of_all_edges() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    for now, count in ((1.0, 3), (1.02, 9), (1.09, 5)):
        desk.request(7, count, now)
    desk.request(8, 1, 1.05)
    assert desk.next_deadline() == 1.1
    assert desk.take(1.09) is None
    assert desk.take(1.2) == (7, 9)
    assert desk.take(1.2) == (8, 1)
    assert desk.take(1.2) is None
    assert desk.next_deadline() is None


def test_reports_that_crossed_the_answer_are_not_answered_again() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.answering(7, 10)
    desk.request(7, 9, 2.0)
    assert desk.next_deadline() is None
    desk.request(7, 14, 2.0)
    assert desk.take(2.1) == (7, 4)
    desk.answered(7, started_at=2.0, now=2.01)
    desk.request(7, 10, 2.04)
    assert desk.next_deadline() is None
    desk.request(7, 5, 2.05)
    assert desk.take(2.15) == (7, 5)


def test_a_report_that_a_lossy_path_delayed_is_told_from_one_that_saw_the_answer() -> None:
    desk = RepairDesk(window_s=0.1, hold_off_s=0.05)
    desk.answering(7, 100)
    desk.answered(7, started_at=2.0, now=2.1)
    desk.request(7, 90, 2.6)
    assert desk.next_deadline() is None
    desk.request(7, 8, 2.6)
    assert desk.take(2.7) == (7, 8)
    desk.request(7, 90, 2.1 + STALE_S)
    assert desk.take(4.0) == (7, 90)


def test_answers_make_up_for_their_own_loss() -> None:
    estimate = LossEstimate()
    assert estimate.symbols_to_send(1, 1000, 1000) == 2
    count = LossEstimate().symbols_to_send(100, 1000, 1000)
    assert 100 / 0.9 < count < 100 / 0.9 + 5


def test_absence_is_not_taken_for_loss() -> None:
    estimate = LossEstimate()
    assert estimate.symbols_to_send(1000, 1000, 1000) == 1000
    assert estimate.symbols_to_send(500, 1000, 0) == 500
