"""What can become of packets at one switch, a set of them at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.plan.pipeline import TableId
from controller.plan.rules import Rule
from controller.verify.atoms import Bits
from controller.verify.space import Flavour


class Ending(StrEnum):
    """How a packet ends at a switch."""

    PUNTED = "punted"
    MISSED = "missed"
    """No rule of a table is for it."""
    DROPPED = "dropped"
    """A rule sends it nowhere."""
    EXHAUSTED = "exhausted"
    """Its hop limit came to an end in an action."""
    HAIRPIN = "hairpin"
    """It was to leave by the port where it came in."""
    DEAD = "dead"
    """The port, or every bucket of the group, is down."""
    NO_GROUP = "no group"
    TWO_TAGS = "two tags"
    """Open vSwitch sees no IPv6 behind two VLAN tags."""
    CIRCLES = "circles"
    """It goes round in the tables or groups of the switch."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Packets that leave by a port, directly or out of a group; `rule` is the last one that they met, or one
    that does just the same."""

    port: int
    flavour: Flavour
    destinations: Bits
    rule: Rule
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Packets that end here; `table` is where, `rule` the one that ended them, if one did."""

    ending: Ending
    table: TableId
    flavour: Flavour
    destinations: Bits
    rule: Rule | None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """Packets whose connection a zone remembers from here on."""

    zone: int
    flavour: Flavour
    destinations: Bits
    rule: Rule


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Packets whose connection a zone was asked about, on their way to a user; they go on in `table`."""

    zone: int
    table: TableId
    flavour: Flavour
    destinations: Bits


@dataclass(frozen=True, slots=True)
class Handed:
    """Packets that are handed to a group; what it does to them are outcomes of their own."""

    group: int
    flavour: Flavour
    destinations: Bits
    rule: Rule


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Packets for which two rules of one priority do different things: OpenFlow leaves open which wins."""

    one: Rule
    other: Rule
    flavour: Flavour
    destinations: Bits


Outcome = Sent | Ended | Remembered | LookedUp | Handed | Ambiguous
