"""Waiting until a server of a host accepts connections, asked from the host itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from experiments.testbed import TestbedError
from topologies.namespaces import NetworkNamespace

TIMEOUT_S = 10.0
_POLL_S = 0.02


def wait_listening(namespace: NetworkNamespace, address: str, port: int, check: Callable[[], None]) -> None:
    """Return when a TCP connection succeeds; `check` raises when the server has ended.

    Raises TestbedError when it takes too long.
    """
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        with namespace.entered():
            attempt = socket.socket(socket.AF_INET6)
        with attempt:
            if attempt.connect_ex((address, port)) == 0:
                return
        check()
        if time.monotonic() > deadline_s:
            raise TestbedError(f"nobody listens at [{address}]:{port} after {TIMEOUT_S:g} s")
        time.sleep(_POLL_S)
