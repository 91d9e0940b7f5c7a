"""RFC 8405: one failure is acted on at once, a storm is gathered."""

from __future__ import annotations

from controller.state.backoff import (
    HOLD_DOWN_S,
    INITIAL_DELAY_S,
    LONG_DELAY_S,
    SHORT_DELAY_S,
    TIME_TO_LEARN_S,
    Backoff,
    Phase,
)


def test_a_single_event_is_acted_on_after_the_initial_delay() -> None:
    backoff = Backoff()
    assert backoff.deadline_s is None
    backoff.event(10.0)
    assert backoff.deadline_s == 10.0 + INITIAL_DELAY_S
    assert not backoff.take(10.0)
    assert backoff.take(10.0 + INITIAL_DELAY_S)
    assert backoff.deadline_s is None
    assert not backoff.take(11.0)


def test_events_before_the_computation_share_it() -> None:
    backoff = Backoff()
    backoff.event(0.0)
    backoff.event(INITIAL_DELAY_S / 2)
    assert backoff.deadline_s == INITIAL_DELAY_S


def test_a_second_event_soon_after_waits_the_short_delay() -> None:
    backoff = Backoff()
    backoff.event(0.0)
    assert backoff.take(INITIAL_DELAY_S)
    backoff.event(0.05)
    assert backoff.phase is Phase.SHORT_WAIT
    assert backoff.deadline_s == 0.05 + SHORT_DELAY_S


def test_a_storm_waits_the_long_delay_until_it_is_over() -> None:
    backoff = Backoff()
    backoff.event(0.0)
    assert backoff.take(INITIAL_DELAY_S)
    late_s = TIME_TO_LEARN_S + 0.01
    backoff.event(late_s)
    assert backoff.phase is Phase.LONG_WAIT
    assert backoff.deadline_s == late_s + LONG_DELAY_S
    assert backoff.take(late_s + LONG_DELAY_S)
    calm_s = late_s + HOLD_DOWN_S
    backoff.event(calm_s)
    assert backoff.phase is Phase.SHORT_WAIT, "after the hold-down it was quiet, so this event is a first one"
    assert backoff.deadline_s == calm_s + INITIAL_DELAY_S
