"""An HTTP/1.1 client for the server behind the edge: connections kept open, content streamed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from edge_node.http.cache.actions import Fetch, ResponseHead
from edge_node.http.cache.relaying import WITHOUT_CONTENT
from edge_node.http.fields import combined
from edge_node.http.messages import Fields

_READ_BYTES = 64 << 10
_MOST_HEAD_BYTES = 64 << 10
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


OnInterim = Callable[[int, Fields], None]
"""Called with status and fields of an interim response (RFC 9110 section 15.2)."""


class UpstreamError(Exception):
    """There is no response, or not all of it; the message says why in a line."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class _StaleConnectionError(UpstreamError):
    """A connection that was kept open was closed meanwhile: nothing was answered on it."""


class Exchange:
    """One request and its response on a connection of its own; `head` is there once `begin` has returned.
    What the server says before it goes to `on_interim`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silent_s: float,
        on_interim: OnInterim,
    ) -> None:
        from httptools import HttpResponseParser

        self._reader, self._writer, self._silent_s = reader, writer, silent_s
        self._on_interim = on_interim
        self._parser = HttpResponseParser(self)
        self._fields: list[tuple[str, str]] = []
        self._body = bytearray()
        self._sending: asyncio.Task[None] | None = None
        self._is_head = self._has_head = self._done = False
        self.head = ResponseHead(0, ())

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, for the next exchange."""
        return self._reader, self._writer

    @property
    def is_reusable(self) -> bool:
        """Whether the connection can take another request."""
        sent = self._sending is None or (self._sending.done() and not self._sending.exception())
        return self._done and sent and self._parser.should_keep_alive() and not self._writer.is_closing()

    async def begin(self, fetch: Fetch, content: AsyncIterator[bytes] | None, *, is_reused: bool) -> None:
        """Send the request; return when the head of the final response is here. Raises UpstreamError."""
        self._is_head = fetch.method == "HEAD"
        fields = [*fetch.fields]
        is_chunked = content is not None and combined(fetch.fields, "content-length") is None
        if is_chunked:
            fields.append(("transfer-encoding", "chunked"))
        lines = [f"{fetch.method} {fetch.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        try:
            self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            if content is not None:
                self._sending = asyncio.create_task(self._send(content, is_chunked=is_chunked))
                self._sending.add_done_callback(lambda task: task.cancelled() or task.exception())
        except (OSError, UnicodeEncodeError) as error:
            raise UpstreamError(f"cannot send the request: {error}") from None
        received = 0
        while not self._has_head:
            data = await self._read()
            received += len(data)
            if not data:
                kind = _StaleConnectionError if is_reused and not received else UpstreamError
                raise kind("the connection was closed before the response")
            if received > _MOST_HEAD_BYTES and not self._has_head:
                raise UpstreamError("the head of the response does not end")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content as it comes. Raises UpstreamError when it breaks off."""
        while True:
            if self._body:
                chunk = bytes(self._body)
                self._body.clear()
                yield chunk
                continue
            if self._done:
                return
            if not await self._read():
                # Without a length the end of the connection is the end (RFC 9112 section 6.3).
                names = {name for name, _ in self._fields}
                if names.isdisjoint({"content-length", "transfer-encoding"}):
                    self._writer.close()
                    self._done = True
                    continue
                raise UpstreamError("the response broke off")

    def close(self) -> None:
        """End the connection."""
        if self._sending is not None:
            self._sending.cancel()
        self._writer.close()

    async def _send(self, content: AsyncIterator[bytes], *, is_chunked: bool) -> None:
        async for data in content:
            if not data:
                continue
            self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if is_chunked else data)
            await self._writer.drain()
        if is_chunked:
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()

    async def _read(self) -> bytes:
        """Read and parse; b"" at the end of the connection. Silence is allowed while content is sent."""
        from httptools import HttpParserError, HttpParserUpgrade

        reading = asyncio.ensure_future(self._reader.read(_READ_BYTES))
        try:
            while self._sending is not None and not self._sending.done() and not reading.done():
                await asyncio.wait({reading, self._sending}, return_when=asyncio.FIRST_COMPLETED)
            failure = (
                self._sending.exception() if self._sending is not None and self._sending.done() else None
            )
            if failure is not None and not isinstance(failure, OSError):
                raise UpstreamError(f"the request broke off: {failure}") from None
            async with asyncio.timeout(self._silent_s):
                data = await reading
            if data:
                self._parser.feed_data(data)
        except TimeoutError:
            raise UpstreamError(f"no answer for {self._silent_s:g} s", timed_out=True) from None
        except OSError as error:
            raise UpstreamError(f"the connection failed: {error.strerror or error}") from None
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._done:  # what comes behind the response is no business of ours
                self._writer.close()
                return data
            raise UpstreamError(f"the response is not HTTP: {error}") from None
        finally:
            reading.cancel()
        return data

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """A response begins; there are no others behind the final one."""
        if self._has_head:
            self._writer.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; those of a trailer are dropped."""
        if not self._has_head:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        """The head is here, or that of an interim response (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        if status < 200:
            if not self._has_head:
                self._on_interim(status, tuple(self._fields))
            self._fields.clear()
            return
        if self._has_head:
            return
        self._has_head = True
        self.head = ResponseHead(status, tuple(self._fields), self._parser.get_http_version())
        if self._is_head or status in WITHOUT_CONTENT:
            self._done = True
        elif (combined(self.head.fields, "transfer-encoding") or "chunked").lower() != "chunked":
            raise UpstreamError("the response has a transfer coding other than chunked")

    def on_body(self, data: bytes) -> None:
        """Some content."""
        if not self._done:
            self._body += data

    def on_message_complete(self) -> None:
        """The response is whole."""
        self._done = self._has_head


class Upstream:
    """The server at `url` (`http://[ULA]:PORT`), which is connected to within `connect_s` seconds, and may be
    silent for `silent_s`."""

    def __init__(
        self, url: str, *, connect_s: float = 5.0, silent_s: float = 30.0, max_idle: int = 64
    ) -> None:
        parts = urlsplit(url)
        self.authority = parts.netloc
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._connect_s, self._silent_s, self._max_idle = connect_s, silent_s, max_idle
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(
        self, fetch: Fetch, content: AsyncIterator[bytes] | None, on_interim: OnInterim
    ) -> Exchange:
        """Send a request; its exchange once the head of the response is here. To be handed to `done`.
        Raises UpstreamError."""
        while True:
            streams = self._take_idle()
            is_reused = streams is not None
            exchange = Exchange(*(streams or await self._connect()), self._silent_s, on_interim)
            try:
                await exchange.begin(fetch, content, is_reused=is_reused)
                return exchange
            except _StaleConnectionError:
                exchange.close()
                if content is not None or fetch.method not in _IDEMPOTENT:
                    raise
            except BaseException:
                exchange.close()
                raise

    def done(self, exchange: Exchange) -> None:
        """An exchange is over: keep its connection if another request can use it."""
        if exchange.is_reusable and len(self._idle) < self._max_idle:
            self._idle.append(exchange.streams)
        else:
            exchange.close()

    def close(self) -> None:
        """Close what is kept open."""
        for _, writer in self._idle:
            with suppress(OSError):
                writer.close()
        self._idle.clear()

    def _take_idle(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._connect_s):
                return await asyncio.open_connection(self._host, self._port, limit=_READ_BYTES)
        except TimeoutError:
            raise UpstreamError(f"cannot connect within {self._connect_s:g} s", timed_out=True) from None
        except OSError as error:
            raise UpstreamError(f"cannot connect: {error.strerror or error}") from None
