"""What all connections of a web server share: who may be there, for how long, and answers at hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Protocol

from edge_node.connections import ConnectionLimits, Connections, Phase
from edge_node.quick import QuickAnswers

RETRY_AFTER_S = 2
"""When to come again: the gateway sends new users elsewhere within half of that."""


class Guest(Protocol):
    """A connection as its gate sees it."""

    def __hash__(self) -> int: ...

    def give_way(self) -> None:
        """Close now, for somebody else."""

    def turn_away(self) -> None:
        """Say that there is no room, and close."""

    def too_slow(self, phase: Phase) -> None:
        """Close, since this phase has lasted too long."""


class Gate:
    """Admits connections and ends those that take too long, by one timer. `edge` names the server in what it
    says; `quick` has answers at hand."""

    def __init__(
        self, edge: str, limits: ConnectionLimits | None = None, quick: QuickAnswers | None = None
    ) -> None:
        self.edge, self.quick = edge, quick
        self.connections: Connections[Guest] = Connections(limits or ConnectionLimits())
        self._patience_s = self.connections.limits.patience_s
        self.turned_away = 0
        """Connections for which there was no room."""
        self.gave_way = 0
        """Connections that were closed for others."""
        self.too_slow: Counter[str] = Counter()
        """Connections that were closed because a phase lasted too long, by its name."""
        self.refused: Counter[int] = Counter()
        """Requests that were refused before anybody looked at what they are for, by status."""
        self.failed_handshakes = 0
        """Connections that never got as far as TLS."""
        self._timer: asyncio.TimerHandle | None = None

    def open(self, guest: Guest, address: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Somebody has connected from `address`; whether there is room."""
        now_s = loop.time()
        admission = self.connections.open(guest, address, now_s)
        self._watch(Phase.LEAVING if admission.refused else Phase.HEAD, now_s, loop)
        if admission.victim is not None:
            self.gave_way += 1
            admission.victim.give_way()
        if admission.refused:
            self.turned_away += 1
            guest.turn_away()
        return not admission.refused

    def enter(self, guest: Guest, phase: Phase, loop: asyncio.AbstractEventLoop) -> None:
        """A connection enters a phase, or makes progress in it."""
        now_s = loop.time()
        self.connections.enter(guest, phase, now_s)
        self._watch(phase, now_s, loop)

    def close(self, guest: Guest) -> None:
        """A connection is no more."""
        self.connections.close(guest)
        if self._timer is not None and not len(self.connections) and self.connections.deadline_s() is None:
            self._timer.cancel()
            self._timer = None

    def to_json(self) -> dict[str, Any]:
        """Counts for the status."""
        return {
            "open": len(self.connections),
            **self.connections.counts(),
            "turned_away": self.turned_away,
            "gave_way": self.gave_way,
            "failed_handshakes": self.failed_handshakes,
            "too_slow": dict(sorted(self.too_slow.items())),
            "refused": {str(status): count for status, count in sorted(self.refused.items())},
            "quick_answers": self.quick.given if self.quick else 0,
            "quick_bytes": self.quick.memory_bytes if self.quick else 0,
        }

    def _watch(self, phase: Phase, now_s: float, loop: asyncio.AbstractEventLoop) -> None:
        """Have the timer ring when the patience of who enters `phase` now ends, or before."""
        patience_s = self._patience_s[phase]
        if patience_s is not None and (self._timer is None or self._timer.when() > now_s + patience_s):
            self._ring_at(now_s + patience_s, loop)

    def _ring_at(self, deadline_s: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(deadline_s, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for guest, phase in self.connections.expired(loop.time()):
            self.too_slow[phase.name.lower()] += 1
            guest.too_slow(phase)
            if self.connections.phase(guest) is phase:
                self.connections.close(guest)
        deadline_s = self.connections.deadline_s()
        if deadline_s is not None:
            self._ring_at(deadline_s, loop)
