"""One HTTP/2 connection: bytes between its transport and `Http2`, behind a gate."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from h2.errors import ErrorCodes
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import WorkerContext

from delivery.asgi import Application
from edge_node.connections import Phase
from edge_node.gate import Gate
from edge_node.tls.http2 import Http2

_READ_BYTES = 64 << 10
_logger = logging.getLogger("hypercorn.error")


class Http2Connection:
    """A guest of `gate`; `run` serves it until it is closed."""

    def __init__(
        self,
        app: Application,
        config: Config,
        context: WorkerContext,
        gate: Gate,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._app, self._config, self._context, self._gate, self._loop = app, config, context, gate, loop
        self._reader = asyncio.StreamReader(limit=_READ_BYTES, loop=loop)
        self.protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        """What the transport is to talk to."""
        self._sending = asyncio.Lock()
        self._transport: asyncio.Transport
        self._writer: asyncio.StreamWriter
        self._http: Http2 | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, transport: asyncio.Transport) -> asyncio.Task[None]:
        """The handshake is done. The task ends with the connection."""
        self._transport = transport
        self.protocol.connection_made(transport)
        self._writer = asyncio.StreamWriter(transport, self.protocol, self._reader, self._loop)
        client = transport.get_extra_info("peername")[:2]
        self._gate.open(self, client[0], self._loop)
        self._task = self._loop.create_task(self._run(client, transport.get_extra_info("sockname")[:2]))
        return self._task

    async def _run(self, client: tuple[str, int], server: tuple[str, int]) -> None:
        try:
            async with TaskGroup(self._loop) as tasks:
                self._http = Http2(
                    self._app,
                    self._config,
                    self._context,
                    tasks,
                    client,
                    server,
                    self._send,
                    self._made_progress,
                    self._loop.time,
                )
                await self._http.initiate()
                await self._read(self._http)
        except* OSError:  # of TLS too
            pass
        except* Exception:
            _logger.exception("a connection over HTTP/2 ended because of an error here")
        finally:
            self._gate.close(self)
            self._transport.close()

    async def _read(self, http: Http2) -> None:
        try:
            while not http.closed and (data := await self._reader.read(_READ_BYTES)):
                await http.handle(RawData(data))
                self._enter()
        except OSError:
            pass
        await http.handle(Closed())

    async def _send(self, event: Event) -> None:
        """What HTTP/2 wants done with the connection."""
        assert self._http is not None
        if isinstance(event, RawData):
            try:
                async with self._sending:
                    self._writer.write(event.data)
                    await self._writer.drain()
            except (OSError, RuntimeError):
                await self._http.handle(Closed())
        elif isinstance(event, Closed):
            await self._http.handle(event)
            self._transport.close()
        elif isinstance(event, Updated):
            self._enter()
            if event.idle and self._context.terminated.is_set():
                self._transport.close()

    def _made_progress(self) -> None:
        assert self._http is not None
        self._gate.enter(self, self._http.phase, self._loop)

    def _enter(self) -> None:
        """Enter the phase that follows from what is known; that it goes on is no progress in it."""
        if self._http is not None and self._gate.connections.phase(self) is not self._http.phase:
            self._made_progress()

    # What the gate and the server ask for

    def shutdown(self) -> None:
        """The server ends: finish what has begun."""
        if self._http is None or not self._http.streams:
            self._leave(ErrorCodes.NO_ERROR)

    def give_way(self) -> None:
        """Close now, for somebody else."""
        self._leave(ErrorCodes.NO_ERROR)

    def turn_away(self) -> None:
        """Say that there is no room, and close."""
        self._leave(ErrorCodes.ENHANCE_YOUR_CALM)

    def too_slow(self, phase: Phase) -> None:
        """Close, since this phase has lasted too long."""
        if phase in (Phase.HEAD, Phase.IDLE):
            self._leave(ErrorCodes.NO_ERROR)
        else:
            self.abort()

    def abort(self) -> None:
        """Close without another word."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def _leave(self, error: ErrorCodes) -> None:
        with suppress(OSError, RuntimeError):
            if self._http is not None and not self._transport.is_closing():
                self._transport.write(self._http.farewell(error))
        self._transport.close()
