"""A job: a Python function to call inside a lab, with plain arguments; how it ended.

The same job runs in the guest and natively; only how the surrounding lab is made differs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Clock(StrEnum):
    """Which time the lab runs on (docs/lab.md)."""

    VIRTUAL = "virtual"
    REAL = "real"


@dataclass(frozen=True)
class Job:
    """`entry` is `module:function`; it is called as function(out: Path, work: Path, **arguments).

    `out` is the folder that reaches the host, `work` scratch space inside the lab. `seed` fixes the
    guest's randomness under either clock. `wall_limit_s` is the watchdog's limit in seconds of
    wall-clock time. `reachable_at` is the Unix socket at which other terminals reach the job
    (`lab.relay`), if they may.
    """

    entry: str
    arguments: dict[str, Any]
    out: Path
    clock: Clock = Clock.VIRTUAL
    seed: int = 1
    wall_limit_s: float = 600.0
    memory_mb: int = 2048
    interactive: bool = False
    reachable_at: Path | None = None


@dataclass(frozen=True)
class JobResult:
    """How a job ended: `error` is one line for people, empty when it went well."""

    ok: bool
    error: str = ""
    wall_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


class LabError(RuntimeError):
    """A lab could not run its job. The message is one line: what, where, what to do."""


SCRATCH = "/var/tmp"
"""Where files for a lab are made: the guest covers /run and /dev, so TMPDIR may be out of its sight."""
RESULT_FILE = "job-result.json"
CHECKOUT = Path(__file__).resolve().parent.parent


def description(job: Job, environment: dict[str, str], *, work: str) -> dict[str, Any]:
    """The job as plain data for the other side; `work` is the lab's own scratch folder there."""
    return {
        "entry": job.entry,
        "arguments": job.arguments,
        "clock": str(job.clock),
        "interactive": job.interactive,
        "out": str(job.out.resolve()),
        "work": work,
        "environment": environment,
        "checkout": str(CHECKOUT),
    }


def clear_result(out: Path) -> None:
    """Make the folder, without the result of an earlier job."""
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULT_FILE).unlink(missing_ok=True)


def write_result(out: Path, result: JobResult) -> None:
    """Leave the result for the host."""
    (out / RESULT_FILE).write_text(json.dumps(asdict(result)))


def read_result(out: Path) -> JobResult | None:
    """The result a job left, or None when it left none."""
    path = out / RESULT_FILE
    if not path.exists():
        return None
    return JobResult(**json.loads(path.read_text()))
