"""Our own ways: the multicast stream, and the unicast push it is compared with, into the edges' stores."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path

from experiments.scenario import Mode
from experiments.testbed import TestbedError
from experiments.ways.way import TIMEOUT_S, Arrival, Task, Way


class Multicast(Way):
    """`python -m origin publish` to all edges at once."""

    mode = Mode.EDGE

    def __init__(self, task: Task) -> None:
        """Nothing happens yet."""
        super().__init__(task)
        self._began_at = time.monotonic()

    def send(self) -> None:
        """Publish; what it printed stays as a log. Raises TestbedError."""
        self._began_at = time.monotonic()
        process = self.task.testbed.start_publication(
            self.task.name, self.task.site, self.mode, self.targets(), timeout_s=TIMEOUT_S
        )
        status = process.wait()
        self.task.testbed.processes.forget(process)
        text = process.log.read_text()
        if status != 0:
            raise TestbedError(f"{self.task.name} ended with status {status}: {process.last_lines(2)}")
        summary = json.loads(text[text.index("{") :])
        self.notes = {"repair_symbols": int(summary.get("repair_symbols", 0))}

    def targets(self) -> Mapping[str, str]:
        """Where edges are pushed to."""
        return {edge: self.task.address(edge) for edge in self.task.edges}

    def arrivals(self) -> list[Arrival]:
        """By the edges' own verify command, and their own events."""
        return [self._arrival(edge) for edge in self.task.edges]

    def store(self, edge: str) -> Path:
        """The store that is written to."""
        return self.task.testbed.store(edge)

    def events(self, edge: str) -> Path:
        """Where the edge says when it is complete."""
        return self.task.testbed.raw / f"{edge}.jsonl"

    def _arrival(self, edge: str) -> Arrival:
        argv = ["verify", "--store", str(self.store(edge)), "--against", str(self.task.site), "--json"]
        with contextlib.redirect_stdout(io.StringIO()):
            status = importlib.import_module("edge_node.__main__").main(argv)
        completed = completed_at(self.events(edge), self._began_at)
        return Arrival(edge, status == 0, completed if status == 0 else None)


class Push(Multicast):
    """`python -m origin push`: one connection to each edge."""

    mode = Mode.PUSH


def completed_at(events: Path, since: float) -> float | None:
    """When an edge had everything, by its own events after `since`."""
    found = map(json.loads, events.read_text().splitlines() if events.exists() else ())
    times = [float(event["t"]) for event in found if event["event"] == "complete" and event["t"] >= since]
    return times[-1] if times else None
