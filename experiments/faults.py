"""Faults: what breaks in a scenario, when, and when it is mended, as plain data.

Times are seconds since the requests or the window they belong to began; `mend_s` None means for good.
`experiments.injection` carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

_TIMES = ("at_s", "mend_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that breaks at `at_s` and is mended at `mend_s`."""

    at_s: float
    mend_s: float | None = None

    @property
    def target(self) -> str:
        """What it happens to, in a few words."""
        values = [str(getattr(self, item.name)) for item in fields(self) if item.name not in _TIMES]
        return " ".join(values) or "controller"


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The link between neighbours `a` and `b` fails."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Kill(Fault):
    """An edge's process is killed (SIGKILL), and started again."""

    edge: str


@dataclass(frozen=True, slots=True)
class Unplug(Fault):
    """A host's machine loses its only link, at its own end."""

    host: str


@dataclass(frozen=True, slots=True)
class SwitchFailure(Fault):
    """All links of a switch fail at once."""

    switch: str


@dataclass(frozen=True, slots=True)
class ControllerKill(Fault):
    """The controller is killed (SIGKILL), and started again."""


@dataclass(frozen=True, slots=True)
class Drain(Fault):
    """An operator drains an edge, and takes it back."""

    edge: str


@dataclass(frozen=True, slots=True)
class Overload(Fault):
    """`user` holds `downloads` of its nearest edge, `edge`, open without reading them."""

    edge: str
    user: str
    downloads: int


@dataclass(frozen=True, slots=True)
class Bind(Fault):
    """An operator sends the new connections of `user` to `edge`; mended, to the nearest again."""

    user: str
    edge: str


@dataclass(frozen=True, slots=True)
class Rotation(Fault):
    """A user takes a new address and deprecates the others (RFC 8981 by hand); nothing to mend."""

    user: str


KINDS: Mapping[str, type[Fault]] = {
    kind.__name__: kind
    for kind in (Cut, Kill, Unplug, SwitchFailure, ControllerKill, Drain, Overload, Bind, Rotation)
}


@dataclass(frozen=True, slots=True)
class Step:
    """One end of a fault: it breaks, or it is mended."""

    at_s: float
    fault: Fault
    is_break: bool


def timetable(faults: Sequence[Fault]) -> tuple[Step, ...]:
    """Everything that is to be done, in order; at the same moment, in the order of the faults."""
    steps = [Step(fault.at_s, fault, True) for fault in faults]
    steps += [Step(fault.mend_s, fault, False) for fault in faults if fault.mend_s is not None]
    return tuple(sorted(steps, key=lambda step: step.at_s))


def faults_to_json(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Plain data, see `faults_from_json`."""
    return [{"kind": type(fault).__name__} | asdict(fault) for fault in faults]


def faults_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """The inverse of `faults_to_json`. Raises KeyError for an unknown kind."""
    return tuple(
        KINDS[entry["kind"]](**{name: value for name, value in entry.items() if name != "kind"})
        for entry in data
    )
