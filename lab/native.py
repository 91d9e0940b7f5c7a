"""The native lab: the same job on this machine's own kernel, as root, in namespaces of its own.

One private network, process and mount namespace per lab: when its first process ends, the kernel ends
everything in it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from lab.console import Progress
from lab.jobs import CHECKOUT, Clock, Job, JobResult, LabError, description
from lab.relay import CHANNEL_VARIABLE, relayed
from lab.supervision import run_lab


def run_natively(job: Job, progress: Progress, cancel: threading.Event) -> JobResult:
    """Run `job` in fresh namespaces of this kernel and wait for its end.

    Raises LabError when this process is not root, when the job asks for the virtual clock, when `cancel`
    was set, or when the job's process died or exceeded its wall-clock limit.
    """
    if os.geteuid() != 0:
        raise LabError("the native lab needs root: run it with sudo, or use --lab guest")
    if job.clock is Clock.VIRTUAL:
        raise LabError("the native lab has the real clock only; the virtual one needs --lab guest")
    work = Path(tempfile.mkdtemp(prefix="nearcast-", dir="/dev/shm"))
    try:
        return _run(job, work, progress, cancel)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(job: Job, work: Path, progress: Progress, cancel: threading.Event) -> JobResult:
    with relayed(job.reachable_at) as channel:
        job_file = work / "job.json"
        job_file.write_text(json.dumps(description(job, {}, work=str(work / "lab"))))
        # unshare makes the namespaces and ends everything in them when it ends itself.
        command = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
        command += [sys.executable, "-m", "lab.inside", str(job_file), str(job.out.resolve())]
        environment = os.environ | {
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(CHECKOUT),
            "TMPDIR": str(work),
        }
        if channel is not None:
            environment[CHANNEL_VARIABLE] = str(channel.fileno())
        return run_lab(
            command,
            job,
            progress,
            cancel,
            what="the native lab",
            environment=environment,
            folder=work,
            channel=channel,
        )
