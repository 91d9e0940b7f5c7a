"""Clients of HTTPS for the tests: a server under test, and HTTP/2 frame by frame."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import h2.config
import h2.connection
import h2.events

from delivery.asgi import Application, listen
from edge_node.connections import ConnectionLimits
from edge_node.gate import Gate
from edge_node.tls.listener import TlsListener
from edge_node.tls.pair import Certificate

NAME = "www.service.example"


@dataclass
class Server:
    """A TLS listener in this event loop."""

    port: int
    listener: TlsListener
    gate: Gate
    certificate: Certificate
    task: asyncio.Task[None]
    stop: asyncio.Event


@asynccontextmanager
async def serving(
    app: Application, tls: Path, limits: ConnectionLimits | None = None, *, http2: bool = True
) -> AsyncIterator[Server]:
    """Serve `app` with the pair in the folder `tls` until the block ends."""
    certificate = Certificate(tls / "service.pem", tls / "service.key", http2=http2)
    gate = Gate("edge1", limits)
    listener = TlsListener(app, gate, certificate)
    socket, stop = listen("::1", 0), asyncio.Event()
    port = socket.getsockname()[1]
    task = asyncio.create_task(listener.serve(socket, stop))
    try:
        yield Server(port, listener, gate, certificate, task, stop)
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


def trusting(tls: Path, *protocols: str) -> ssl.SSLContext:
    """A client's settings: it trusts the CA in `tls` and offers these protocols."""
    context = ssl.create_default_context(cafile=tls / "ca.pem")
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@dataclass
class Answer:
    """What came on one stream."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    reset: int | None = None
    interim: list[dict[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.fields[":status"])


class Http2Client:
    """One connection; `http` is the machine of h2, through which a test may send anything."""

    def __init__(self, port: int, tls: Path, *, validate: bool = True) -> None:
        self._port, self._context = port, trusting(tls, "h2")
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8",
                validate_outbound_headers=validate,
                normalize_outbound_headers=validate,
            )
        )
        self.answers: dict[int, Answer] = {}
        self.goodbye: int | None = None
        """The error code of GOAWAY."""
        self.is_closed = False
        self.takes_content = True

    async def __aenter__(self) -> Http2Client:
        self.reader, self.writer = await asyncio.open_connection(
            "::1", self._port, ssl=self._context, server_hostname=NAME
        )
        self.http.initiate_connection()
        self.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    def flush(self) -> None:
        self.writer.write(self.http.data_to_send())

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        fields: Sequence[tuple[str, str]] = (),
        *,
        end: bool = True,
    ) -> int:
        """Begin a request; the number of its stream."""
        stream = self.http.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "https"), (":authority", NAME)]
        self.http.send_headers(stream, [*head, *fields], end_stream=end)
        self.answers[stream] = Answer()
        self.flush()
        return stream

    async def read(self) -> bool:
        """Take what comes next; False at the end of the connection."""
        try:
            data = await asyncio.wait_for(self.reader.read(1 << 16), 10)
        except ConnectionError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        for event in self.http.receive_data(data):
            self._take(event)
        self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.answers[event.stream_id].fields = dict(event.headers)
            case h2.events.InformationalResponseReceived():
                self.answers[event.stream_id].interim.append(dict(event.headers))
            case h2.events.DataReceived():
                self.answers[event.stream_id].body += event.data
                if self.takes_content:
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.answers[event.stream_id].is_whole = True
            case h2.events.StreamReset():
                self.answers[event.stream_id].reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goodbye = int(event.error_code)

    async def answer(self, stream: int) -> Answer:
        """Wait until a stream is answered, or ends otherwise."""
        answer = self.answers[stream]
        while not answer.is_whole and answer.reset is None and await self.read():
            pass
        return answer

    async def until_closed(self) -> int | None:
        """Wait for the end of the connection; the error code of GOAWAY, if one came."""
        while await self.read():
            pass
        return self.goodbye
