from __future__ import annotations

import pytest

from controller.state.deadlines import Deadlines


def test_what_is_due_comes_out_in_the_order_of_time_and_then_of_age() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key, due_s in (("late", 3.0), ("second", 1.0), ("third", 1.0), ("first", 0.5)):
        deadlines.set(key, due_s)
    assert deadlines.next_s == 0.5
    assert deadlines.pop_due(2.0) == ["first", "second", "third"]
    assert (deadlines.next_s, len(deadlines), "late" in deadlines, deadlines["late"]) == (3.0, 1, True, 3.0)


def test_a_key_is_due_once_at_the_time_set_last() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for due_s in (1.0, 5.0, 2.0):
        deadlines.set("key", due_s)
    assert deadlines.next_s == 2.0
    assert deadlines.pop_due(10.0) == ["key"]
    assert deadlines.next_s is None


def test_what_is_cancelled_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("key", 1.0)
    deadlines.cancel("key")
    deadlines.cancel("unknown")
    assert (deadlines.next_s, deadlines.pop_due(9.0)) == (None, [])
    with pytest.raises(KeyError):
        deadlines["key"]


def test_moving_deadlines_without_end_does_not_fill_the_memory() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for step in range(100_000):
        deadlines.set(step % 10, float(step))
    assert len(deadlines._heap) < 200
    assert deadlines.pop_due(99_995.0) == [0, 1, 2, 3, 4, 5]
