"""Faults carried out in a running testbed, on time, with a note of when each was done."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from experiments.control import ControlError
from experiments.faults import (
    Bind,
    ControllerKill,
    Cut,
    Drain,
    Fault,
    Kill,
    Overload,
    Rotation,
    Step,
    SwitchFailure,
    Unplug,
    timetable,
)
from experiments.hosts import host_words
from experiments.testbed import HTTP_PORT, Testbed, TestbedError
from experiments.windows import Get
from lab.processes import LabProcess

COLUMNS = ("window", "kind", "target", "is_break", "t_s", "done_s")


@dataclass
class Injector:
    """Breaks and mends; `rows` are those of faults.csv, times since `origin_s` (monotonic)."""

    testbed: Testbed
    window: str
    origin_s: float
    rows: list[tuple[str, str, str, int, str, str]] = field(default_factory=list)
    _holders: dict[Fault, LabProcess] = field(default_factory=dict)

    def carry_out(self, step: Step) -> None:
        """Do one step and note it. Raises what the testbed raises."""
        began_s = time.monotonic()
        self._act(step.fault, step.is_break)
        times = (began_s - self.origin_s, time.monotonic() - self.origin_s)
        cells = (f"{times[0]:.6f}", f"{times[1]:.6f}")
        kind = type(step.fault).__name__
        self.rows.append((self.window, kind, step.fault.target, int(step.is_break), *cells))

    def _act(self, fault: Fault, is_break: bool) -> None:
        testbed = self.testbed
        match fault:
            case Cut():
                testbed.net.set_link(fault.a, fault.b, up=not is_break)
            case Unplug():
                testbed.tell_name_server(fault.host, is_gone=is_break)
                testbed.net.set_plug(fault.host, up=not is_break)
            case SwitchFailure():
                for port in testbed.topology.ports[fault.switch]:
                    testbed.net.set_link(port.node, port.peer, up=not is_break)
            case Kill():
                testbed.tell_name_server(fault.edge, is_gone=is_break)
                testbed.kill_edge(fault.edge) if is_break else testbed.start_edge(fault.edge)
            case ControllerKill():
                testbed.kill_controller() if is_break else testbed.start_controller()
            case Drain():
                self._ask(op="drain" if is_break else "undrain", edge=fault.edge)
            case Bind():
                self._ask(op="bind", user=fault.user, edge=fault.edge if is_break else None)
            case Overload():
                self._hold(fault) if is_break else self._release(fault)
            case Rotation():
                testbed.net.rotate_address(fault.user)
            case _:
                raise TestbedError(f"fault {type(fault).__name__} cannot be carried out")

    def _ask(self, **request: str | None) -> None:
        answer = self.testbed.control.request(**request)
        if not answer.get("ok"):
            reason = answer.get("error", "no reason given")
            raise ControlError(f"controller: {request['op']} refused: {reason}")

    def _hold(self, fault: Overload) -> None:
        """Downloads that nobody reads: the edge counts them as work."""
        testbed = self.testbed
        plan = {
            "window": self.window,
            "hosts": host_words(testbed.net, [fault.user]),
            "address": str(testbed.plan.service),
            "port": HTTP_PORT,
            "name": testbed.topology.service.name,
            "begin_s": time.monotonic(),
            "origin_s": self.origin_s,
            "gets": [asdict(Get(fault.user, 0.0, "/long.bin", hold_s=3600.0))] * fault.downloads,
        }
        path = testbed.work / f"hold-{fault.edge}.json"
        path.write_text(json.dumps(plan))
        words = ["--plan", str(path), "--out", str(testbed.work / f"hold-{fault.edge}.csv")]
        self._holders[fault] = testbed.processes.start_module(
            f"hold-{fault.edge}", "experiments.http_client", words
        )

    def _release(self, fault: Fault) -> None:
        holder = self._holders.pop(fault)
        self.testbed.processes.forget(holder)
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    def end(self) -> None:
        """Let go of what is still held."""
        for fault in tuple(self._holders):
            self._release(fault)


@contextmanager
def injecting(
    testbed: Testbed, faults: Sequence[Fault], window: str, origin_s: float, begin_s: float
) -> Iterator[Injector]:
    """Break and mend while the body runs; a fault's times count from `begin_s` (monotonic).

    What is due after the body has ended is not done any more. Raises what a step raised, at the end of the
    body.
    """
    steps = timetable(faults)
    injector = Injector(testbed, window, origin_s)
    over = threading.Event()
    failures: list[Exception] = []

    def act() -> None:
        for step in steps:
            if over.wait(max(0.0, begin_s + step.at_s - time.monotonic())):
                return
            try:
                injector.carry_out(step)
            except (KeyError, OSError, RuntimeError) as error:
                failures.append(error)
                return

    thread = threading.Thread(target=act, name="faults")
    if steps:
        thread.start()
    try:
        yield injector
    finally:
        over.set()
        if steps:
            thread.join()
        injector.end()
    if failures:
        raise failures[0]
