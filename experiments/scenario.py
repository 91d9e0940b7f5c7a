"""A scenario: what one lab run does, as plain data that travels into the lab and into the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from experiments.faults import Fault, faults_from_json, faults_to_json
from experiments.offering import Offering, offering_from_json, offering_to_json
from experiments.windows import Window, window_from_json, window_to_json
from topologies.spec import Topology, from_json, to_json

DNS_TTL_S = 60
"""How long resolvers may keep the service's record: what a fail-over by DNS would have to wait for."""


MOMENTS: Mapping[str, str] = {"before": "tables-before.json", "after": "tables-after.json"}
"""What the switches held before anything was measured and after everything: files for `nearcast verify`."""
RECORDING = "tables.jsonl"
"""Every change of what they held, where it was recorded."""


class Mode(StrEnum):
    """How content reaches users."""

    EDGE = "edge"
    """Anycast edges, kept in sync by the multicast stream."""
    CENTRAL = "central"
    """The service at the origin, no edges: what a central cloud does."""
    PUSH = "push"
    """Edges kept in sync by one unicast transfer each."""
    FLAT = "flat"
    """No service: the hosts of each access switch on an IPv4 segment of their own, for ARP."""


@dataclass(frozen=True)
class Act:
    """Something done in the lab after the publication: a module of `experiments.acts` and its arguments."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TemporaryAddresses:
    """Users make temporary addresses (RFC 8981) with these lifetimes."""

    preferred_s: int
    valid_s: int


@dataclass(frozen=True)
class Scenario:
    """One lab run.

    `workload` maps each user to its fetches ({"page", "kind", "start_s", "urls"}); `off` names edges
    that are switched off; `kill` names edges whose process is killed (SIGKILL) in the middle of the
    publication and started again; `faults` happen while the workload runs; `all_pairs` measures the round
    trip of every user to every edge instead of to its nearest one. Windows come after the workload, acts
    after the windows.

    `capacity` is the number of requests at once that an edge is made for; `long_file_bytes` adds a file
    `long.bin` of that size to the site; `capture_hosts` captures multicast at every host, not only at users.
    `record_tables` writes down every change of the switches' tables, from before the controller starts.
    `controller_python` is the interpreter of the controller where it is not this one: ryu, not os-ken.
    With `https` the service is at HTTPS and users trust the lab's CA; windows and acts do not know of it.
    With an `offering` the origin stays after the publication, for channels and for what users upload.
    With `pull_through` nothing is published: edges are caches in front of a web server at the origin.
    `edge_words` are further options of every edge's command.
    """

    name: str
    mode: Mode
    topology: Topology
    seed: int
    site: str | None = None
    workload: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    windows: tuple[Window, ...] = ()
    acts: tuple[Act, ...] = ()
    all_pairs: bool = False
    rate_mbps: float = 100.0
    capacity: int = 1000
    long_file_bytes: int = 0
    capture_hosts: bool = False
    record_tables: bool = False
    temporary: TemporaryAddresses | None = None
    controller_python: str | None = None
    offering: Offering | None = None
    pull_through: bool = False
    https: bool = False
    edge_words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, see `scenario_from_json`."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {
            "mode": str(self.mode),
            "topology": to_json(self.topology),
            "faults": faults_to_json(self.faults),
            "windows": [window_to_json(window) for window in self.windows],
            "acts": [{"kind": act.kind, "arguments": dict(act.arguments)} for act in self.acts],
            "temporary": None if self.temporary is None else asdict(self.temporary),
            "workload": dict(self.workload),
            "offering": offering_to_json(self.offering),
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
            "faults": faults_from_json(data["faults"]),
            "windows": tuple(window_from_json(window) for window in data["windows"]),
            "acts": tuple(Act(**act) for act in data["acts"]),
            "temporary": data["temporary"] and TemporaryAddresses(**data["temporary"]),
            "offering": offering_from_json(data["offering"]),
            "edge_words": tuple(data["edge_words"]),
        }
    )
