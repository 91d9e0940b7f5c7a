"""Serving HTTP for the origin and the edges: uvicorn without its ten wake-ups a second.

With `delivery.datagrams` the only module of `delivery` that does I/O; nothing of the protocol imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

KEEP_ALIVE_S = 600


def listen(address: str, port: int, *, backlog: int = 1024, free_bind: bool = False) -> socket.socket:
    """A listening IPv6 TCP socket; port 0 picks a free one. Raises OSError.

    `free_bind` allows an address that the host does not hold yet (IPV6_FREEBIND).
    """
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if free_bind:
            listener.setsockopt(socket.IPPROTO_IPV6, 78, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: Application,
    *,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    started: Callable[[], None] | None = None,
    keep_alive_s: int = KEEP_ALIVE_S,
    grace_s: int = 5,
    gather_s: float = 0.0,
    protocol: Callable[..., HttpToolsProtocol] | None = None,
) -> None:
    """Serve `app` on listening sockets until `stop` is set, then end open requests within `grace_s` seconds.

    `started` is called once connections are accepted. No periodic timer runs; signal handling is left to the
    caller. The sockets are closed at the end. `gather_s` lets that much of an upload gather before it is
    read on: for bulk uploads, where waking up costs more than the bytes. `protocol` makes what
    takes the place of uvicorn's own.
    """
    from uvicorn.server import Server

    class EventDrivenServer(Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            if started is not None:
                started()
            await stop.wait()

    config = _config(
        app,
        protocol or (_gathering_protocol(gather_s) if gather_s else "httptools"),
        keep_alive_s=keep_alive_s,
        grace_s=grace_s,
    )
    server = EventDrivenServer(config)
    server.server_state = _clocked_state()
    await server.serve(sockets=list(sockets))


Protocol = TypeVar("Protocol", bound="HttpToolsProtocol")


def connections_of(
    app: Application, protocol: Callable[..., Protocol]
) -> tuple[Callable[[], Protocol], ServerState]:
    """What makes uvicorn's protocol for connections that somebody else accepts, and what these share.

    Whoever accepts them ends them too: the state knows the connections and the requests being answered.
    """
    config, state = _config(app, protocol), _clocked_state()
    config.load()
    return partial(protocol, config=config, server_state=state, app_state={}), state


def _config(
    app: Application,
    protocol: Callable[..., HttpToolsProtocol] | str,
    *,
    keep_alive_s: int = KEEP_ALIVE_S,
    grace_s: int = 5,
) -> Config:
    """uvicorn's settings: no log of requests, and no fields that the application does not send."""
    from uvicorn.config import Config

    return Config(
        app,
        loop="asyncio",
        http=cast("type[HttpToolsProtocol]", protocol),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=grace_s,
    )


def _gathering_protocol(gather_s: float) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP/1.1 protocol, which rests for `gather_s` seconds after each read."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class GatheringProtocol(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self.transport.is_closing():
                self.transport.pause_reading()
                self.loop.call_later(gather_s, self._read_on)

        def _read_on(self) -> None:
            if not (self.flow.read_paused or self.transport.is_closing()):
                self.transport.resume_reading()

    return GatheringProtocol


class _UnlessSent(list[tuple[bytes, bytes]]):
    """Default fields that step back behind those an application sends: a proxy passes a Date on as it is."""

    def __add__(self, others: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        sent = {name.lower() for name, _ in others}
        return [field for field in self if field[0] not in sent] + others


def _clocked_state() -> ServerState:
    """uvicorn's shared state, with the Date header made when asked for instead of by a timer."""
    from uvicorn.server import ServerState

    class ClockedState(ServerState):
        _second = -1
        _headers: tuple[tuple[bytes, bytes], ...] = ()

        @property
        def default_headers(self) -> list[tuple[bytes, bytes]]:
            second = int(time.time())
            if second != self._second:
                self._second = second
                self._headers = ((b"date", formatdate(second, usegmt=True).encode()),)
            return _UnlessSent(self._headers)

        @default_headers.setter
        def default_headers(self, value: list[tuple[bytes, bytes]]) -> None:
            pass

    return ClockedState()
