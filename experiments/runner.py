"""Run an experiment: labs side by side, raw data into its folder, then the analysis."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

from experiments.options import Options
from experiments.scenario import Scenario
from experiments.summary import Summary, analyse
from lab.jobs import CHECKOUT, Job, LabError
from lab.run import LabKind

EXPERIMENTS = (
    *("demo", "latency", "backbone", "failover", "drain", "gateway"),
    *("private-routing", "neighbours", "scope", "privacy", "attacks", "overload"),
    *("channels", "locality", "sync", "vpn", "clients", "names"),
)
ENTRY = "experiments.inside:run"


@dataclass(frozen=True)
class Limits:
    """What one lab may take: seconds of wall time; memory, of a guest."""

    wall_limit_s: float = 900.0
    memory_mb: int = 2048


@dataclass(frozen=True)
class Run:
    """A finished experiment."""

    folder: Path
    summary: Summary


def experiment_module(name: str) -> ModuleType:
    """The module of an experiment: `scenarios(options)`, `TAKES`, `SMALL_SITE`; where they differ from what
    others have, `NETWORK` (the topology when nobody asks for one), `WALL_LIMIT_S`, `MEMORY_MB` of a guest,
    and `make_site(folder, options)`, which writes a site of the experiment's own."""
    return importlib.import_module(f"experiments.{name.replace('-', '_')}")


def run_experiment(
    name: str,
    options: Options,
    kind: LabKind,
    results: Path,
    progress: Callable[[str, str], None],
    *,
    command: str,
) -> Run:
    """Run every scenario of experiment `name` and analyse what they left.

    `progress` receives (scenario, what it does now); `command` is how a person repeats this. Raises
    LabError when a scenario failed; the folder then holds its console and traceback.
    """
    module = experiment_module(name)
    scenarios: list[Scenario] = module.scenarios(options)
    limits = Limits(
        getattr(module, "WALL_LIMIT_S", Limits.wall_limit_s), getattr(module, "MEMORY_MB", Limits.memory_mb)
    )
    folder = new_run_folder(results / name, options.seed)
    began = time.monotonic()
    walls = _run_all(scenarios, kind, folder, progress, limits)
    labs_s = time.monotonic() - began
    progress("analysis", "computing claims, drawing pictures, writing the report")
    context = {
        "lab": str(kind),
        "clock": str(kind.clock),
        "commit": _commit(),
        "wall": {"scenarios_s": walls, "labs_s": round(labs_s, 3)},
        "command": command,
        "off": list(options.off),
    }
    summary = analyse(folder, options.topology, name, seed=options.seed, context=context)
    return Run(folder, summary)


def new_run_folder(experiment: Path, seed: int) -> Path:
    """A folder of its own for this run, named by time and seed; `latest` points to the newest."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        experiment.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"--results: cannot make {experiment}: {error.strerror}; name another folder"
        ) from None
    for attempt in range(1, 1000):
        folder = experiment / (f"{stamp}-seed{seed}" + (f"-{attempt}" if attempt > 1 else ""))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        link = experiment / f".latest-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(experiment / "latest")
        return folder
    raise LabError(f"cannot make a new folder in {experiment}; remove old runs")


def _run_all(
    scenarios: list[Scenario],
    kind: LabKind,
    folder: Path,
    progress: Callable[[str, str], None],
    limits: Limits,
) -> dict[str, float]:
    """Run scenarios in the given order, as many at a time as the lab allows; wall seconds of each."""
    cancel = Event()
    walls: dict[str, float] = {}

    def one(scenario: Scenario) -> None:
        job = Job(
            ENTRY,
            {"scenario": scenario.to_json()},
            folder / "raw" / scenario.name,
            clock=kind.clock,
            seed=scenario.seed,
            wall_limit_s=limits.wall_limit_s,
            memory_mb=limits.memory_mb,
        )
        result = kind.run(job, lambda text: progress(scenario.name, text), cancel)
        if not result.ok:
            raise LabError(f"scenario {scenario.name}: {result.error} (details: {job.out})")
        walls[scenario.name] = round(result.wall_s, 3)

    with ThreadPoolExecutor(kind.width) as pool, interruptible(cancel):
        futures: list[Future[None]] = [pool.submit(one, scenario) for scenario in scenarios]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            cancel.set()
            for future in futures:
                future.cancel()
            raise
    return {scenario.name: walls[scenario.name] for scenario in scenarios}


@contextmanager
def interruptible(cancel: Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the labs first, then this process."""

    def on_signal(number: int, _frame: Any) -> None:
        cancel.set()
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _commit() -> str:
    """The checkout's commit, with `+` when the tree differs from it; `unknown` outside a checkout."""
    try:
        head = subprocess.run(
            ["git", "-C", str(CHECKOUT), "describe", "--always", "--abbrev=12", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip()
