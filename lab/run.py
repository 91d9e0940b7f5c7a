"""Choose a lab and run jobs in it: the guest by default, the native lab where it was asked for."""

from __future__ import annotations

import os
from enum import StrEnum
from threading import Event

from lab.console import Progress
from lab.guest import run_in_guest
from lab.jobs import Clock, Job, JobResult
from lab.kernel import ensure_kernel
from lab.native import run_natively
from lab.progress import ProgressSink, silent


class LabKind(StrEnum):
    """Where a topology runs (docs/lab.md)."""

    GUEST = "guest"
    NATIVE = "native"

    @property
    def clock(self) -> Clock:
        """The clock experiments use there."""
        return Clock.VIRTUAL if self is LabKind.GUEST else Clock.REAL

    def prepare(self, progress: ProgressSink = silent) -> None:
        """Make the lab ready; builds the guest's kernel when the cache has none."""
        if self is LabKind.GUEST:
            ensure_kernel(progress)

    @property
    def width(self) -> int:
        """How many jobs may run side by side: guests one per CPU; native labs share the clock, so one."""
        return len(os.sched_getaffinity(0)) if self is LabKind.GUEST else 1

    def run(self, job: Job, progress: Progress, cancel: Event) -> JobResult:
        """Run one job. Raises LabError, also when `cancel` was set meanwhile, and KernelError."""
        if self is LabKind.GUEST:
            return run_in_guest(ensure_kernel().path, job, progress, cancel)
        return run_natively(job, progress, cancel)
