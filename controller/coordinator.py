"""Brings it together: events change what is known, a change leads to a plan, a plan goes to the switches.

One lock guards everything here and is never held while waiting for a switch. One thread plans and does
what is due; events that arrive while it plans are planned for together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from controller.inquiries import Dumped
from controller.journal import Journal
from controller.measures import Measures
from controller.plan.compile import Planner
from controller.plan.facts import PortId
from controller.plan.rules import Change, Tables, Target, diff
from controller.settings import Settings
from controller.state.backoff import Backoff
from controller.state.effects import Effects, Injection
from controller.state.network import NetworkState
from controller.state.recovery import recover
from controller.transition import Transition, transition_stages

LEARN_S = 0.3
"""How long a restarted controller listens to heartbeats before it plans: longer than silence means death."""
MISSING_SWITCH_S = 5.0
"""How long it waits for all switches before it goes on without some."""
SETTLE_S = 0.1
"""Between two stages: the longest path, and the time Open vSwitch takes to revalidate its cache."""
PATIENCE_S = 1.0
"""So long a stage waits for a switch that does not confirm; then the others go on without it."""


class Worker(Protocol):
    """What the coordinator needs of a connection to a switch; none of it may block."""

    @property
    def switch(self) -> str:
        """The switch's name."""

    @property
    def synced_plan(self) -> int:
        """The newest plan the switch has confirmed, 0 for none."""

    @property
    def install_s(self) -> float:
        """How long the newest plan took from `install` to its confirmation."""

    @property
    def changes(self) -> Sequence[Change]:
        """What the newest plan changed."""

    def install(self, target: Target) -> None:
        """Bring the switch to these tables."""

    def send(self, port: int, frame: bytes) -> None:
        """Send a frame out of a port."""

    def inject(self, frame: bytes) -> None:
        """Send a frame through the switch's tables."""

    def dump(self) -> Dumped:
        """What the switch holds now. Raises TimeoutError when it does not say."""

    def stop(self) -> None:
        """The connection is gone."""


class Coordinator:
    """The controller without OpenFlow; its methods may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        runtime: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.state = NetworkState(
            settings.topology,
            settings.service_at,
            settings.gateway,
            settings.allowed_edges,
            settings.seed,
        )
        self.changed = threading.Condition()
        self.clock = clock
        self.counters: dict[str, int] = {"modifications": 0, "foreign_rules": 0, "plans": 0}
        self.measures = Measures()
        self._topology = settings.topology
        self._journal = journal
        self._workers: dict[str, Worker] = {}
        self._dumped: dict[str, Tables] = {}
        self._learning = True
        self._learnt_s: float | None = None
        self._planner = Planner()
        self._backoff = Backoff()
        self._tables: dict[str, Tables] = {}
        self._releases: list[Injection] = []
        self._transition = Transition()
        self._plan_number = 0
        self._planned_revision = -1
        self._was_synced = False
        self._switch_names = {
            datapath_id: switch for switch, datapath_id in self.state.addresses.datapath_ids.items()
        }
        journal.write(
            "start", topology=settings.topology.name, service_at=settings.service_at, runtime=runtime
        )

    def start(self) -> None:
        """Start planning, in a thread of its own."""
        threading.Thread(target=self._run, name="planner", daemon=True).start()

    def switch_name(self, datapath_id: int) -> str | None:
        """The name of the switch with this datapath ID, if the topology has one."""
        return self._switch_names.get(datapath_id)

    def port_numbers(self, switch: str) -> tuple[int, ...]:
        """The OpenFlow port numbers that a switch has in the topology."""
        return tuple(port.number for port in self._topology.ports[switch])

    @property
    def tables(self) -> Mapping[str, Tables]:
        """The tables that every switch is to have in the end, by the newest plan; hold `changed`."""
        return self._tables

    @property
    def choices(self) -> Mapping[str, str]:
        """The edge that new connections of each access switch go to, by the newest plan; hold `changed`."""
        return self._planner.choices

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The connected switches; hold `changed`."""
        return self._workers

    def connected(self, worker: Worker, down_ports: Iterable[int]) -> None:
        """A switch has connected, with these of its ports down or missing. Its dump follows."""
        with self.changed:
            previous = self._workers.get(worker.switch)
            if previous is not None:
                self._forget(previous)
            self._workers[worker.switch] = worker
            if self._learnt_s is None:
                self._learnt_s = self.clock() + MISSING_SWITCH_S
            self._apply(self.state.switch_up(self.clock(), worker.switch, down_ports))

    def dumped(self, worker: Worker, tables: Tables, foreign: int) -> None:
        """A switch has said what it holds: the first thing after it has connected."""
        with self.changed:
            if self._workers.get(worker.switch) is not worker:
                return
            if foreign:
                self.counters["foreign_rules"] += foreign
                self.measures.foreign(foreign)
                self._journal.write("foreign-rules", switch=worker.switch, count=foreign)
            if self._learning:
                self._dumped[worker.switch] = tables
                if len(self._dumped) == len(self._topology.switches):
                    knows_something = any(held.rules for held in self._dumped.values())
                    self._learnt_s = self.clock() + (LEARN_S if knows_something else 0.0)
                self.changed.notify_all()
            elif self._plan_number:
                worker.install(Target(self._plan_number, self._transition.now(self._tables)[worker.switch]))

    def disconnected(self, worker: Worker) -> None:
        """The connection to a switch is gone."""
        with self.changed:
            if self._workers.get(worker.switch) is worker:
                self._forget(worker)

    def port_changed(self, port: PortId, is_up: bool) -> None:
        """A switch reports a port up or down."""
        with self.changed:
            self._backoff.event(self.clock())
            if not is_up:
                self.measures.failover()
            self._apply(self.state.port_changed(self.clock(), port, is_up))

    def packet(self, port: PortId, data: bytes, cookie: int) -> None:
        """A switch has handed over a packet that came in by a port, because of the rule with this cookie."""
        with self.changed:
            self._apply(self.state.packet(self.clock(), port, data, cookie))

    def synced(self, worker: Worker, plan_number: int, modifications: int) -> None:
        """A switch has confirmed a plan, for which it was sent so many modifications."""
        with self.changed:
            self.counters["modifications"] += modifications
            self.measures.installed(worker.install_s, worker.changes)
            if self._workers.get(worker.switch) is not worker:
                return
            if worker.switch not in self.state.greeted:
                self._apply(self.state.installed(self.clock(), worker.switch))
            self._note_synced()
            self.changed.notify_all()

    def log(self, event: str, **fields: Any) -> None:
        """Write to the event log."""
        self._journal.write(event, **fields)

    def change(self, act: Callable[[float], Effects]) -> None:
        """Change the state by one of its methods, given the time; the plan follows."""
        with self.changed:
            self._apply(act(self.clock()))

    def _run(self) -> None:
        with self.changed:
            while True:
                now_s = self.clock()
                deadline_s = self._deadline_s()
                if self._learning and self._learnt_s is not None and self._learnt_s <= now_s:
                    self._learn(now_s)
                elif self.state.deadline_s is not None and self.state.deadline_s <= now_s:
                    self._apply(self.state.tick(now_s))
                elif not self._learning and self._wants_plan(now_s):
                    self._plan(now_s)
                elif self._transition.ready(now_s, self._stage_confirmed()):
                    self._next_stage(now_s)
                else:
                    self.changed.wait(None if deadline_s is None else max(0.0, deadline_s - now_s))

    def _deadline_s(self) -> float | None:
        moments = [self.state.deadline_s]
        moments.append(self._transition.deadline_s(self._stage_confirmed()))
        if self._learning:
            moments.append(self._learnt_s)
        elif self.state.revision != self._planned_revision:
            moments.append(self._backoff.deadline_s)
        return min((moment for moment in moments if moment is not None), default=None)

    def _learn(self, now_s: float) -> None:
        """All switches have said what they hold: take up where the controller before has stopped."""
        self._learning = False
        remembered = recover(self._topology, self._dumped)
        self._apply(self.state.restore(now_s, remembered))
        self._tables = {switch: self._dumped.get(switch, Tables()) for switch in self._topology.switches}
        self._dumped = {}
        self._journal.write("learnt", bindings=len(remembered.bindings), members=len(remembered.members))

    def _wants_plan(self, now_s: float) -> bool:
        """Whether to plan now. Changes of ports wait for more of them; the rest waits for the end of a
        transition, unless it is bad news."""
        if self.state.revision == self._planned_revision:
            return False
        if self._backoff.deadline_s is not None:
            return self._backoff.take(now_s)
        return not self._transition.is_running or self.state.urgent

    def _plan(self, now_s: float) -> None:
        started_s = time.perf_counter()
        facts, before = self.state.facts, self._planner.facts
        tables = self._planner.plan(facts)
        self.state.chosen(now_s, self._planner.choices)
        facts = self.state.facts
        if facts != self._planner.facts:
            tables = self._planner.plan(facts)
        # The planner hands on the tables of switches that do not change as they are.
        old = {switch: self._tables.get(switch, Tables()) for switch in tables}
        changes = {
            switch: len(diff(old[switch], tables[switch]))
            for switch in tables
            if old[switch] is not tables[switch]
        }
        changes = {switch: count for switch, count in changes.items() if count}
        held = self._transition.now(self._tables)
        stages = transition_stages(held, tables, before, facts, self.state.urgent)
        self._planned_revision = self.state.revision
        self.state.urgent = False
        self._tables = dict(tables)
        if not self._plan_number:
            # The first plan goes to every switch, so that each of them is known to agree with it.
            stages = [tables]
        elif not stages:
            self._note_synced()
            return
        elapsed_s = time.perf_counter() - started_s
        elapsed_ms = round(elapsed_s * 1000, 3)
        self.measures.planned(elapsed_s)
        self.counters["plans"] += 1
        self._journal.write(
            "plan", plan=self._plan_number + 1, changes=changes, stages=len(stages), ms=elapsed_ms
        )
        self._was_synced = False
        self._transition.begin(held, stages)
        self._next_stage(now_s)

    def _next_stage(self, now_s: float) -> None:
        self._plan_number += 1
        tables = self._transition.next_stage(now_s + SETTLE_S, now_s + PATIENCE_S)
        # A switch that does not change in this stage confirms it at once.
        for switch, worker in self._workers.items():
            worker.install(Target(self._plan_number, tables[switch]))
        # A worker brings its switch to the newest tables before it sends anything.
        self._inject(self._releases)
        self._releases.clear()

    def _stage_confirmed(self) -> bool:
        return all(worker.synced_plan == self._plan_number for worker in self._workers.values())

    def _apply(self, effects: Effects) -> None:
        for note in effects.notes:
            self._journal.write(note.event, **note.fields)
        for send in effects.sends:
            worker = self._workers.get(send.port.switch)
            if worker is not None:
                worker.send(send.port.number, send.frame)
        self._inject(effects.injections)
        self._releases += effects.releases
        self.changed.notify_all()

    def _inject(self, injections: Iterable[Injection]) -> None:
        for switch, frame in injections:
            worker = self._workers.get(switch)
            if worker is not None:
                worker.inject(frame)

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.switch]
        self._dumped.pop(worker.switch, None)
        worker.stop()
        self._was_synced = False
        self._apply(self.state.switch_down(worker.switch))

    @property
    def is_synced(self) -> bool:
        """Whether every switch has confirmed the newest plan, and nothing has happened since."""
        if self._learning or self.state.revision != self._planned_revision or self._transition.is_running:
            return False
        return len(self._workers) == len(self._topology.switches) and self._stage_confirmed()

    @property
    def waiting(self) -> list[str]:
        """The switches that have not confirmed the newest plan."""
        confirmed = {name for name, w in self._workers.items() if w.synced_plan == self._plan_number}
        return [switch for switch in self._topology.switches if switch not in confirmed]

    def _note_synced(self) -> None:
        if self.is_synced:
            if not self._was_synced:
                self._was_synced = True
                self._journal.write("synced", plan=self._plan_number)
            self.changed.notify_all()
