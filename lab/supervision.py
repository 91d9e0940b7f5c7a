"""A lab's outermost process, seen from this side: start it, read what it prints, end it, take its result."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lab.console import Console, Progress
from lab.jobs import Job, JobResult, LabError, clear_result, read_result

WATCH_INTERVAL_S = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def run_lab(
    command: Sequence[str],
    job: Job,
    progress: Progress,
    cancel: threading.Event,
    *,
    what: str,
    environment: Mapping[str, str],
    folder: Path,
    prepare: Callable[[], None] = lambda: None,
    channel: socket.socket | None = None,
) -> JobResult:
    """Run `command`, in which the job runs, to its end; `prepare` is called in the new process, which gets
    `channel` under the same number.

    An interactive job gets this terminal; of any other what it prints goes to `console.log` and to
    `progress`. Raises LabError when the process ended without a result, when `cancel` was set, or when
    the watchdog's limit has passed. The process is gone in any case, also when this one dies.
    """
    started = time.monotonic()
    clear_result(job.out)

    def begin() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prepare()

    terminal = job.interactive
    process = subprocess.Popen(
        command,
        stdin=None if terminal and os.isatty(0) else subprocess.DEVNULL,
        stdout=None if terminal else subprocess.PIPE,
        stderr=None if terminal else subprocess.STDOUT,
        env=dict(environment),
        cwd=folder,
        start_new_session=not terminal,
        preexec_fn=begin,
        pass_fds=() if channel is None else (channel.fileno(),),
    )
    if channel is not None:
        channel.close()
    console = Console(job.out / "console.log", progress)
    reader = threading.Thread(target=console.read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        _wait(process, job, cancel, what, console)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    reader.join(5)
    result = read_result(job.out)
    if result is None:
        raise LabError(
            f"{what} ended with status {process.returncode} before job {job.entry} finished; "
            f"its last lines: {console.tail()} (console: {job.out / 'console.log'})"
        )
    return replace(result, wall_s=time.monotonic() - started)


def _wait(
    process: subprocess.Popen[bytes], job: Job, cancel: threading.Event, what: str, console: Console
) -> None:
    """Wait for the end: the watchdog on the wall clock, and the way out for the person outside."""
    deadline = math.inf if job.interactive else time.monotonic() + job.wall_limit_s
    while True:
        try:
            process.wait(WATCH_INTERVAL_S)
            return
        except subprocess.TimeoutExpired:
            pass
        if cancel.is_set():
            raise LabError(f"{what} was interrupted (job {job.entry})")
        if time.monotonic() > deadline:
            raise LabError(
                f"{what} was ended after {job.wall_limit_s:.0f} s of wall time (job {job.entry}, output in "
                f"{job.out}); its last lines: {console.tail()}"
            )
