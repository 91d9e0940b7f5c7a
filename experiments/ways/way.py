"""What a way of sync is given, and what is asked of it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from experiments.acts.context import Context
from experiments.testbed import Testbed, TestbedError

TIMEOUT_S = 3600.0
"""On the lab's clock: ten thousand files take some ways many minutes."""
STOP_S = 5.0
_LAST_BYTES = 300


@dataclass(frozen=True)
class Task:
    """Bring `site` to all running edges of the lab. `folder` is scratch space, `rate_mbps` what multicast may
    take of the origin's line, counted in whole frames; `name` is the cell's."""

    context: Context
    name: str
    site: Path
    folder: Path
    rate_mbps: float

    @property
    def testbed(self) -> Testbed:
        """The lab."""
        return self.context.testbed

    @property
    def edges(self) -> tuple[str, ...]:
        """Who is to have it."""
        return self.testbed.active_edges

    @cached_property
    def origin_address(self) -> str:
        """The origin's ULA."""
        return self.address(self.testbed.origin)

    def address(self, host: str) -> str:
        """The ULA of an edge or of the origin."""
        return str(self.testbed.plan.hosts[host].unicast)

    def received(self, edge: str) -> Path:
        """Where a way that leaves plain files puts those of an edge."""
        return self.folder / "received" / edge


@dataclass(frozen=True, slots=True)
class Arrival:
    """What an edge has in the end, and since when (monotonic seconds; None: it never had all)."""

    edge: str
    is_identical: bool
    completed_at: float | None


class Way(ABC):
    """One way, for one cell: `prepare`, `send`, `arrivals`, `close`, in this order."""

    def __init__(self, task: Task) -> None:
        """Nothing happens yet."""
        self.task = task
        self.stack = ExitStack()
        self.programs = Programs(task)
        self.notes: Mapping[str, int] = {}
        """What the way says of itself; `repair_symbols` is in every row of the results."""

    def prepare(self) -> None:
        """Start what receives, if it does not run already. Not part of what is measured."""
        return

    @abstractmethod
    def send(self) -> None:
        """Bring the site to all edges; returns when the sender is done. Raises RuntimeError."""

    @abstractmethod
    def arrivals(self) -> list[Arrival]:
        """What every edge has now."""

    def close(self) -> None:
        """End what `prepare` has started."""
        self.programs.stop()
        self.stack.close()


@dataclass
class Programs:
    """Other people's programs in hosts of the lab, each with its output in a log."""

    task: Task
    running: dict[str, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict)

    def start(self, name: str, host: str, command: Sequence[str]) -> None:
        """Start a program in a host. Raises TestbedError when there is none of that name."""
        log = self.task.testbed.raw / "logs" / f"{self.task.name}-{name}.log"
        with log.open("wb") as output:
            try:
                process = self.task.testbed.net[host].popen(
                    *command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            except OSError as error:
                what = f"cannot run {command[0]} ({error.strerror})"
                raise TestbedError(f"{what}; `scripts/bootstrap.sh` installs it") from None
        self.running[name] = process, log

    def check(self) -> None:
        """Raises TestbedError when a program has ended."""
        for name, (process, log) in self.running.items():
            if process.poll() is not None:
                raise TestbedError(f"{name} ended with status {process.returncode}: {last_words(log)}")

    def finish(self, name: str) -> None:
        """Wait until a program has done its work. Raises TestbedError when it fails or takes too long."""
        process, log = self.running.pop(name)
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise TestbedError(f"{name} is not done after {TIMEOUT_S:g} s: {last_words(log)}") from None
        if status != 0:
            raise TestbedError(f"{name} ended with status {status}: {last_words(log)}")

    def stop(self) -> None:
        """End all that still run."""
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()


def last_words(log: Path) -> str:
    """The end of what a program said, in one line."""
    text = log.read_text(errors="replace")[-_LAST_BYTES:]
    return " / ".join(line.strip() for line in text.splitlines()[-2:]) or "no output"
