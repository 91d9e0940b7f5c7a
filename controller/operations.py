"""What operators may ask of a running controller over the control socket (docs/operations.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.control_socket import OperationError
from controller.coordinator import Coordinator
from controller.inquiries import Dumped, Inquiries
from controller.measures import Snapshot
from controller.plan.facts import PortId
from controller.settings import SettingsError, checked_edges
from controller.state.effects import Effects
from controller.views import Seen
from topologies.spec import Role

SYNC_TIMEOUT_S = 30.0


class Operations:
    """Carries out requests; what operators want is kept in the intent file across restarts."""

    def __init__(self, coordinator: Coordinator, intent_file: Path | None) -> None:
        self._coordinator = coordinator
        self._topology = coordinator.settings.topology
        self._intent_file = intent_file
        self._handlers: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "status": self._status,
            "policy": self._policy,
            "drain": self._drain,
            "undrain": self._drain,
            "bind": self._bind,
        }
        self._handlers |= Inquiries(self._seen, self.snapshot, self._dump).handlers
        self._restore()

    def handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a request of the control socket. Raises ValueError for one that makes no sense."""
        operation = request.get("op")
        handler = self._handlers.get(operation) if isinstance(operation, str) else None
        if handler is None:
            known = ", ".join(f'"{name}"' for name in self._handlers)
            raise ValueError(f'unknown "op" {operation!r}; there are {known}')
        return handler(request)

    def snapshot(self) -> Snapshot:
        """All that is measured, now."""
        coordinator = self._coordinator
        with coordinator.changed:
            edges = coordinator.state.edges
            return coordinator.measures.snapshot(
                coordinator.state.facts,
                dict(coordinator.tables),
                frozenset(coordinator.workers),
                synced=coordinator.is_synced,
                drained=edges.drained,
                load_percent=edges.loads,
                guards=coordinator.state.guards,
            )

    def _seen(self) -> Seen:
        coordinator = self._coordinator
        with coordinator.changed:
            edges = coordinator.state.edges
            return Seen(
                coordinator.state.facts,
                dict(coordinator.tables),
                dict(coordinator.choices),
                edges.drained,
                edges.loads,
            )

    def _dump(self, switch: str) -> Dumped:
        with self._coordinator.changed:
            worker = self._coordinator.workers.get(switch)
        if worker is None:
            raise TimeoutError(f"{switch} is not connected")
        return worker.dump()

    def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        coordinator = self._coordinator
        with coordinator.changed:
            facts = coordinator.state.facts
            members: dict[str, list[str]] = {}
            hosts: dict[str, list[str]] = {user: [] for user in self._topology.of_role(Role.USER)}
            peers = {
                PortId(port.node, port.number): port.peer
                for switch in self._topology.switches
                for port in self._topology.ports[switch]
            }
            for member in facts.members:
                members.setdefault(str(member.group), []).append(peers[member.port])
            for binding in facts.bindings:
                hosts[peers[binding.port]].append(str(binding.address))
            return {
                "switches": len(coordinator.workers),
                "expected": len(self._topology.switches),
                "flows": sum(len(tables.rules) for tables in coordinator.tables.values()),
                "edges_accepting": list(facts.accepting),
                "edges_alive": list(facts.alive),
                "edges_drained": sorted(coordinator.state.edges.drained),
                "bound": dict(sorted(facts.bound)),
                "openings": [
                    [str(opening.address), opening.protocol, opening.port]
                    for opening in sorted(facts.openings)
                ],
                "members": {group: sorted(set(members[group])) for group in sorted(members)},
                "hosts": hosts,
                "synced": coordinator.is_synced,
                "punts": dict(sorted(coordinator.state.punts.items())),
                **coordinator.counters,
            }

    def _policy(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if "edges" not in request:
            raise ValueError('"policy" needs "edges", a list of names or null')
        edges = checked_edges(self._topology, request["edges"])
        return self._synced(lambda _now_s: self._coordinator.state.set_allowed_edges(edges))

    def _drain(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        edge = self._named(request, "edge", Role.EDGE)
        drained = request["op"] == "drain"
        answer = self._synced(lambda _now_s: self._coordinator.state.drain(edge, drained=drained))
        self._save()
        return answer

    def _bind(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        user = self._named(request, "user", Role.USER)
        edge = None if request.get("edge") is None else self._named(request, "edge", Role.EDGE)
        answer = self._synced(lambda _now_s: self._coordinator.state.bind(user, edge))
        self._save()
        return answer

    def _named(self, request: Mapping[str, Any], key: str, role: Role) -> str:
        name = request.get(key)
        if name not in self._topology.of_role(role):
            raise ValueError(f'"{key}" is {name!r}, which is no {role} of the topology {self._topology.name}')
        return str(name)

    def _synced(self, act: Callable[[float], Effects]) -> Mapping[str, Any]:
        """Change the state and wait until every switch has what follows from it."""
        coordinator = self._coordinator
        coordinator.change(act)
        with coordinator.changed:
            if coordinator.changed.wait_for(lambda: coordinator.is_synced, SYNC_TIMEOUT_S):
                return {"ok": True}
            waiting = ", ".join(coordinator.waiting)
        raise OperationError(f"not synced within {SYNC_TIMEOUT_S:g} s; waiting for {waiting}")

    def _save(self) -> None:
        if self._intent_file is None:
            return
        edges = self._coordinator.state.edges
        intent = {"drained": sorted(edges.drained), "bound": sorted(map(list, edges.bound))}
        aside = self._intent_file.with_suffix(".new")
        aside.write_text(json.dumps(intent))
        aside.rename(self._intent_file)

    def _restore(self) -> None:
        if self._intent_file is None or not self._intent_file.exists():
            return
        state = self._coordinator.state
        try:
            intent = json.loads(self._intent_file.read_text())
            for edge in intent["drained"]:
                state.drain(edge, drained=True)
            for user, edge in intent["bound"]:
                state.bind(user, edge)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{self._intent_file}: cannot be used: {error}; delete it") from None
