"""The first process of the guest: mounts, then the job, then power off. Runs as PID 1.

Started by the kernel with nothing but the host's file system read-only as root (hostfs). Standard
library only until the job's own environment is in place.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
POWER_OFF = 0x4321FEDC


def mount(source: str, target: str, kind: str, options: str = "") -> None:
    """mount(2). Raises OSError."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {kind} on {target}: {os.strerror(error)}")


def make_root(out: str) -> None:
    """A writable view of the host: tmpfs over hostfs; the folder `out` alone is the host's own.

    Only what is written below /out reaches the host.
    """
    mount("run", "/run", "tmpfs")
    for folder in ("upper", "work", "root"):
        os.mkdir(f"/run/{folder}")
    mount("root", "/run/root", "overlay", "lowerdir=/,upperdir=/run/upper,workdir=/run/work")
    os.makedirs("/run/root/out", exist_ok=True)
    mount("none", "/run/root/out", "hostfs", out)
    mount("dev", "/run/root/dev", "devtmpfs")
    mount("proc", "/run/root/proc", "proc")
    mount("sys", "/run/root/sys", "sysfs")
    mount("run", "/run/root/run", "tmpfs")
    os.makedirs("/run/root/dev/shm", exist_ok=True)
    mount("shm", "/run/root/dev/shm", "tmpfs")
    os.makedirs("/run/root/dev/pts", exist_ok=True)
    mount("pts", "/run/root/dev/pts", "devpts")
    os.chroot("/run/root")
    os.chdir("/")
    os.mkdir("/run/tmp", 0o1777)


def main(job_file: str) -> None:
    """Run the job and power off, whatever happens."""
    try:
        mount("proc", "/proc", "proc")
        job = json.loads(Path(job_file).read_text())
        make_root(job["out"])
        os.environ.update(job["environment"])
        sys.path.insert(0, job["checkout"])
        from lab import inside

        inside.run(job, Path("/out"))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        _libc.reboot(POWER_OFF)


if __name__ == "__main__":
    main(sys.argv[1])
