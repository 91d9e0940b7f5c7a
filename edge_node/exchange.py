"""A client's request while the proxy works on it: its content, its going away, and what is decided for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from delivery.asgi import Receive
from edge_node.http.cache.actions import Answer, Relay
from edge_node.http.forwarding import end_to_end
from edge_node.http.messages import Fields, Request
from edge_node.sending import disconnected
from edge_node.spool import Reader

SendInterim = Callable[[int, Fields], None]
"""Sends an interim response with this status and these fields at once."""


class ClientGoneError(Exception):
    """The client went away before all of its content was here."""


class ClientExchange:
    """One request; `decision` comes from the cache machine, with the reader of what is relayed."""

    def __init__(self, request: Request, receive: Receive, send_interim: SendInterim | None = None) -> None:
        """`send_interim` sends interim responses; without it there is no way to."""
        self.request, self._receive = request, receive
        self._send_interim = send_interim
        self.decision: asyncio.Future[tuple[Answer | Relay, Reader | None]]
        self._content_read = asyncio.Event()
        if not request.has_content:
            self._content_read.set()
        self.again()

    def again(self) -> None:
        """What was decided could not be carried out: the request is asked anew."""
        self.decision = asyncio.get_running_loop().create_future()

    @property
    def has_unread_content(self) -> bool:
        """Whether the client may still be sending."""
        return not self._content_read.is_set()

    def interim(self, status: int, fields: Fields) -> None:
        """Something is said before the answer (RFC 9110 section 15.2). That content may be sent has been said
        already, and nobody has asked to switch protocols."""
        is_early = not self.decision.done() and self.request.http_version != "1.0"
        if self._send_interim is not None and is_early and status not in (100, 101):
            self._send_interim(status, end_to_end(fields))

    def decide(self, action: Answer | Relay, reader: Reader | None) -> None:
        """The machine has decided."""
        if self.decision.done():
            if reader is not None:
                reader.close()
            return
        self.decision.set_result((action, reader))

    async def content(self) -> AsyncIterator[bytes]:
        """The content as it comes: what is not taken holds back the client. Raises ClientGoneError."""
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                self._content_read.set()
                raise ClientGoneError("the client went away")
            yield message.get("body", b"")
            if not message.get("more_body", False):
                self._content_read.set()
                return

    async def gone(self) -> None:
        """Return when the client has gone away. As long as its content is being read, that finds out."""
        await self._content_read.wait()
        await disconnected(self._receive)
