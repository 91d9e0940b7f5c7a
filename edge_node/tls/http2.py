"""HTTP/2 (RFC 9113) by hypercorn, with what it leaves open: abuse, early answers, slow readers of uploads.

Of hypercorn's protocol what sends is used as it is. What receives is stricter here: a reset costs its sender
(RFC 9113 section 10.5), a request's content waits in the stream's window until it is read, and content that
nobody wants any more ends its stream, not the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from typing import Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    UnknownFrameReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.events import Event as Happening
from hypercorn.protocol.events import Body, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import (
    BufferCompleteError,
    H2Protocol,
    StreamBuffer,
)
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ConnectionState, TaskGroup, WorkerContext
from hypercorn.typing import Event as AsyncEvent

from delivery.asgi import Application, Message
from edge_node.connections import Phase
from edge_node.http.hygiene import DEFAULT_LIMITS
from edge_node.http.messages import Fields
from edge_node.tls.allowance import Allowance
from edge_node.tls.front import UNKNOWN_LENGTH

STREAMS = 100
"""How many requests at once a connection may have open (RFC 9113 section 5.1.2)."""
COSTLY_BURST, COSTLY_PER_S = 100, 10.0
"""How often a connection may reset streams, ping, change settings, or send frames that say nothing."""
_COSTLY = (StreamReset, PingReceived, RemoteSettingsChanged, UnknownFrameReceived)
WAITING_BYTES = 64 << 10
"""When so much of an answer waits, the application waits too."""
_PIECE_BYTES = 16 << 10
_FIELD_OVERHEAD_BYTES = 32  # RFC 9113 section 6.5.2
_HEADER_LIST_BYTES = (
    DEFAULT_LIMITS.target_bytes
    + DEFAULT_LIMITS.all_fields_bytes
    + _FIELD_OVERHEAD_BYTES * (DEFAULT_LIMITS.fields + 5)
)


def http2_config() -> Config:
    """hypercorn's settings: no log of requests, and no fields that the application does not send."""
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.include_date_header = config.include_server_header = False
    config.h2_max_concurrent_streams = STREAMS
    config.h2_max_header_list_size = _HEADER_LIST_BYTES
    # Many small pieces of content make the connection wait: their bytes are bounded by the window.
    config.max_app_queue_size = 256
    return config


class Http2(H2Protocol):
    """One connection's HTTP/2. `send` takes what is to be done with the connection, `progress` is called when
    content has moved, `clock` gives monotonic seconds."""

    def __init__(
        self,
        app: Application,
        config: Config,
        context: WorkerContext,
        tasks: TaskGroup,
        client: tuple[str, int],
        server: tuple[str, int],
        send: Callable[[Happening], Awaitable[None]],
        progress: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        state = ConnectionState({"was_served": False})
        super().__init__(_never, config, context, tasks, state, True, client, server, send)
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_LIST_BYTES,
            },
        )
        self._application, self._progress, self._clock = app, progress, clock
        self._allowance = Allowance(COSTLY_BURST, COSTLY_PER_S)
        self._receiving: set[int] = set()
        """Streams whose request is not whole yet."""
        self._unread: dict[int, int] = {}
        """Bytes of content that the application of a stream has not read."""
        self._had_request = False

    @property
    def phase(self) -> Phase:
        """What is expected of the connection now."""
        if not self.streams:
            return Phase.IDLE if self._had_request else Phase.HEAD
        if any(buffer.buffer for buffer in self.stream_buffers.values()):
            return Phase.UNREAD
        return Phase.CONTENT if self._receiving & self.streams.keys() else Phase.WORKING

    def farewell(self, error: ErrorCodes = ErrorCodes.NO_ERROR) -> bytes:
        """The last frame: nothing is answered after it (RFC 9113 section 6.8)."""
        with suppress(ProtocolError):
            self.connection.close_connection(error)
        return self.connection.data_to_send()

    async def handle(self, event: Happening) -> None:
        """Bytes have come, or the connection is closed."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in self.stream_buffers.values():  # or who waits to send into them waits for ever
                await buffer.close()

    async def stream_send(self, event: StreamEvent) -> None:
        """The application says something about its stream."""
        if isinstance(event, StreamClosed):
            self.connection_state["was_served"] = True
            self._receiving.discard(event.stream_id)
        await super().stream_send(event)

    async def _handle_events(self, events: list[Event]) -> None:
        for event in events:
            if self.closed:
                return
            if self._is_costly(event) and not self._allowance.take(self._clock()):
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            if isinstance(event, DataReceived):
                await self._take_content(event)
            elif not isinstance(event, PriorityUpdated):  # deprecated (RFC 9113 section 5.3.2)
                if isinstance(event, (StreamEnded, StreamReset)):
                    self._receiving.discard(event.stream_id or 0)
                await super()._handle_events([event])
        await self._flush()

    def _is_costly(self, event: Event) -> bool:
        if isinstance(event, DataReceived):
            return not event.data and event.stream_ended is None
        return isinstance(event, _COSTLY)

    async def _take_content(self, event: DataReceived) -> None:
        """Content of a request: it counts as received once the application has read it."""
        stream_id, data, size = event.stream_id or 0, event.data or b"", event.flow_controlled_length or 0
        stream = self.streams.get(stream_id)
        if stream is None:
            # Answered before it was whole: the client need not send the rest (RFC 9113 section 8.1).
            if stream_id not in self.stream_buffers:
                with suppress(ProtocolError):
                    self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            self._acknowledge(stream_id, size)
            return
        self._acknowledge(stream_id, size - len(data))  # padding
        if data:
            self._unread[stream_id] = self._unread.get(stream_id, 0) + len(data)
            await stream.handle(Body(stream_id=stream_id, data=data))
            self._progress()

    def _acknowledge(self, stream_id: int, size: int) -> None:
        if size > 0:
            with suppress(ProtocolError):
                self.connection.acknowledge_received_data(size, stream_id)

    async def _create_stream(self, request: RequestReceived) -> None:
        """A request begins. What is odd about it is for the application to refuse."""
        stream_id, headers = request.stream_id or 0, list(request.headers or [])
        pseudo = {bytes(name): bytes(value) for name, value in headers if name[:1] == b":"}
        path, authority = pseudo.get(b":path", b""), pseudo.get(b":authority")
        fields = [(bytes(name), bytes(value)) for name, value in headers if name[:1] != b":"]
        if authority is not None:
            fields = [(b"host", authority), *(field for field in fields if field[0] != b"host")]
        stream = HTTPStream(
            partial(self._run, stream_id),
            self.config,
            self.context,
            self.task_group,
            True,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        stream.scheme = pseudo.get(b":scheme", b"https").decode("latin-1")
        state = ConnectionState(self.connection_state.copy())
        if request.stream_ended is None:
            self._receiving.add(stream_id)
            state[UNKNOWN_LENGTH] = all(name != b"content-length" for name, _ in fields)
        state["send_interim"] = partial(self._send_interim, stream_id)
        self._had_request = True
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = _Buffer(self.context.event_class, self._progress)
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=fields,
                http_version="2",
                method=pseudo[b":method"].decode("latin-1"),
                raw_path=path if path.isascii() else b"",
                state=state,
            )
        )

    def _send_interim(self, stream_id: int, status: int, fields: Fields) -> None:
        """Send an interim response (RFC 9113 section 8.1) unless it is too late for that."""
        stream = self.streams.get(stream_id)
        if not isinstance(stream, HTTPStream) or stream.state is not ASGIHTTPState.REQUEST:
            return
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        with suppress(ProtocolError):
            self.connection.send_headers(stream_id, [(b":status", b"%d" % status), *raw])
            self.task_group.spawn(self._flush)

    async def _run(
        self, stream_id: int, scope: Any, receive: Any, send: Any, _spawn: Any, _call_soon: Any
    ) -> None:
        """Run the application for one stream."""

        async def receiving() -> Message:
            message: Message = await receive()
            size = len(message.get("body", b""))
            if size:
                self._unread[stream_id] = self._unread.get(stream_id, 0) - size
                self._acknowledge(stream_id, size)
                await self._flush()
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if all(name.lower() != b"date" for name, _ in headers):
                    headers.append((b"date", formatdate(usegmt=True).encode()))
                message = {**message, "headers": headers}
            for piece in _pieces(message):
                await send(piece)

        try:
            await self._application(scope, receiving, sending)
        finally:
            # What was not read must not be missing in the window of the connection.
            self._acknowledge(stream_id, self._unread.pop(stream_id, 0))
            await self._flush()


def _pieces(message: Message) -> Iterator[Message]:
    """Content in pieces: a whole one would be copied for a client that does not read it."""
    body = message.get("body", b"")
    if len(body) <= _PIECE_BYTES:
        yield message
        return
    for start in range(0, len(body), _PIECE_BYTES):
        more = start + _PIECE_BYTES < len(body) or message.get("more_body", False)
        yield {**message, "body": body[start : start + _PIECE_BYTES], "more_body": more}


class _Buffer(StreamBuffer):
    """What waits to be sent on a stream, which says when some of it goes. It is little even when the client's
    window is closed, where hypercorn's own takes up everything."""

    def __init__(self, event_class: type[AsyncEvent], progress: Callable[[], None]) -> None:
        super().__init__(event_class)
        self._progress = progress

    async def push(self, data: bytes) -> None:
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        while len(self.buffer) >= WAITING_BYTES and not self._complete:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) <= WAITING_BYTES // 2:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        if data:
            self._progress()
        return data


async def _never(scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
    """Each stream has an application of its own."""
