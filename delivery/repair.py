"""The origin's side of repair: one answer per object for the reports of all edges (RFC 5740 manner).

Reports of one object are collected for a window and the largest counts, because a new symbol serves every
edge. Reports that crossed the answer on the way are recognised by the hold-off and not answered twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

LARGEST_PLAUSIBLE_LOSS = 0.3
"""An edge that misses more than this share of what was sent was absent: its count is no measure of loss."""

QUIET_S = 0.075
"""More than the random back-off of the receivers: after so long no more reports of the same loss come."""
_FEW_SYMBOLS = 8
"""So little costs nobody anything, whatever share of a small object it is."""

PUT_OFF_S = 5.0
"""An edge that has asked so long ago has fetched what it lacked by other means."""
STALE_S = 1.0
"""A report that a lossy path has delayed (a retransmission takes TCP 0.2 s, a connection 1 s) asks for about
as much as the answer that has gone out meanwhile; one that has seen the answer asks for far less."""


class RepairDesk:
    """Collects requests per TOI and says which are due.

    A window ends early when every edge heard of has asked, or none for `QUIET_S`. Edges that miss far more
    than a lossy path explains were away, or sit behind a link too slow for the session. Repeating an object
    for a few of them would cost all others time: unless half of the edges heard of need it, it waits until
    nothing else is to be sent, and then for at least two edges that need it; one alone fetches it by unicast
    for less.
    """

    def __init__(self, window_s: float, hold_off_s: float) -> None:
        self._window_s = window_s
        self._hold_off_s = hold_off_s
        self._open: dict[int, _Window] = {}
        self._put_off: dict[int, dict[str, tuple[int, float]]] = {}
        self._answered: dict[int, tuple[float, int]] = {}
        self._edges: set[str] = set()

    def hear(self, edge: str) -> None:
        """An edge is there, whether or not it lacks anything."""
        self._edges.add(edge)

    def request(self, toi: int, symbols: int, now: float, edge: str = "") -> None:
        """An edge lacks `symbols` of object `toi`."""
        self._edges.add(edge)
        held_until, answer = self._answered.get(toi, (-math.inf, 0))
        if now < held_until or (now < held_until + STALE_S and 2 * symbols > answer):
            symbols -= answer
        if symbols <= 0:
            return
        window = self._open.setdefault(toi, _Window(now + self._window_s))
        window.asked_at = now
        window.counts[edge] = max(window.counts.get(edge, 0), symbols)

    def take(
        self, now: float, source_symbols: Callable[[int], int], is_idle: Callable[[], bool]
    ) -> tuple[int, int] | None:
        """The TOI and symbol count of a window that has closed and is to be answered; the longest closed
        first, and last, when the sender `is_idle`, what was put off. `source_symbols` tells an object's size.
        """
        while self._open:
            closes_at, toi = min((self._closes_at(window), toi) for toi, window in self._open.items())
            if closes_at > now:
                break
            counts = self._open.pop(toi).counts
            symbols = self._worth_answering(toi, counts, source_symbols(toi), now)
            if symbols:
                return toi, symbols
        return self._wanted_by_some(now) if is_idle() else None

    def forget(self, tois: Iterable[int]) -> None:
        """These objects are not sent any more."""
        for toi in tois:
            for table in (self._open, self._put_off, self._answered):
                table.pop(toi, None)

    def answering(self, toi: int, symbols: int) -> None:
        """The answer to `toi` begins to go out: what is asked meanwhile is already under way."""
        self._answered[toi] = (math.inf, symbols)

    def answered(self, toi: int, started_at: float, now: float) -> None:
        """The answer has gone out; reports may cross it until the hold-off from its start has passed."""
        if toi not in self._answered:  # forgotten while the answer went out
            return
        _, symbols = self._answered[toi]
        self._answered[toi] = (max(now, started_at + self._hold_off_s), symbols)

    def next_deadline(self) -> float | None:
        """When the next window closes; at once when only what was put off is left."""
        if any(len(wanted) > 1 for wanted in self._put_off.values()):
            return -math.inf
        return min(map(self._closes_at, self._open.values()), default=None)

    def _closes_at(self, window: _Window) -> float:
        if window.counts.keys() >= self._edges:
            return window.asked_at
        return min(window.ends_at, window.asked_at + QUIET_S)

    def _worth_answering(self, toi: int, counts: Mapping[str, int], source_symbols: int, now: float) -> int:
        plausible = max(_FEW_SYMBOLS, math.ceil(LARGEST_PLAUSIBLE_LOSS * source_symbols))
        absent = {edge: (count, now) for edge, count in counts.items() if count > plausible}
        if 2 * len(absent) >= len(self._edges):
            return max(counts.values())
        if absent:
            self._put_off.setdefault(toi, {}).update(absent)
        return max((count for count in counts.values() if count <= plausible), default=0)

    def _wanted_by_some(self, now: float) -> tuple[int, int] | None:
        """Of what was put off the first that two edges have asked for, by now perhaps in vain."""
        for toi, wanted in sorted(self._put_off.items()):
            still = {edge: ask for edge, ask in wanted.items() if now - ask[1] < PUT_OFF_S}
            if len(still) > 1:
                del self._put_off[toi]
                return toi, max(count for count, _ in still.values())
            if still:
                self._put_off[toi] = still
            else:
                del self._put_off[toi]
        return None


@dataclass(slots=True)
class _Window:
    ends_at: float
    asked_at: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


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
