"""Entering a network namespace for the length of one block, from one thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc: ctypes.CDLL | None = None


@contextmanager
def inside(namespace: int | str | Path) -> Iterator[None]:
    """Run the block in `namespace`: an open descriptor, or a path such as `/proc/PID/ns/net`.

    setns(2) moves the calling thread only, so other threads are not disturbed; sockets opened inside
    stay in the namespace afterwards. Raises OSError when the namespace is gone or may not be entered.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if isinstance(namespace, int):
            _setns(namespace)
        else:
            target = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(target)
            finally:
                os.close(target)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(descriptor: int) -> None:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot enter the network namespace: {os.strerror(error)}")
