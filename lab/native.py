"""The native lab: the same job on this machine's own kernel, as root, in namespaces of its own.

One private network, process and mount namespace per lab: when its first process ends, the kernel ends
everything in it.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from lab.console import Console, Progress
from lab.jobs import (
    CHECKOUT,
    Clock,
    Job,
    JobResult,
    LabError,
    clear_result,
    description,
    read_result,
    wait_for_end,
)

PR_SET_PDEATHSIG = 1


def run_natively(job: Job, progress: Progress, cancel: threading.Event) -> JobResult:
    """Run `job` in fresh namespaces of this kernel and wait for its end.

    Raises LabError when this process is not root, when the job asks for the virtual clock, when `cancel`
    was set, or when the job's process died or exceeded its wall-clock limit.
    """
    if os.geteuid() != 0:
        raise LabError("the native lab needs root: run it with sudo, or use --lab guest")
    if job.clock is Clock.VIRTUAL:
        raise LabError("the native lab has the real clock only; the virtual one needs --lab guest")
    started = time.monotonic()
    clear_result(job.out)
    work = Path(tempfile.mkdtemp(prefix="nearcast-", dir="/dev/shm"))
    try:
        console = Console(job.out / "console.log", progress)
        lab = _spawn(job, work)
        reader = threading.Thread(target=console.read, args=(lab.stdout,), daemon=True)
        reader.start()
        try:
            wait_for_end(lab, job, cancel, "the native lab", console.tail)
        finally:
            if lab.poll() is None:
                lab.kill()
                lab.wait()
        reader.join(5)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    result = read_result(job.out)
    if result is None:
        raise LabError(
            f"the native lab ended with status {lab.returncode} before job {job.entry} finished; "
            f"its last lines: {console.tail()} (console: {job.out / 'console.log'})"
        )
    return replace(result, wall_s=time.monotonic() - started)


def _spawn(job: Job, work: Path) -> subprocess.Popen[bytes]:
    """`unshare` makes the namespaces and kills everything in them when it dies itself."""
    environment = dict(os.environ) | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(CHECKOUT),
        "TMPDIR": str(work),
    }
    job_file = work / "job.json"
    job_file.write_text(json.dumps(description(job, {}, work=str(work / "lab"))))
    command = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", "lab.inside", str(job_file), str(job.out.resolve())]
    libc = ctypes.CDLL(None)
    return subprocess.Popen(
        command,
        stdin=None if job.interactive else subprocess.DEVNULL,
        stdout=None if job.interactive else subprocess.PIPE,
        stderr=None if job.interactive else subprocess.STDOUT,
        env=environment,
        cwd=work,
        start_new_session=not job.interactive,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
