"""The multicast socket and the timer that drive a `delivery.sender.Sender`. Does I/O."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from itertools import islice

from delivery.datagrams import BATCH, send
from delivery.errors import DeliveryError
from delivery.sender import Sender

HOP_LIMIT = 16
_SEND_BUFFER_BYTES = 4 << 20


def open_group(source: str, interface: str, group: str, port: int) -> socket.socket:
    """A UDP socket that sends from `source` to the group through `interface`. Raises DeliveryError."""
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise DeliveryError(f"there is no interface {interface}; --interface is one of {names}") from None
    sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sender.setblocking(False)
        sender.bind((source, 0))
        sender.connect((group, port, 0, index))
    except OSError as error:
        sender.close()
        raise DeliveryError(
            f"cannot send from {source} to {group} through {interface}: {error.strerror or error}; "
            "check --source, --interface and --group"
        ) from None
    return sender


class Stream:
    """Sends what the sender's machine gives, when it says so; sleeps in the event loop otherwise.

    `fail` is called with what the machine's objects raise while they are read; the stream goes on with what
    follows, unless it has been closed. `polled` is called whenever the machine has been asked.
    """

    def __init__(
        self,
        sender: Sender,
        sock: socket.socket,
        fail: Callable[[Exception], None],
        polled: Callable[[], None] = lambda: None,
    ) -> None:
        self.send_errors = 0
        """Datagrams the kernel refused; for the receivers they are lost like any other."""
        self._sender = sender
        self._socket = sock
        self._fail = fail
        self._polled = polled
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[bytes] = deque()

    def wake(self) -> None:
        """Call after anything was asked of the sender."""
        if self._waiting or self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._sender.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._send)

    def close(self) -> None:
        """Stop sending and close the socket."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._loop.remove_writer(self._socket)
            self._waiting.clear()
        self._socket.close()

    def _send(self) -> None:
        self._timer = None
        try:
            self._waiting.extend(self._sender.poll(self._loop.time()))
        except (DeliveryError, ValueError) as error:
            self._fail(error)
        self._polled()
        if self._is_closed:
            return
        if self._flush():
            self.wake()
        else:
            self._loop.add_writer(self._socket, self._resume)

    def _resume(self) -> None:
        if self._flush():
            self._loop.remove_writer(self._socket)
            self.wake()

    def _flush(self) -> bool:
        """Hand waiting datagrams to the kernel; False when it takes no more now."""
        while self._waiting:
            try:
                sent = send(self._socket, list(islice(self._waiting, BATCH)))
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self.send_errors += 1
                sent = 1
            for _ in range(sent):
                self._waiting.popleft()
        return True
