"""When a router advertises itself, per port (RFC 4861 section 6.2).

A restarted controller starts the sequence anew and says no farewell before: the router is the switch, and
that has not gone. Nothing therefore ever sends an advertisement with a lifetime of 0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from controller.plan.facts import PortId
from controller.state.deadlines import Deadlines
from controller.state.router_frames import EVERYBODY, Recipient
from controller.wire.nd import UNSPECIFIED

MIN_INTERVAL_S = 200.0
MAX_INTERVAL_S = 600.0
MAX_INITIAL_INTERVAL_S = 16.0
INITIAL_ADVERTISEMENTS = 3
MAX_RESPONSE_DELAY_S = 0.5
MIN_DELAY_BETWEEN_S = 3.0
"""RFC 4861 sections 6.2.1 and 10."""

MAX_PENDING_PER_PORT = 16
"""When more hosts than these wait for an answer of their own, one to all nodes answers the others."""


class Advertisement(NamedTuple):
    """An advertisement to send out of a port."""

    port: PortId
    to: Recipient


@dataclass(slots=True)
class _Advertised:
    sent: int = 0
    answers: int = 0
    last_s: float | None = None
    pending: set[Recipient] = field(default_factory=set)


class Advertiser:
    """The advertisements of all ports; `seed` fixes the random intervals."""

    def __init__(self, seed: int = 0) -> None:
        self.counters: Counter[str] = Counter()
        self._seed = seed
        self._ports: dict[PortId, _Advertised] = {}
        self._deadlines: Deadlines[Advertisement] = Deadlines()

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        return self._deadlines.next_s

    def start(self, now_s: float, port: PortId) -> None:
        """The port begins to advertise: at once, then twice more soon, then at long intervals (RFC 4861
        section 6.2.4)."""
        self.stop(port)
        self._ports[port] = _Advertised()
        self._deadlines.set(Advertisement(port, EVERYBODY), now_s)

    def stop(self, port: PortId) -> None:
        """The port is down or its switch is out of reach."""
        state = self._ports.pop(port, None)
        if state is not None:
            for to in (EVERYBODY, *state.pending):
                self._deadlines.cancel(Advertisement(port, to))

    def solicited(self, now_s: float, port: PortId, solicitor: Recipient) -> None:
        """A host has asked: it is answered after a random delay, by itself, or with all others when it has
        no address yet (RFC 4861 section 6.2.6). Ports that do not advertise do not answer."""
        state = self._ports.get(port)
        if state is None:
            return
        self.counters["solicited"] += 1
        state.answers += 1
        delay_s = self._random("answer", port, state.answers).uniform(0.0, MAX_RESPONSE_DELAY_S)
        if solicitor.address == UNSPECIFIED or (
            len(state.pending) >= MAX_PENDING_PER_PORT and solicitor not in state.pending
        ):
            earliest_s = now_s if state.last_s is None else state.last_s + MIN_DELAY_BETWEEN_S
            everybody = Advertisement(port, EVERYBODY)
            due_s = max(now_s, earliest_s) + delay_s
            if due_s < self._deadlines[everybody]:
                self._deadlines.set(everybody, due_s)
        elif solicitor not in state.pending:
            state.pending.add(solicitor)
            self._deadlines.set(Advertisement(port, solicitor), now_s + delay_s)

    def tick(self, now_s: float) -> list[Advertisement]:
        """What is due."""
        due = self._deadlines.pop_due(now_s)
        for advertisement in due:
            state = self._ports[advertisement.port]
            if advertisement.to == EVERYBODY:
                state.sent += 1
                state.last_s = now_s
                self._deadlines.set(advertisement, now_s + self._interval_s(advertisement.port, state.sent))
            else:
                state.pending.discard(advertisement.to)
        return due

    def _interval_s(self, port: PortId, sent: int) -> float:
        interval_s = self._random("interval", port, sent).uniform(MIN_INTERVAL_S, MAX_INTERVAL_S)
        return min(interval_s, MAX_INITIAL_INTERVAL_S) if sent < INITIAL_ADVERTISEMENTS else interval_s

    def _random(self, purpose: str, port: PortId, number: int) -> Random:
        # A generator of its own for every number: what one port draws does not depend on the others.
        return Random(f"{purpose}:{self._seed}:{port.switch}:{port.number}:{number}")
