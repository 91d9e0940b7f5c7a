"""What is to be done when, for machines that take the time as an argument."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

MIN_ADVERTISEMENT_INTERVAL_S = 200.0
MAX_ADVERTISEMENT_INTERVAL_S = 600.0
MAX_INITIAL_INTERVAL_S = 16.0
INITIAL_ADVERTISEMENTS = 3
"""RFC 4861 sections 6.2.1 and 10."""


class Duty(NamedTuple):
    """A repeated task: `kind` of work for one switch, `done` times so far."""

    kind: str
    switch: str
    done: int = 0


class Agenda:
    """Duties by the time they are due."""

    def __init__(self) -> None:
        self._due_s: dict[Duty, float] = {}

    @property
    def deadline_s(self) -> float | None:
        """When the next duty is due, or None."""
        return min(self._due_s.values(), default=None)

    def add(self, due_s: float, duty: Duty) -> None:
        """Do this then."""
        self._due_s[duty] = due_s

    def cancel(self, switch: str) -> None:
        """Forget everything about a switch."""
        self._due_s = {duty: due_s for duty, due_s in self._due_s.items() if duty.switch != switch}

    def pop_due(self, now_s: float) -> list[Duty]:
        """Take out what is due, in the order of time and then of name."""
        due = sorted((due_s, duty) for duty, due_s in self._due_s.items() if due_s <= now_s)
        for _, duty in due:
            del self._due_s[duty]
        return [duty for _, duty in due]


def advertisement_interval_s(seed: int, switch: str, count: int) -> float:
    """How long after its `count`-th advertisement a router sends the next (RFC 4861 section 6.2.4);
    random, but the same for the same seed."""
    interval_s = Random(f"ra:{seed}:{switch}:{count}").uniform(
        MIN_ADVERTISEMENT_INTERVAL_S, MAX_ADVERTISEMENT_INTERVAL_S
    )
    return min(interval_s, MAX_INITIAL_INTERVAL_S) if count < INITIAL_ADVERTISEMENTS else interval_s
