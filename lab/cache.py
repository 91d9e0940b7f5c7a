"""The user's cache directory, shared by all checkouts: kernels, downloads, and the locks around them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/nearcast`, or `~/.cache/nearcast` (XDG base directory specification: a relative
    value is ignored). The directory need not exist."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "nearcast"


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; the kernel releases it when this process ends, however it ends.

    When another process holds it, `on_wait` is called once with who that is (`process 1234`), then this
    call waits; Ctrl-C ends the wait. Raises OSError when the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                on_wait(f"process {holder}" if holder else "another process")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def publish_dir(staged: Path, final: Path) -> None:
    """Make the finished directory `staged` appear as `final` in one step, on disk for good.

    Both must lie on one file system. A `final` that exists is replaced.
    """
    for file in staged.iterdir():
        _sync(file)
    _sync(staged)
    if final.exists():
        shutil.rmtree(final)
    staged.rename(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
