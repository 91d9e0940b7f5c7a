"""Network namespaces held by a file descriptor: no process and no name keeps them alive.

A thread enters one for a moment to make sockets or interfaces there; sockets stay in the namespace
they were made in. Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_OWN = "/proc/thread-self/ns/net"


def _check(result: int, call: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


class NetworkNamespace:
    """One network namespace. `fd` stays open until `close`."""

    def __init__(self, fd: int, name: str = "") -> None:
        self.fd = fd
        self.name = name

    @classmethod
    def create(cls, name: str = "") -> NetworkNamespace:
        """Make a new, empty namespace. The calling thread stays in its own.

        Raises OSError when the process may not (EPERM) or the kernel cannot.
        """
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare network namespace")
            try:
                return cls(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), name)
            finally:
                _check(_libc.setns(own, CLONE_NEWNET), "return to own network namespace")
        finally:
            os.close(own)

    @classmethod
    def current(cls, name: str = "") -> NetworkNamespace:
        """The namespace the calling thread is in."""
        return cls(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), name)

    def enter_for_good(self) -> None:
        """Move the calling thread here and leave it (for a child process after fork)."""
        _check(_libc.setns(self.fd, CLONE_NEWNET), f"enter network namespace {self.name}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with the calling thread in this namespace."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter_for_good()
            try:
                yield
            finally:
                _check(_libc.setns(own, CLONE_NEWNET), "return to own network namespace")
        finally:
            os.close(own)

    def sysctl(self, key: str, value: int | str) -> None:
        """Set a `net.*` sysctl of this namespace, e.g. `net.ipv6.conf.all.forwarding`."""
        with self.entered():
            Path("/proc/sys", *key.split(".")).write_text(str(value))

    def close(self) -> None:
        """Let go; the kernel removes the namespace when nothing else is in it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
