"""Brings it together: events change what is known, a change leads to a plan, a plan goes to the switches.

One lock guards everything here and is never held while waiting for a switch. One thread plans and does
what is due; events that arrive while it plans are planned for together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from controller.journal import Journal
from controller.plan.compile import plan
from controller.plan.facts import Paths, PortId
from controller.plan.rules import Tables, Target, diff
from controller.settings import Settings, checked_edges
from controller.state.network import Effects, NetworkState
from topologies.spec import Role

POLICY_TIMEOUT_S = 30.0


class Worker(Protocol):
    """What the coordinator needs of a connection to a switch; none of it may block."""

    @property
    def switch(self) -> str:
        """The switch's name."""

    @property
    def synced_plan(self) -> int:
        """The newest plan the switch has confirmed, 0 for none."""

    def install(self, target: Target) -> None:
        """Bring the switch to these tables."""

    def send(self, port: int, frame: bytes) -> None:
        """Send a frame out of a port."""

    def stop(self) -> None:
        """The connection is gone."""


class Coordinator:
    """The controller without OpenFlow; its methods may be called from any thread."""

    def __init__(
        self, settings: Settings, journal: Journal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = NetworkState(
            settings.topology, settings.service_at, settings.allowed_edges, settings.seed
        )
        self._topology = settings.topology
        self._journal = journal
        self._clock = clock
        self._changed = threading.Condition()
        self._workers: dict[str, Worker] = {}
        self._paths = Paths(self._topology, frozenset())
        self._tables: dict[str, Tables] = {}
        self._plan_number = 0
        self._planned_revision = -1
        self._was_synced = False
        self._switch_names = {
            datapath_id: switch for switch, datapath_id in self._state.addresses.datapath_ids.items()
        }
        journal.write("start", topology=settings.topology.name, service_at=settings.service_at)

    def start(self) -> None:
        """Start planning, in a thread of its own."""
        threading.Thread(target=self._run, name="planner", daemon=True).start()

    def switch_name(self, datapath_id: int) -> str | None:
        """The name of the switch with this datapath ID, if the topology has one."""
        return self._switch_names.get(datapath_id)

    def port_numbers(self, switch: str) -> tuple[int, ...]:
        """The OpenFlow port numbers that a switch has in the topology."""
        return tuple(port.number for port in self._topology.ports[switch])

    def connected(self, worker: Worker, down_ports: Iterable[int]) -> None:
        """A switch has connected, with these of its ports down or missing."""
        with self._changed:
            previous = self._workers.get(worker.switch)
            if previous is not None:
                self._forget(previous)
            self._workers[worker.switch] = worker
            self._apply(self._state.switch_up(worker.switch, down_ports))
            if self._plan_number:
                worker.install(Target(self._plan_number, self._tables[worker.switch]))

    def disconnected(self, worker: Worker) -> None:
        """The connection to a switch is gone."""
        with self._changed:
            if self._workers.get(worker.switch) is worker:
                self._forget(worker)

    def port_changed(self, port: PortId, is_up: bool) -> None:
        """A switch reports a port up or down."""
        with self._changed:
            self._apply(self._state.port_changed(self._clock(), port, is_up))

    def packet(self, port: PortId, data: bytes) -> None:
        """A switch has handed over a packet that came in by a port."""
        with self._changed:
            self._apply(self._state.packet(self._clock(), port, data))

    def synced(self, worker: Worker, plan_number: int) -> None:
        """A switch has confirmed a plan."""
        with self._changed:
            if self._workers.get(worker.switch) is not worker:
                return
            if worker.switch not in self._state.greeted:
                self._apply(self._state.installed(self._clock(), worker.switch))
            self._note_synced()

    def log(self, event: str, **fields: Any) -> None:
        """Write to the event log."""
        self._journal.write(event, **fields)

    def control(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a request of the control socket. Raises ValueError for one that makes no sense."""
        operation = request.get("op")
        if operation == "status":
            with self._changed:
                return self._status()
        if operation == "policy":
            return self._set_policy(request)
        raise ValueError(f'unknown "op" {operation!r}; there are "status" and "policy"')

    def _set_policy(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if "edges" not in request:
            raise ValueError('"policy" needs "edges", a list of names or null')
        edges = checked_edges(self._topology, request["edges"])
        with self._changed:
            self._apply(self._state.set_allowed_edges(edges))
            if self._changed.wait_for(self._is_synced, POLICY_TIMEOUT_S):
                return {"ok": True}
            waiting = [name for name in self._topology.switches if not self._has_plan(name)]
        raise ValueError(f"not synced within {POLICY_TIMEOUT_S:g} s; waiting for {', '.join(waiting)}")

    def _status(self) -> dict[str, Any]:
        facts = self._state.facts
        members: dict[str, list[str]] = {}
        for (_, group), edges in facts.static_members.items():
            members.setdefault(str(group), []).extend(edges)
        hosts: dict[str, list[str]] = {user: [] for user in self._topology.of_role(Role.USER)}
        peers = {
            PortId(p.node, p.number): p.peer for s in self._topology.switches for p in self._topology.ports[s]
        }
        for binding in facts.bindings:
            hosts[peers[binding.port]].append(str(binding.address))
        return {
            "switches": len(self._workers),
            "expected": len(self._topology.switches),
            "flows": sum(len(tables.rules) for tables in self._tables.values()),
            "edges_healthy": list(facts.healthy_edges),
            "members": members,
            "hosts": hosts,
            "synced": self._is_synced(),
        }

    def _run(self) -> None:
        with self._changed:
            while True:
                deadline_s = self._state.deadline_s
                if deadline_s is not None and deadline_s <= self._clock():
                    self._apply(self._state.tick(self._clock()))
                elif self._state.revision != self._planned_revision:
                    self._plan()
                else:
                    self._changed.wait(None if deadline_s is None else deadline_s - self._clock())

    def _plan(self) -> None:
        started_s = time.perf_counter()
        facts = self._state.facts
        if facts.down_links != self._paths.down_links:
            self._paths = Paths(self._topology, facts.down_links)
        tables = plan(facts, self._paths)
        changes = {switch: len(diff(self._tables.get(switch, Tables()), tables[switch])) for switch in tables}
        changes = {switch: count for switch, count in changes.items() if count}
        self._tables |= {switch: tables[switch] for switch in changes}
        self._planned_revision = self._state.revision
        if not changes:
            self._note_synced()
            return
        self._plan_number += 1
        elapsed_ms = round((time.perf_counter() - started_s) * 1000, 3)
        self._journal.write("plan", plan=self._plan_number, changes=changes, ms=elapsed_ms)
        self._was_synced = False
        for switch, worker in self._workers.items():
            worker.install(Target(self._plan_number, self._tables[switch]))

    def _apply(self, effects: Effects) -> None:
        for note in effects.notes:
            self._journal.write(note.event, **note.fields)
        for send in effects.sends:
            worker = self._workers.get(send.port.switch)
            if worker is not None:
                worker.send(send.port.number, send.frame)
        self._changed.notify_all()

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.switch]
        worker.stop()
        self._was_synced = False
        self._apply(self._state.switch_down(worker.switch))

    def _has_plan(self, switch: str) -> bool:
        worker = self._workers.get(switch)
        return worker is not None and worker.synced_plan == self._plan_number

    def _is_synced(self) -> bool:
        """Whether every switch has confirmed the newest plan, and nothing has happened since."""
        if self._state.revision != self._planned_revision:
            return False
        return all(self._has_plan(switch) for switch in self._topology.switches)

    def _note_synced(self) -> None:
        if self._is_synced():
            if not self._was_synced:
                self._was_synced = True
                self._journal.write("synced", plan=self._plan_number)
            self._changed.notify_all()
