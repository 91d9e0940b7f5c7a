"""The runtime with the faults of os-ken's native hub mended, and a listener of our own.

Mended: a switch that disconnects is noticed at once (os-ken waits for a thread that waits for work), a
silent one after a few unanswered echo requests, and no thread keeps the process from ending.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from typing import Any

from controller.openflow import ryu_api
from controller.openflow.ryu_api import hub

ECHO_INTERVAL_S = 15.0
MAX_UNANSWERED_ECHOES = 2
_SOCKET_TIMEOUT_S = 20.0
"""How long a switch may refuse to read before its connection ends; longer than the echo interval, so that
a healthy but idle connection never wakes up for it."""


class MendedDatapath(ryu_api.Datapath):
    """A connection to a switch that is dead as soon as nothing can be received from it any more."""

    def __init__(self, connection: socket.socket, address: Any) -> None:
        super().__init__(connection, address)
        self.socket.settimeout(_SOCKET_TIMEOUT_S)
        self.echo_request_interval = ECHO_INTERVAL_S
        self.max_unreplied_echo_requests = MAX_UNANSWERED_ECHOES

    def _recv_loop(self) -> None:
        try:
            super()._recv_loop()
        finally:
            self.set_state(ryu_api.handler.DEAD_DISPATCHER)
            # The send loop sleeps in its queue; an empty message with "close" wakes it for good.
            self.send(b"", close_socket=True)

    def disconnect(self) -> None:
        """Close the connection from any thread; the switch will come back and be told everything anew."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed


class Listener:
    """Accepts switches on a listening socket; stands in for the runtime's OpenFlowController."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening

    def __call__(self) -> None:
        """Serve for ever, one thread per switch."""
        while True:
            connection, address = self._listening.accept()
            hub.spawn(_serve, connection, address)


def _serve(connection: socket.socket, address: Any) -> None:
    datapath = MendedDatapath(connection, address)
    try:
        datapath.serve()
    finally:
        datapath.close()


def listen(address: str, port: int) -> socket.socket:
    """A listening socket for switches. Raises OSError when the address cannot be used."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError:
        listening.close()
        raise
    listening.listen(256)
    return listening


def run_app(module: str, context: dict[str, Any], listening: socket.socket) -> None:
    """Start the application in `module` with the runtime's OpenFlow handler.

    `context` is handed to its constructor by keyword. Everything runs in threads that do not keep the
    process alive.
    """
    if not ryu_api.IS_COOPERATIVE:
        hub.HubThread = _daemon_thread(hub.HubThread)
    ryu_api.ofp_handler.OpenFlowController = lambda: Listener(listening)
    manager = ryu_api.AppManager.get_instance()
    manager.load_apps([module, ryu_api.ofp_handler.__name__])
    manager.instantiate_apps(**manager.create_contexts(), **context)


def wait_for_signal(signals: Iterable[signal.Signals]) -> int:
    """Wait for one of these signals, which must be blocked, while everything else goes on."""
    return ryu_api.block(signal.sigwait, tuple(signals))


def _daemon_thread(hub_thread: Any) -> Any:
    class DaemonThread(hub_thread):
        def __init__(self, target: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> None:
            super().__init__(target, args, kwargs)
            self.daemon = True

    return DaemonThread
