"""Real network namespaces for the tests of the acquisition modules, as root or as an ordinary user.

A test marked `isolated` runs in a forked process with a user and network namespace of its own, so that
nothing it makes outlives it or meets anything else on the machine.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import socket
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec

from topologies.namespaces import CLONE_NEWNET, NetworkNamespace

_CLONE_NEWUSER = 0x10000000
_P = ParamSpec("_P")


def isolated(test: Callable[_P, None]) -> Callable[_P, None]:
    """Run the test in a process with its own namespaces; its failure is reported with its traceback."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with tempfile.TemporaryFile("w+") as failure:
            process_id = os.fork()
            if process_id == 0:
                try:
                    os.setsid()
                    _enter_private_namespaces()
                    test(*args, **kwargs)
                except BaseException:
                    failure.write(traceback.format_exc())
                    failure.flush()
                finally:
                    os._exit(0)
            _, status = os.waitpid(process_id, 0)
            with suppress(ProcessLookupError):
                os.killpg(process_id, signal.SIGKILL)  # what a failed test left running
            failure.seek(0)
            assert not (text := failure.read()), text
        assert status == 0

    return run


class Namespace(NetworkNamespace):
    """A namespace that commands can be run in."""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside; the caller looks at the result."""
        with self.entered():
            return subprocess.run(command, capture_output=True, text=True, check=False)

    def command(self, *command: str) -> str:
        """Run a command that must succeed; returns its output."""
        result = self.run(*command)
        assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
        return result.stdout


def new_namespace() -> Namespace:
    """A new network namespace with loopback up; it ends with the process."""
    namespace = Namespace(NetworkNamespace.create().fd)
    namespace.command("ip", "link", "set", "lo", "up")
    return namespace


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """A veth pair between two namespaces, both ends up, without duplicate address detection."""
    peer = ("peer", "name", right_name, "netns", f"/proc/{os.getpid()}/fd/{right.fd}")
    left.command("ip", "link", "add", left_name, "type", "veth", *peer)
    for namespace, name in ((left, left_name), (right, right_name)):
        namespace.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
        namespace.command("ip", "link", "set", name, "up")
    for namespace, name in ((left, left_name), (right, right_name)):
        for _ in range(500):  # the kernel activates a link's queue some time after its carrier
            if " state UP " in namespace.command("ip", "link", "show", name):
                break
            time.sleep(0.01)


def wait_reachable(source: Namespace, target: Namespace, address: str) -> None:
    """Return when datagrams from `source` arrive at `address` in `target`: neighbours are resolved then."""
    with target.entered():
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with source.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((address, 7))
        receiver.settimeout(0.05)
        for _ in range(200):
            sender.sendto(b"there?", (address, 7))
            with suppress(TimeoutError):
                receiver.recv(16)
                return
    raise AssertionError(f"{address} was not reached in 10 s")


def _enter_private_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _unshare(CLONE_NEWNET)
        return
    _unshare(_CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}; these tests need unprivileged user namespaces")
