"""The edge's web server: an ASGI shell that carries out what `edge_node.http` decides."""

from __future__ import annotations

import asyncio
import os
import time
from typing import BinaryIO

from delivery.asgi import Receive, Scope, Send
from edge_node.health import Load
from edge_node.http.messages import Plan, Representation, request_from
from edge_node.http.respond import Responder
from edge_node.memory import MemoryCache
from edge_node.store import Store

CHUNK_BYTES = 256 << 10
"""How much of a large file is read at once: some 50 µs of the event loop from the page cache."""


class EdgeApp:
    """Serves the files of `store` as the edge called `edge`, counting its requests in `load`."""

    def __init__(self, edge: str, store: Store, load: Load) -> None:
        self._store = store
        self._load = load
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
        for last_try in (False, True):
            plan = self._responder.respond(request, self._lookup, int(time.time()))
            try:
                content = self._open(plan)
                break
            except (FileNotFoundError, KeyError):
                # Removed between look-up and opening, because a newer version has just replaced it.
                if last_try:
                    raise
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in plan.fields]
        if plan.close:
            fields.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": plan.status, "headers": fields}
        if isinstance(content, bytes):
            await send(start)
            await send({"type": "http.response.body", "body": content})
            return
        with content:
            await send(start)
            await _stream(plan, content, receive, send)

    def _lookup(self, url_path: str) -> Representation | None:
        entry = self._store.resolve(url_path)
        return None if entry is None else Representation(entry.sha256, entry.size, entry.content_type)

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
                self._memory.put(piece.sha256, blob)
            pieces.append(blob if piece.stop - piece.start == len(blob) else blob[piece.start : piece.stop])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
