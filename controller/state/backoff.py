"""When to plan after the network has changed: the SPF back-off delay algorithm of RFC 8405.

One failure is acted on at once, with both ends of the link in it; many in a row are gathered, the longer
the storm lasts the more of them at a time.
"""

from __future__ import annotations

from enum import Enum

INITIAL_DELAY_S = 0.001
"""Both ends of a link report its failure within this time."""
SHORT_DELAY_S = 0.02
LONG_DELAY_S = 0.5
TIME_TO_LEARN_S = 0.2
HOLD_DOWN_S = 2.0
"""RFC 8405 section 5 with shorter times than an IGP has: one controller decides, so nothing must converge."""


class Phase(Enum):
    """The states of RFC 8405 section 5.1."""

    QUIET = "quiet"
    SHORT_WAIT = "short-wait"
    LONG_WAIT = "long-wait"


class Backoff:
    """Tells when a computation is due; every method takes the time in seconds."""

    def __init__(self) -> None:
        self.phase = Phase.QUIET
        self._due_s: float | None = None
        self._learnt_s: float | None = None
        self._calm_s: float | None = None

    @property
    def deadline_s(self) -> float | None:
        """When a computation is due, None when nothing has happened."""
        return self._due_s

    def event(self, now_s: float) -> None:
        """The network has changed (RFC 8405 section 5.3, transitions 1, 2 and 3)."""
        self._pass(now_s)
        delay_s = {
            Phase.QUIET: INITIAL_DELAY_S,
            Phase.SHORT_WAIT: SHORT_DELAY_S,
            Phase.LONG_WAIT: LONG_DELAY_S,
        }[self.phase]
        if self._due_s is None:
            self._due_s = now_s + delay_s
        self._calm_s = now_s + HOLD_DOWN_S
        if self.phase is Phase.QUIET:
            self.phase = Phase.SHORT_WAIT
            self._learnt_s = now_s + TIME_TO_LEARN_S

    def take(self, now_s: float) -> bool:
        """Whether a computation is due now; it counts as done."""
        self._pass(now_s)
        if self._due_s is None or self._due_s > now_s:
            return False
        self._due_s = None
        return True

    def _pass(self, now_s: float) -> None:
        """The timers that have run out meanwhile (transitions 4, 5 and 6)."""
        if self.phase is Phase.SHORT_WAIT and self._learnt_s is not None and self._learnt_s <= now_s:
            self.phase = Phase.LONG_WAIT
        if self._calm_s is not None and self._calm_s <= now_s:
            self.phase = Phase.QUIET
            self._learnt_s = self._calm_s = None
