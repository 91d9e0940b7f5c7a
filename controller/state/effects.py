"""What an event leads to: frames to send, frames to put through the tables, and things to log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controller.plan.facts import PortId


class Send(NamedTuple):
    """A frame to send out of a port."""

    port: PortId
    frame: bytes


class Injection(NamedTuple):
    """A frame to put through the tables of a switch, as from the controller."""

    switch: str
    frame: bytes


class Note(NamedTuple):
    """Something for the event log."""

    event: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Effects:
    """What an event leads to. `releases` are injections that wait for the plan that follows from it."""

    sends: list[Send] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    releases: list[Injection] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
