"""The labs that several tests look at: each runs once a session, two at a time, in the background."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Event
from typing import Any

from experiments.scenario import Scenario
from lab.guest import run_in_guest
from lab.jobs import Job, JobResult

WALL_LIMIT_S = 300.0


@dataclass(frozen=True)
class Finished:
    """A lab that has ended: its job, its result and the files it left."""

    job: Job
    result: JobResult

    @property
    def out(self) -> Path:
        """The folder with what the lab left."""
        return self.job.out

    def rows(self, name: str) -> list[dict[str, str]]:
        """A CSV file of the run; fails when it is empty."""
        with (self.out / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows, f"{name} has no rows"
        return rows

    def events(self, name: str) -> list[dict[str, Any]]:
        """A file of JSON lines."""
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    def facts(self) -> dict[str, Any]:
        """What a job of these tests left in facts.json."""
        found: dict[str, Any] = json.loads((self.out / "facts.json").read_text())
        return found


def scenario_job(scenario: Scenario, out: Path) -> Job:
    """The job that runs a scenario, as the runner makes it."""
    return Job(
        "experiments.inside:run",
        {"scenario": scenario.to_json()},
        out,
        seed=scenario.seed,
        wall_limit_s=WALL_LIMIT_S,
    )


class Labs:
    """Starts jobs by name ahead of the tests that want them."""

    def __init__(self, kernel: Path, folder: Path, makers: dict[str, Callable[[Path], Job]]) -> None:
        """`makers` make the job of a name, given the folder for its output."""
        self._kernel = kernel
        self._folder = folder
        self._makers = makers
        cpus = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(cpus)
        self._turns = BoundedSemaphore(cpus)
        self._cancel = Event()
        self._futures: dict[str, Future[Finished]] = {}

    def start(self, names: Iterable[str]) -> None:
        """Start the jobs that have not been started yet."""
        for name in names:
            if name not in self._futures:
                job = self._makers[name](self._folder / name)
                self._futures[name] = self._pool.submit(self.run, job)

    def run(self, job: Job) -> Finished:
        """Run one job here, as soon as a CPU is free: on the real clock labs must not crowd each other."""
        with self._turns:
            return Finished(job, run_in_guest(self._kernel, job, lambda _text: None, self._cancel))

    def finished(self, name: str) -> Finished:
        """Wait for a job; fails when it did not go well."""
        self.start([name])
        finished = self._futures[name].result()
        assert finished.result.ok, f"{name}: {finished.result.error} ({finished.out})"
        return finished

    def close(self) -> None:
        """End what still runs."""
        self._cancel.set()
        self._pool.shutdown(cancel_futures=True)
