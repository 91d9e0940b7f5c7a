"""How often a peer may do what costs more to answer than to send. Pure; time is an argument."""

from __future__ import annotations


class Allowance:
    """A token bucket: `burst` times at once, and `per_s` times a second in the long run."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._since_s = float(burst), 0.0

    def take(self, now_s: float) -> bool:
        """Whether it is within the allowance to do it once more at `now_s` (monotonic seconds)."""
        gained = max(0.0, now_s - self._since_s) * self._per_s
        self._left, self._since_s = min(float(self._burst), self._left + gained), max(now_s, self._since_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True
