"""The guest lab: boot a User-Mode Linux kernel as an ordinary process, run one job in it, bring results out.

The guest sees the host's file system read-only; what the job writes below its `out` folder is all that
reaches the host. One guest is one thread of work, so it is pinned to one CPU (left on two it is several
times slower); a second lab takes the next CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import resource
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from lab.cache import cache_dir
from lab.console import Progress
from lab.jobs import CHECKOUT, Clock, Job, JobResult, LabError, description
from lab.relay import CHANNEL_VARIABLE, SERIAL_LINE, relayed
from lab.supervision import run_lab

EPOCH_NS = 1_767_225_600_000_000_000
"""The guest's wall clock at boot under the virtual clock: 2026-01-01T00:00:00Z, the same in every run."""
ADDR_NO_RANDOMIZE = 0x0040000
GUEST_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def run_in_guest(kernel: Path, job: Job, progress: Progress, cancel: threading.Event) -> JobResult:
    """Boot `kernel`, run `job`, wait for its end.

    Raises LabError when the guest crashed or the watchdog ended it (with its last console lines) and when
    `cancel` was set; whatever happens, no process and no file is left behind.
    """
    with _boot_folder() as folder, _cpu() as cpu, relayed(job.reachable_at) as channel:
        _write_boot_files(folder, job)

        def prepare() -> None:
            ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
            os.sched_setaffinity(0, {cpu})
            # hostfs keeps every file of the host open that the guest has seen.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        environment = {"TMPDIR": str(folder), "HOME": str(folder), "PATH": GUEST_PATH}
        environment["NEARCAST_SEED"] = str(job.seed)
        return run_lab(
            _command(kernel, job, channel),
            job,
            progress,
            cancel,
            what="the guest",
            environment=environment,
            folder=folder,
            prepare=prepare,
            channel=channel,
        )


def _command(kernel: Path, job: Job, channel: socket.socket | None) -> list[str]:
    """The kernel's command line. It is part of the kernel's randomness, so it names no boot folder: two
    boots have the same."""
    command = [
        str(kernel),
        f"mem={job.memory_mb}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "init=/proc/self/cwd/init",
        "umid=guest",
        "con0=fd:0,fd:1",
        "con=null",
        "loglevel=3",
        "panic=-1",
        # The jitter entropy source spins for ever on a clock that stands still.
        "initcall_blacklist=jent_mod_init",
    ]
    if job.clock is Clock.VIRTUAL:
        # Calibration of the delay loop never ends under the virtual clock, so its result is given.
        command += ["time-travel=inf-cpu", f"time-travel-start={EPOCH_NS}", "lpj=15000000"]
    if channel is not None:
        command.append(f"ssl0=fd:{channel.fileno()}")
    return command


def _write_boot_files(folder: Path, job: Job) -> None:
    """The job and the init program, which the kernel finds by the host's idea of its working directory."""
    environment = {
        "PATH": GUEST_PATH,
        "HOME": "/run/tmp",
        "TMPDIR": "/run/tmp",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": os.environ.get("TERM", "linux"),
    }
    if job.reachable_at is not None:
        environment[CHANNEL_VARIABLE] = SERIAL_LINE
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(description(job, environment, work="/run/nearcast")))
    init = folder / "init"
    settings = " ".join(f"{name}='{value}'" for name, value in environment.items())
    init.write_text(
        f"#!/bin/sh\nexec env {settings} '{sys.executable}' -s '{CHECKOUT}/lab/guest_init.py' '{job_file}'\n"
    )
    init.chmod(0o755)


@contextlib.contextmanager
def _boot_folder() -> Iterator[Path]:
    """A private folder for the memory file and boot files, where memory can be mapped executable."""
    place = memory_folder()
    _sweep(Path(place))
    folder = Path(tempfile.mkdtemp(prefix=f"nearcast-{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what this user's labs left that were killed before they could."""
    for folder in place.glob("nearcast-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            with contextlib.suppress(FileNotFoundError):
                if folder.stat().st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)


def memory_folder() -> str:
    """Where the guest's memory file can live. Raises LabError when no folder allows executable mappings."""
    candidates = ["/dev/shm", tempfile.gettempdir(), "/var/tmp"]
    for candidate in candidates:
        if " " not in candidate and _maps_executable(candidate):
            return candidate
    raise LabError(
        f"the guest lab needs a folder without `noexec` for its memory, none of {', '.join(candidates)} "
        "is; set TMPDIR to one"
    )


def _maps_executable(folder: str) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC):
                return True
    except OSError:
        return False


@contextlib.contextmanager
def _cpu() -> Iterator[int]:
    """A CPU that no other guest of this user holds, or the first one when all are taken."""
    cpus = sorted(os.sched_getaffinity(0))
    for cpu in reversed(cpus):
        path = cache_dir() / "locks" / f"cpu{cpu}"
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield cpu
        finally:
            os.close(descriptor)
        return
    yield cpus[0]
