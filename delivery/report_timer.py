"""When a receiver asks for repair: after a fixed and a random back-off (ETSI TS 103 769, 10.2.3.12), and
ever more rarely while nothing comes of it."""

from __future__ import annotations

import random

_MOST_PATIENCE = 64


class ReportTimer:
    """Times are seconds of one clock."""

    def __init__(self, seed: int, fixed_s: float, random_s: float, timeout_s: float) -> None:
        self.fixed_s = fixed_s
        self.at: float | None = None
        """When the next report is due; None while there is no reason for one."""
        self.patience = 1
        """How many reception timeouts an unanswered report waits for before it is repeated."""
        self._random = random.Random(seed)
        self._random_s, self._timeout_s = random_s, timeout_s

    def start(self, now: float) -> None:
        """There is a reason to report; the earliest counts."""
        at = now + self.fixed_s + self._random.uniform(0, self._random_s)
        if self.at is None or at < self.at:
            self.at = at

    def is_due(self, now: float) -> bool:
        """Whether it is time; then the timer is off."""
        if self.at is None or now < self.at:
            return False
        self.at = None
        return True

    def repeat(self, now: float) -> None:
        """A report was made: the next one only if nothing comes of it, with ever more patience."""
        self.at = now + self._timeout_s * self.patience + self._random.uniform(0, self._random_s)
        self.patience = min(2 * self.patience, _MOST_PATIENCE)

    def wait_until(self, at: float) -> None:
        """It was too early to report; look again then."""
        self.at = at + self._random.uniform(0, self._random_s)
