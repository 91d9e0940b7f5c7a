"""The origin's side of repair: one answer per object for the reports of all edges (RFC 5740 manner).

Reports of one object are collected for a window and the largest counts, because a new symbol serves every
edge. Reports that crossed the answer on the way are recognised by the hold-off and not answered twice.
"""

from __future__ import annotations

import math

LARGEST_PLAUSIBLE_LOSS = 0.3
"""An edge that misses more than this share of what was sent was absent: its count is no measure of loss."""

STALE_S = 1.0
"""A report that a lossy path has delayed (a retransmission takes TCP 0.2 s, a connection 1 s) asks for about
as much as the answer that has gone out meanwhile; one that has seen the answer asks for far less."""


class RepairDesk:
    """Collects requests per TOI and says which are due."""

    def __init__(self, window_s: float, hold_off_s: float) -> None:
        self._window_s = window_s
        self._hold_off_s = hold_off_s
        self._open: dict[int, tuple[float, int]] = {}
        self._answered: dict[int, tuple[float, int]] = {}

    def request(self, toi: int, symbols: int, now: float) -> None:
        """An edge lacks `symbols` of object `toi`."""
        held_until, answer = self._answered.get(toi, (-math.inf, 0))
        if now < held_until or (now < held_until + STALE_S and 2 * symbols > answer):
            symbols -= answer
        if symbols <= 0:
            return
        closes_at, most = self._open.get(toi, (now + self._window_s, 0))
        self._open[toi] = (closes_at, max(most, symbols))

    def take(self, now: float) -> tuple[int, int] | None:
        """The TOI and symbol count of a window that has closed; the longest closed first."""
        due = min(((closes_at, toi) for toi, (closes_at, _) in self._open.items()), default=None)
        if due is None or due[0] > now:
            return None
        return due[1], self._open.pop(due[1])[1]

    def answering(self, toi: int, symbols: int) -> None:
        """The answer to `toi` begins to go out: what is asked meanwhile is already under way."""
        self._answered[toi] = (math.inf, symbols)

    def answered(self, toi: int, started_at: float, now: float) -> None:
        """The answer has gone out; reports may cross it until the hold-off from its start has passed."""
        _, symbols = self._answered[toi]
        self._answered[toi] = (max(now, started_at + self._hold_off_s), symbols)

    def next_deadline(self) -> float | None:
        """When the next window closes."""
        return min((closes_at for closes_at, _ in self._open.values()), default=None)


class LossEstimate:
    """How many repair symbols to send for a number missing, from what became of earlier symbols."""

    def __init__(self) -> None:
        self._loss = 0.0

    def symbols_to_send(self, missing: int, source_symbols: int, sent: int) -> int:
        """Enough that the edge that misses most will probably have what it needs, at the loss it sees.

        `sent` counts all symbols of the object sent so far. The expectation is topped up by one standard
        deviation of the losses among the repair symbols, which spares most edges another round.
        """
        if sent > 0:
            loss = 1 - (source_symbols - missing) / sent
            if 0 <= loss <= LARGEST_PLAUSIBLE_LOSS:
                self._loss = loss
        needed = missing / (1 - self._loss)
        return math.ceil(needed + math.sqrt(needed * self._loss))
