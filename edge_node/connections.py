"""Which connections a web server keeps: a bounded table of them, and who gives way when it is full.

Without I/O: the shell says what happens and when, and closes whom it is told to close.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv6Address
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

PREFIX_BITS = 64
"""What one user can take addresses from at will counts as one (RFC 4291 section 2.5.1, RFC 8981)."""


class Phase(Enum):
    """What is expected of a connection."""

    HEAD = auto()
    """The rest of a request's head; all of it when the connection is new."""
    IDLE = auto()
    """Nothing: all requests have been answered."""
    CONTENT = auto()
    """More of a request's content."""
    WORKING = auto()
    """Nothing, for it is our turn to answer."""
    UNREAD = auto()
    """That the client reads what waits to be sent."""
    LEAVING = auto()
    """That the client closes: it has been told that nothing will be answered any more."""


_PATIENCE_S: Mapping[Phase, float | None] = {
    Phase.HEAD: 10.0,
    Phase.IDLE: 600.0,
    Phase.CONTENT: 30.0,
    Phase.WORKING: None,
    Phase.UNREAD: 60.0,
    Phase.LEAVING: 1.0,
}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """At most `connections` in all and `per_prefix` of one /64; `leaving` more may be on their way out.

    `patience_s` is how long each phase may last; content and unread answers begin anew with every progress.
    A head that has not come whole within `prompt_head_s` is the first to give way: an honest one comes in
    one packet or two.
    """

    connections: int = 20_000
    per_prefix: int = 256
    leaving: int = 1_000
    prompt_head_s: float = 1.0
    patience_s: Mapping[Phase, float | None] = field(default_factory=lambda: _PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Admission(Generic[K]):
    """A new connection is kept unless it is `refused`; for it, `victim` has to be closed."""

    refused: bool = False
    victim: K | None = None


class Connections(Generic[K]):
    """The connections of a server, each under a key of the shell's. Times are monotonic seconds."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Within a phase everybody has the same patience, so the order of entering is that of the deadlines.
        self._phases: dict[Phase, OrderedDict[K, float]] = {phase: OrderedDict() for phase in Phase}
        self._phase_of: dict[K, Phase] = {}
        self._prefix_of: dict[K, int] = {}
        self._members: dict[int, dict[K, None]] = {}

    def __len__(self) -> int:
        """How many there are, without those that are leaving."""
        return len(self._phase_of) - len(self._phases[Phase.LEAVING])

    def counts(self) -> dict[str, int]:
        """How many there are in each phase."""
        return {phase.name.lower(): len(members) for phase, members in self._phases.items()}

    def open(self, key: K, address: str, now_s: float) -> Admission[K]:
        """Somebody connects from `address` (IPv6). Who is refused is leaving already, and the victim counts
        as closed."""
        prefix = prefix_of(address)
        members = self._members.get(prefix, {})
        victim: K | None = None
        if len(members) >= self.limits.per_prefix:
            victim = self._first_to_go(members, now_s)
        elif len(self) >= self.limits.connections:
            victim = self._first_to_go(None, now_s)
        else:
            self._add(key, prefix, now_s)
            return Admission()
        if victim is None:
            self._phase_of[key] = Phase.LEAVING
            self._phases[Phase.LEAVING][key] = now_s
            return Admission(refused=True)
        self.close(victim)
        self._add(key, prefix, now_s)
        return Admission(victim=victim)

    def enter(self, key: K, phase: Phase, now_s: float) -> None:
        """A connection enters a phase, or makes progress in it; one that is closed is none any more, and who
        leaves does not come back."""
        before = self._phase_of.get(key)
        if before is None or before is Phase.LEAVING:
            return
        del self._phases[before][key]
        self._phases[phase][key] = now_s
        if before is not phase:
            self._phase_of[key] = phase
            if phase is Phase.LEAVING:
                self._forget_prefix(key)

    def phase(self, key: K) -> Phase | None:
        """The phase of a connection, None when it is closed."""
        return self._phase_of.get(key)

    def close(self, key: K) -> None:
        """A connection is no more; harmless when it is not known."""
        phase = self._phase_of.pop(key, None)
        if phase is not None:
            del self._phases[phase][key]
            self._forget_prefix(key)

    @property
    def can_leave_slowly(self) -> bool:
        """Whether there is room for one more on its way out."""
        return len(self._phases[Phase.LEAVING]) <= self.limits.leaving

    def expired(self, now_s: float) -> list[tuple[K, Phase]]:
        """Whose patience has ended by now, with the phase in which it did."""
        late: list[tuple[K, Phase]] = []
        for phase, members in self._phases.items():
            patience_s = self.limits.patience_s[phase]
            if patience_s is None:
                continue
            for key, since_s in members.items():
                if since_s + patience_s > now_s:
                    break
                late.append((key, phase))
        return late

    def deadline_s(self) -> float | None:
        """When the next patience ends; None when nobody's does."""
        deadlines = [
            next(iter(members.values())) + patience_s
            for phase, members in self._phases.items()
            if members and (patience_s := self.limits.patience_s[phase]) is not None
        ]
        return min(deadlines, default=None)

    def _add(self, key: K, prefix: int, now_s: float) -> None:
        self._phase_of[key] = Phase.HEAD
        self._phases[Phase.HEAD][key] = now_s
        self._prefix_of[key] = prefix
        self._members.setdefault(prefix, {})[key] = None

    def _forget_prefix(self, key: K) -> None:
        prefix = self._prefix_of.pop(key, None)
        if prefix is None:
            return
        members = self._members[prefix]
        del members[key]
        if not members:
            del self._members[prefix]

    def _first_to_go(self, among: Mapping[K, None] | None, now_s: float) -> K | None:
        """Who gives way, of all or `among` some: an unfinished head that is late, else who has been idle
        for longest, else the oldest unfinished head; None when all are being served."""
        head, idle = self._oldest(Phase.HEAD, among), self._oldest(Phase.IDLE, among)
        if head is not None and now_s - self._phases[Phase.HEAD][head] >= self.limits.prompt_head_s:
            return head
        return head if idle is None else idle

    def _oldest(self, phase: Phase, among: Mapping[K, None] | None) -> K | None:
        members = self._phases[phase]
        if among is None:
            return next(iter(members), None)
        return min((key for key in among if key in members), key=members.__getitem__, default=None)


def prefix_of(address: str) -> int:
    """The prefix that counts as one user, of an IPv6 address with or without a zone; 0 for anything else."""
    try:
        return int(IPv6Address(address.partition("%")[0])) >> (128 - PREFIX_BITS)
    except ValueError:
        return 0
