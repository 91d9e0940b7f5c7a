"""The TLS port: who may come in before any handshake, the handshake, then HTTP/2 or HTTP/1.1 by ALPN."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from hypercorn.asyncio.worker_context import WorkerContext

from delivery.asgi import Application, connections_of
from edge_node.connections import Phase
from edge_node.gate import Gate
from edge_node.protocol import EdgeProtocol
from edge_node.tls.connection import Http2Connection
from edge_node.tls.http2 import http2_config
from edge_node.tls.pair import Certificate

HANDSHAKE_S = 10.0
"""How long a handshake may take."""
_CLOSING_S = 2.0
"""How long to wait for the client's end of TLS before the connection is cut."""
_WAITING_BYTES = 64 << 10
"""How much of an answer may wait for a client to read; asyncio's own limit over TLS is eight times that."""
_GRACE_S = 5.0
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_AGAIN_S = 1.0
"""How long to accept nobody when the machine has no room for one more connection."""


class TlsListener:
    """Serves `app` over TLS to those that `gate` lets in, with the pair of `certificate` at that moment."""

    def __init__(self, app: Application, gate: Gate, certificate: Certificate) -> None:
        self._app, self._gate, self._certificate = app, gate, certificate
        self._make_http1, self._state = connections_of(app, partial(EdgeProtocol, gate))
        self._config, self._context = http2_config(), WorkerContext(None)
        self._http2: dict[asyncio.Task[None], Http2Connection] = {}
        self._arrivals: set[asyncio.Task[None]] = set()

    async def serve(
        self, listener: socket.socket, stop: asyncio.Event, started: Callable[[], None] | None = None
    ) -> None:
        """Serve until `stop` is set, then end open requests within a few seconds; closes `listener`."""
        accepting = asyncio.create_task(self._accept(listener))
        if started is not None:
            started()
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({accepting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            accepting.cancel()
            (ended,) = await asyncio.gather(accepting, return_exceptions=True)
            listener.close()
            await self._end()
        if isinstance(ended, OSError):
            raise ended

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                await asyncio.sleep(_AGAIN_S)
                continue
            arrival = _Arrival(connection)
            if not self._gate.open(arrival, peer[0], loop):
                self._gate.close(arrival)
                continue
            task = loop.create_task(self._shake_hands(arrival, connection))
            arrival.task = task
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _shake_hands(self, arrival: _Arrival, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Chooser(partial(self._choose, arrival)),
                connection,
                ssl=self._certificate.pair.context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=_CLOSING_S,
            )
        except (OSError, TimeoutError):  # of TLS too: a client that does not trust the certificate, say
            self._gate.failed_handshakes += 1
        finally:
            self._gate.close(arrival)

    def _choose(self, arrival: _Arrival, transport: asyncio.Transport) -> None:
        """The handshake is done: go on with the protocol that was agreed on (RFC 7301)."""
        self._gate.close(arrival)
        transport.set_write_buffer_limits(high=_WAITING_BYTES)
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            loop = asyncio.get_running_loop()
            connection = Http2Connection(self._app, self._config, self._context, self._gate, loop)
            transport.set_protocol(connection.protocol)
            task = connection.begin(transport)
            self._http2[task] = connection
            task.add_done_callback(lambda task: self._http2.pop(task, None))
        else:
            protocol = self._make_http1()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)

    async def _end(self) -> None:
        """Let answers that have begun end, if they do so soon."""
        await self._context.terminated.set()
        for task in tuple(self._arrivals):
            task.cancel()
        for protocol in tuple(self._state.connections):
            protocol.shutdown()
        for connection in tuple(self._http2.values()):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                while self._state.connections or self._state.tasks or self._http2:
                    await asyncio.sleep(0.05)
        for connection in tuple(self._http2.values()):
            connection.abort()
        for answering in tuple(self._state.tasks):
            answering.cancel()
        await asyncio.gather(*self._http2, *self._state.tasks, return_exceptions=True)


class _Arrival:
    """A connection before and during its handshake, as the gate sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.task: asyncio.Task[None] | None = None

    def give_way(self) -> None:
        """Close now, for somebody else."""
        self.turn_away()

    def turn_away(self) -> None:
        """There is no room, which cannot be said before the handshake: close."""
        if self.task is None:
            self._connection.close()
        else:
            self.task.cancel()

    def too_slow(self, phase: Phase) -> None:
        """Close, since this phase has lasted too long."""
        self.turn_away()


class _Chooser(asyncio.Protocol):
    """Takes the place of a connection's protocol until it is known which one that is."""

    def __init__(self, choose: Callable[[asyncio.Transport], None]) -> None:
        self._choose = choose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._choose(cast(asyncio.Transport, _ClosedOnce(transport)))


class _ClosedOnce:
    """A transport over TLS that may be closed again: asyncio's own then forgets what it is made of."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Close it, unless it is closing."""
        if not self._transport.is_closing():
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
