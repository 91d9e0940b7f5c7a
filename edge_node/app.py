"""The edge's web server: an ASGI shell that carries out what `edge_node.http` decides."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, BinaryIO

from delivery.asgi import Message, Receive, Scope, Send
from delivery.sessions import LOCAL
from edge_node.health import Load
from edge_node.http.messages import Plan, Representation, Request, request_from
from edge_node.http.respond import Responder
from edge_node.local import LocalContent, Outcome
from edge_node.memory import MemoryCache
from edge_node.store import Store
from edge_node.supply import Supplied, Supply

CHUNK_BYTES = 256 << 10
"""How much of a large file is read at once: some 50 µs of the event loop from the page cache."""


_UPLOADS = f"/{LOCAL}/"


class EdgeApp:
    """Serves the files of `store` as the edge called `edge`, counting its requests in `load`."""

    def __init__(
        self,
        edge: str,
        store: Store,
        load: Load,
        supply: Supply | None = None,
        local: LocalContent | None = None,
    ) -> None:
        """`supply` fetches what is not here; `local` takes uploads. Without them there is neither."""
        self._store = store
        self._load = load
        self._supply, self._local = supply, local
        self._responder = Responder(edge)
        self._memory = MemoryCache()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        self._load.begin()
        try:
            await self._answer(scope, receive, send)
        finally:
            self._load.end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_from(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            scope["http_version"],
            scope["headers"],
        )
        now_s = int(time.time())
        if request.method == "PUT" and self._local is not None and request.path.startswith(_UPLOADS):
            outcome = await self._upload(request, receive, scope.get("client"))
            await _send_whole(
                self._responder.say(request, outcome.status, outcome.text, *outcome.fields), send
            )
            return
        supplied = Supplied()
        if self._supply is not None and request.method in ("GET", "HEAD"):
            supplied = await self._supply.provide(request.path, now_s)
            if supplied.problem:
                await _send_whole(self._responder.say(request, 502, supplied.problem), send)
                return
        for last_try in (False, True):
            plan = self._responder.respond(request, partial(self._lookup, now_s, supplied), now_s)
            try:
                content = self._open(plan)
                break
            except (FileNotFoundError, KeyError):
                # Removed between look-up and opening, because a newer version has just replaced it.
                if last_try:
                    raise
        if isinstance(content, bytes):
            await _send_whole(plan, send, content)
            return
        with content:
            await send(_start(plan))
            await _stream(plan, content, receive, send)

    async def _upload(self, request: Request, receive: Receive, client: Sequence[Any] | None) -> Outcome:
        assert self._local is not None
        length = request.field("content-length") or ""
        size = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None
        name = request.path.removeprefix(_UPLOADS)
        return await self._local.upload(name, receive, size, client[0] if client else "")

    def _lookup(self, now_s: int, supplied: Supplied, url_path: str) -> Representation | None:
        found = self._store.resolve(url_path, now_s)
        if found is None or not found.is_here:
            return None
        entry = found.entry
        return Representation(
            entry.sha256,
            entry.size,
            entry.content_type,
            version=found.version,
            was_here=not supplied.was_fetched,
            is_by_users=found.prefix.startswith(f"{LOCAL}/"),
        )

    def _open(self, plan: Plan) -> bytes | BinaryIO:
        """The whole content when it is small enough for memory, else the open file it comes from, which
        outlives its removal. Raises FileNotFoundError or KeyError when the blob has just been removed."""
        pieces: list[bytes] = []
        for piece in plan.content:
            if isinstance(piece, bytes):
                pieces.append(piece)
                continue
            blob = self._memory.get(piece.sha256)
            if blob is None:
                path = self._store.path(piece.sha256)
                if self._store.blobs.size(piece.sha256) > self._memory.max_item_bytes:
                    return open(path, "rb", buffering=0)
                blob = path.read_bytes()
                if hashlib.sha256(blob).hexdigest() != piece.sha256 and not self._store.check(piece.sha256):
                    raise FileNotFoundError(path)  # the disk has spoilt it, so it is not here any more
                self._memory.put(piece.sha256, blob)
            pieces.append(blob if piece.stop - piece.start == len(blob) else blob[piece.start : piece.stop])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _start(plan: Plan) -> Message:
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in plan.fields]
    if plan.close:
        fields.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": plan.status, "headers": fields}


async def _send_whole(plan: Plan, send: Send, content: bytes | None = None) -> None:
    """Send an answer whose content is in memory; that of the plan itself when none is given."""
    if content is None:
        content = b"".join(piece for piece in plan.content if isinstance(piece, bytes))
    await send(_start(plan))
    await send({"type": "http.response.body", "body": content})


async def _stream(plan: Plan, file: BinaryIO, receive: Receive, send: Send) -> None:
    """Send chunk by chunk at the client's pace, until it has all or goes away."""
    gone = asyncio.create_task(_disconnected(receive))
    try:
        for piece in plan.content:
            if isinstance(piece, bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                continue
            for offset in range(piece.start, piece.stop, CHUNK_BYTES):
                chunk = os.pread(file.fileno(), min(CHUNK_BYTES, piece.stop - offset), offset)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await asyncio.sleep(0)  # others take their turn, and `gone` can be noticed
                if gone.done():
                    return
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
