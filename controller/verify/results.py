"""What a walk finds: the hops of a packet, what it met at each, and how its copies end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.plan.facts import PortId
from controller.plan.pipeline import TableId
from controller.plan.rules import CtState, Rule
from controller.verify.packet import Packet


class Fate(StrEnum):
    """How a copy of a packet ends."""

    DELIVERED = "delivered"
    """A host has it."""
    DROPPED = "dropped"
    PUNTED = "punted"
    """The controller has it."""
    LOST = "lost"
    """It was sent out of a port that is down or that the topology has not."""
    LOOPED = "looped"
    """It came in by the same port as before, with nothing but its hop limit changed."""


@dataclass(frozen=True, slots=True)
class RuleMet:
    """A rule that the packet met, or, with `rule` None, a table where it met none. `rivals` are other rules
    of the same priority that are also for it and do something else: OpenFlow leaves open which one wins."""

    table: TableId
    rule: Rule | None
    rivals: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupMet:
    """A group that the packet was handed to, and the places of the buckets that were used."""

    number: int
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tracked:
    """What connection tracking was taken to know of the packet."""

    zone: int
    state: CtState
    mark: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A connection that the packet began or marked."""

    zone: int
    mark: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A port that a copy was sent out of."""

    port: int


Event = RuleMet | GroupMet | Tracked | Committed | Sent


@dataclass(frozen=True, slots=True)
class Hop:
    """A packet at a switch: by which port it came in, what it looked like, and what it met there in order.

    `parent` is the place in `Walk.hops` of the hop it came from, None for the first. `delay_ms` is the
    propagation delay since the first switch.
    """

    at: PortId
    packet: Packet
    parent: int | None
    delay_ms: float
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class End:
    """Where a copy ended: after which hop, at which host (or switch, when no host has it), how it looked,
    and why; `rule` is the one that dropped or punted it, if one did."""

    fate: Fate
    hop: int
    where: str
    packet: Packet
    reason: str
    delay_ms: float
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """All that became of one packet."""

    hops: tuple[Hop, ...]
    ends: tuple[End, ...]

    @property
    def delivered(self) -> tuple[End, ...]:
        """The copies that reached a host."""
        return tuple(end for end in self.ends if end.fate is Fate.DELIVERED)

    def path(self, end: End) -> tuple[Hop, ...]:
        """The hops of one copy, from the first switch on."""
        found: list[Hop] = []
        place: int | None = end.hop
        while place is not None:
            found.append(self.hops[place])
            place = self.hops[place].parent
        return tuple(reversed(found))
