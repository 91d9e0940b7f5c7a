"""The configuration file of the controller (docs/architecture.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.plan.facts import GatewayMode, ServiceAt
from topologies.spec import Role, Topology, from_json


class SettingsError(ValueError):
    """The configuration cannot be used; the text says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a controller is started with. `allowed_edges` None means all; `seed` fixes random times.

    `intent_file` keeps what operators have asked for (drains, policies) across restarts; `metrics_port`
    is where Prometheus may ask over HTTP, on `listen_address`, if at all.
    """

    topology: Topology
    service_at: ServiceAt
    allowed_edges: frozenset[str] | None
    listen_address: str
    listen_port: int
    control_socket: Path
    event_log: Path
    seed: int = 0
    gateway: GatewayMode = GatewayMode.STATEFUL
    intent_file: Path | None = None
    metrics_port: int | None = None


def read_settings(path: Path) -> Settings:
    """Read a configuration file. Raises SettingsError with one line for the user."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: is not JSON: {error}") from error
    try:
        return _settings(data)
    except KeyError as error:
        raise SettingsError(f"{path}: {error.args[0]!r} is missing; see docs/architecture.md") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def checked_edges(topology: Topology, edges: Any) -> frozenset[str] | None:
    """A list of edge names, or None for all. Raises SettingsError when one is not an edge."""
    if edges is None:
        return None
    known = topology.of_role(Role.EDGE)
    if not isinstance(edges, list) or not all(isinstance(edge, str) for edge in edges):
        raise SettingsError('"edges" must be a list of names or null')
    for edge in edges:
        if edge not in known:
            raise SettingsError(f"{edge!r} is not an edge of the topology {topology.name}")
    return frozenset(edges)


def _settings(data: Any) -> Settings:
    topology = from_json(data["topology"])
    policy = data["policy"]
    address, port = data["listen"]
    return Settings(
        topology=topology,
        service_at=ServiceAt(policy["service_at"]),
        allowed_edges=checked_edges(topology, policy.get("edges")),
        listen_address=str(address),
        listen_port=int(port),
        control_socket=Path(data["control_socket"]),
        event_log=Path(data["event_log"]),
        seed=int(data.get("seed", 0)),
        gateway=GatewayMode(policy.get("gateway", GatewayMode.STATEFUL)),
        intent_file=Path(data["intent_file"]) if data.get("intent_file") else None,
        metrics_port=data.get("metrics_port"),
    )
