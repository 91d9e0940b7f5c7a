"""A small HTTP/1.1 client for a session's API over the ULA plane: the origin's, or another edge's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

_TIMEOUT_S = 10.0
"""How long the origin may stay silent, when connecting and between two pieces of an answer."""
_READ_BYTES = 256 << 10


class OriginError(Exception):
    """The origin did not answer, or not with what was asked for; the message says so in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: `body` is empty when a sink took it."""

    status: int
    body: bytes


class _Parsing:
    """Collects one response (callbacks of httptools)."""

    def __init__(self) -> None:
        from httptools import HttpResponseParser

        self.parser = HttpResponseParser(self)
        self.body = bytearray()
        self.done = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True


class OriginConnection:
    """One connection to the API below `url` (`http://[ULA]:8080`, or with a path: `…/live/news`), for several
    requests; an async context manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._authority = parts.hostname or "", parts.port or 80, parts.netloc
        self._base = parts.path.rstrip("/")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> OriginConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    async def get(
        self,
        path: str,
        sink: Callable[[bytes], None] | None = None,
        span: tuple[int, int] | None = None,
    ) -> Answer:
        """GET `path`, or the bytes from `span[0]` up to `span[1]` of it; `sink` takes the content of a 200 or
        206 as it arrives. Raises OriginError."""
        fields = f"Range: bytes={span[0]}-{span[1] - 1}\r\n" if span else ""
        return await self._request("GET", path, fields, b"", sink)

    async def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """POST `body` to `path`. Raises OriginError."""
        fields = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        return await self._request("POST", path, fields, body, None)

    async def _request(
        self, method: str, path: str, fields: str, body: bytes, sink: Callable[[bytes], None] | None
    ) -> Answer:
        head = f"{method} {self._base}{path} HTTP/1.1\r\nHost: {self._authority}\r\n{fields}"
        parsing = _Parsing()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port, limit=_READ_BYTES)
                reader, writer = self._streams
                writer.write(f"{head}\r\n".encode() + body)
                await writer.drain()
            while not parsing.done:
                async with asyncio.timeout(_TIMEOUT_S):
                    data = await reader.read(_READ_BYTES)
                if not data:
                    raise ConnectionResetError("the connection was closed")
                _feed(parsing, data)
                if sink is not None and parsing.parser.get_status_code() in (200, 206):
                    sink(bytes(parsing.body))
                    parsing.body.clear()
        except TimeoutError:
            self._drop()
            raise OriginError(f"the origin at {self._authority} is silent for {_TIMEOUT_S:g} s") from None
        except OSError as error:
            self._drop()
            raise OriginError(f"the origin at {self._authority}: {error.strerror or error}") from None
        except BaseException:
            self._drop()
            raise
        if not parsing.parser.should_keep_alive():
            self._drop()
        return Answer(parsing.parser.get_status_code(), bytes(parsing.body))

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _feed(parsing: _Parsing, data: bytes) -> None:
    from httptools import HttpParserError

    try:
        parsing.parser.feed_data(data)
    except HttpParserError as error:
        raise OriginError(f"the origin's answer is not HTTP: {error}") from None
