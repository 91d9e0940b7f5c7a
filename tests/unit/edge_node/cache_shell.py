"""The smallest shell around `CacheMachine`: an ASGI application over an upstream that is a function."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from edge_node.http.cache.actions import (
    Abort,
    Action,
    Answer,
    Body,
    Drop,
    Fetch,
    Keep,
    Relay,
    Release,
    ResponseHead,
)
from edge_node.http.cache.machine import CacheMachine
from edge_node.http.cache.policy import Policy
from edge_node.http.hygiene import check_request
from edge_node.http.messages import Fields, Slice, request_from

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class UpstreamError(Exception):
    """The upstream gives no answer, or not all of it."""


@dataclass
class Upstream:
    """A response from upstream."""

    head: ResponseHead
    chunks: AsyncIterator[bytes]


Connect = Callable[[Fetch, AsyncIterator[bytes]], Awaitable[Upstream]]


@dataclass
class Spool:
    """What has come of a fetch so far."""

    task: asyncio.Task[None] | None = None
    chunks: list[bytes] = field(default_factory=list)
    keep: bool = False
    done: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake everybody who reads along."""
        self.news.set()
        self.news = asyncio.Event()


async def nothing() -> AsyncIterator[bytes]:
    """A request without content."""
    for chunk in ():
        yield chunk


class CacheShell:
    """Serves from `blobs` in memory; `now` is the clock."""

    def __init__(self, policy: Policy, connect: Connect, now: Callable[[], float]) -> None:
        self.machine = CacheMachine(policy)
        self.blobs: dict[str, bytes] = {}
        self.spools: dict[int, Spool] = {}
        self._connect, self._now = connect, now
        self._inboxes: dict[int, asyncio.Queue[Action]] = {}
        self._bodies: dict[int, Receive] = {}
        self._last = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        method, path, query = scope["method"], scope["raw_path"], scope["query_string"]
        target = path + b"?" + query if query else path
        refused = check_request(method.encode(), target, scope["http_version"], scope["headers"])
        if refused is not None:
            await send_head(send, refused.status, (("connection", "close"),))
            await send({"type": "http.response.body", "body": refused.text.encode()})
            return
        request = request_from(
            method, path.decode("latin-1"), query.decode("latin-1"), scope["http_version"], scope["headers"]
        )
        self._last += 1
        client = self._last
        self._inboxes[client] = asyncio.Queue()
        self._bodies[client] = receive
        try:
            self._carry_out(self.machine.ask(client, request, self._now()))
            action = await self._inboxes[client].get()
            if isinstance(action, Answer):
                plan = action.plan
                await send_head(send, plan.status, plan.fields)
                await send({"type": "http.response.body", "body": b"".join(map(self._piece, plan.content))})
            elif isinstance(action, Relay):
                await self._relay(action, method, send)
            else:
                raise UpstreamError
        finally:
            del self._inboxes[client]
            self._carry_out(self.machine.gone(client))

    async def _relay(self, action: Relay, method: str, send: Send) -> None:
        spool = self.spools[action.fetch]
        await send_head(send, action.status, action.fields)
        for piece in action.before:
            await send({"type": "http.response.body", "body": self._piece(piece), "more_body": True})
        sent = 0
        while not spool.done or sent < len(spool.chunks):
            while sent < len(spool.chunks):
                chunk = spool.chunks[sent] if method != "HEAD" else b""
                sent += 1
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not spool.done:
                await spool.news.wait()
        if not self._inboxes[action.client].empty():
            raise UpstreamError
        await send({"type": "http.response.body", "body": b""})

    def _piece(self, piece: bytes | Slice) -> bytes:
        return self.blobs[piece.sha256][piece.start : piece.stop] if isinstance(piece, Slice) else piece

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer() | Relay() | Abort():
                    if action.client in self._inboxes:
                        self._inboxes[action.client].put_nowait(action)
                case Fetch():
                    spool = self.spools[action.fetch] = Spool()
                    spool.task = asyncio.ensure_future(self._fetch(action, spool))
                case Keep():
                    self.spools[action.fetch].keep = True
                case Drop():
                    spool = self.spools[action.fetch]
                    if spool.task is not None and spool.task is not asyncio.current_task():
                        spool.task.cancel()
                    spool.done = True
                case Release():
                    self.blobs.pop(action.sha256, None)

    async def _fetch(self, action: Fetch, spool: Spool) -> None:
        body = nothing() if action.client is None else content(self._bodies[action.client])
        try:
            response = await self._connect(action, body)
            self._carry_out(self.machine.head(action.fetch, response.head, self._now()))
            async for chunk in response.chunks:
                if spool.done:
                    return
                spool.chunks.append(chunk)
                spool.tell()
        except (TimeoutError, OSError, UpstreamError):
            self._carry_out(self.machine.failed(action.fetch, self._now(), "unreachable"))
        else:
            kept = None
            if spool.keep and not spool.done:
                whole = b"".join(spool.chunks)
                kept = Body(hashlib.sha256(whole).hexdigest(), len(whole))
                self.blobs[kept.sha256] = whole
            self._carry_out(self.machine.end(action.fetch, kept, self._now()))
        finally:
            spool.done = True
            spool.tell()


async def content(receive: Receive) -> AsyncIterator[bytes]:
    """The content of a request as it comes."""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise UpstreamError
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def send_head(send: Send, status: int, fields: Fields) -> None:
    """Begin an answer."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})
