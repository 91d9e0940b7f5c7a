"""A window: a stretch of time in which users probe and fetch while faults happen, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from experiments.faults import Fault, faults_from_json, faults_to_json


@dataclass(frozen=True, slots=True)
class Get:
    """One HTTP request on a connection of its own, `at_s` after its window began.

    `rate_mbps` is how fast the client reads (None: as fast as it can); with `hold_s` it reads nothing for
    so long and then gives up.
    """

    user: str
    at_s: float
    path: str = "/"
    rate_mbps: float | None = None
    hold_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """`user` sends datagrams to random addresses of the /64 of `access`, `per_s` a second."""

    user: str
    access: str
    per_s: int
    at_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """What happens within `length_s` seconds: `probers` send a probe to the service every
    `probe_interval_ms`, `gets` are made, `faults` come and go. Who `resolves` asks the name server where the
    service is, and again when the TTL of its answer is over.

    What is still under way then is waited for. The window ends when the network has settled again.
    """

    name: str
    length_s: float
    faults: tuple[Fault, ...] = ()
    probers: tuple[str, ...] = ()
    gets: tuple[Get, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    probe_interval_ms: float = 1.0
    resolves: bool = False


def window_to_json(window: Window) -> dict[str, Any]:
    """Plain data, see `window_from_json`."""
    return asdict(window) | {"faults": faults_to_json(window.faults)}


def window_from_json(data: Mapping[str, Any]) -> Window:
    """The inverse of `window_to_json`."""
    return Window(
        **{
            **data,
            "faults": faults_from_json(data["faults"]),
            "probers": tuple(data["probers"]),
            "gets": tuple(Get(**get) for get in data["gets"]),
            "sweeps": tuple(Sweep(**sweep) for sweep in data["sweeps"]),
        }
    )
