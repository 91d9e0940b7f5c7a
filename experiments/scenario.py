"""A scenario: what one lab run does, as plain data that travels into the lab and into the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from topologies.spec import Topology, from_json, to_json


class Mode(StrEnum):
    """How content reaches users."""

    EDGE = "edge"
    """Anycast edges, kept in sync by the multicast stream."""
    CENTRAL = "central"
    """The service at the origin, no edges: what a central cloud does."""
    PUSH = "push"
    """Edges kept in sync by one unicast transfer each."""


@dataclass(frozen=True)
class Cut:
    """A link that fails: `at_s` seconds after the requests begin, for good or until `mend_s`."""

    a: str
    b: str
    at_s: float
    mend_s: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One lab run.

    `workload` maps each user to its fetches ({"page", "kind", "start_s", "urls"}); `off` names edges
    that are switched off; `kill` names edges whose process is killed (SIGKILL) in the middle of the
    publication and started again; `all_pairs` measures the round trip of every user to every edge
    instead of to its nearest one.
    """

    name: str
    mode: Mode
    topology: Topology
    seed: int
    site: str | None = None
    workload: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()
    all_pairs: bool = False
    rate_mbps: float = 100.0

    def to_json(self) -> dict[str, Any]:
        """Plain data, see `scenario_from_json`."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {
            "mode": str(self.mode),
            "topology": to_json(self.topology),
            "cuts": [asdict(cut) for cut in self.cuts],
            "workload": dict(self.workload),
        }


def scenario_from_json(data: Mapping[str, Any]) -> Scenario:
    """The inverse of `Scenario.to_json`."""
    return Scenario(
        **{
            **data,
            "mode": Mode(data["mode"]),
            "topology": from_json(data["topology"]),
            "off": tuple(data["off"]),
            "kill": tuple(data["kill"]),
            "cuts": tuple(Cut(**cut) for cut in data["cuts"]),
        }
    )
