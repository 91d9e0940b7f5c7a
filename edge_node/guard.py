"""uvicorn's HTTP/1.1 protocol with limits that hold before a request is whole: size and time of its head."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge_node.http.hygiene import DEFAULT_LIMITS

HEAD_S = 10.0
"""How long a head may take from its first byte, or from the beginning of the connection."""
_MOST_HEAD_BYTES = DEFAULT_LIMITS.target_bytes + 2 * DEFAULT_LIMITS.all_fields_bytes


class GuardedProtocol(HttpToolsProtocol):
    """Refuses heads that do not end, or not soon: endless ones with 431, slow ones with 408."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_content = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, who is expected to ask for something."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and content."""
        if not self._in_content:
            self._head_bytes += len(data)
            self._start_clock()
        super().data_received(data)
        if self._head_bytes > _MOST_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._in_content, self._head_bytes = True, 0
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole: what follows is the next head."""
        self._in_content = False
        super().on_message_complete()

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, if nothing else is being said, and close."""
        self._stop_clock()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode())
        self.transport.close()
