"""The sync API for the unicast-push baseline: the origin puts the manifest, then the blobs, on every edge.

PUT /manifest        signed bytes; 204, 400 (does not verify), 409 (not newer)
PUT /blobs/SHA256    201, 204 (was here), 400 (another digest), 404 (in no manifest), 413, 507 (store full)
GET /status          {"edge", "version", "complete", "files", "bytes", …}, see `edge_node.status`
GET /metrics         the same for Prometheus
…   /local/EDGE/…    the session API (`delivery.session_api`) of the edge's local content; /region/NAME/… of
                     the region whose head it is
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from delivery.asgi import Receive, Scope, Send
from delivery.manifest import ManifestError
from delivery.session_api import SessionApp
from delivery.signing import MAX_SIGNED_BYTES, Verifier, open_manifest
from edge_node.blobs import DamagedError, StoreError, StoreFullError
from edge_node.writer import NewBlob, NewManifest, Writer

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"
_BLOBS = "/blobs/"


class _ClientGoneError(Exception):
    """The client went away before it had sent everything."""


class SyncApp:
    """The API as an ASGI application; it listens on the ULA plane only."""

    def __init__(
        self,
        writer: Writer,
        keys: Verifier,
        status: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], bytes],
        sessions: Callable[[], Iterable[SessionApp]] = tuple,
    ) -> None:
        """`sessions` gives the APIs of what the edge itself sends."""
        self._writer, self._key, self._sessions = writer, keys, sessions
        self._status, self._metrics = status, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        method, path = scope["method"], scope["path"]
        for session in self._sessions():
            if path.startswith(f"{session.base}/"):
                await session(scope, receive, send)
                return
        kind = _TEXT
        try:
            if path == "/status" and method in ("GET", "HEAD"):
                status, text, kind = 200, json.dumps(self._status()), b"application/json"
            elif path == "/metrics" and method in ("GET", "HEAD"):
                status, text, kind = 200, self._metrics().decode(), METRICS_TYPE
            elif path == "/manifest" and method == "PUT":
                status, text = await self._put_manifest(receive)
            elif path.startswith(_BLOBS) and method == "PUT":
                status, text = await self._put_blob(path.removeprefix(_BLOBS), receive)
            else:
                status, text = 404, "there is PUT /manifest, PUT /blobs/SHA256, GET /status and GET /metrics"
        except _ClientGoneError:
            return
        await _answer(send, method, status, text, kind)

    async def _put_manifest(self, receive: Receive) -> tuple[int, str]:
        signed = bytearray()
        async for chunk in _chunks(receive):
            signed += chunk
            if len(signed) > MAX_SIGNED_BYTES:
                return 413, f"a manifest has at most {MAX_SIGNED_BYTES} bytes"
        data = bytes(signed)
        if data == self._writer.store.signed_manifest:
            return 204, ""
        try:
            manifest = open_manifest(data, self._key)
        except ManifestError as error:
            return 400, str(error)
        try:
            await self._writer.submit(NewManifest(manifest, data))
        except StoreError as error:
            return 409, str(error)
        return 204, ""

    async def _put_blob(self, sha256: str, receive: Receive) -> tuple[int, str]:
        store = self._writer.store
        manifest = store.manifest
        size = manifest.blobs.get(sha256) if manifest else None
        if size is None:
            return 404, "the current manifest lists no such blob; PUT /manifest first"
        if store.has(sha256):
            return 204, ""
        try:
            staging = store.blobs.stage()
        except StoreError as error:
            return 507, str(error)
        try:
            async for chunk in _chunks(receive):
                if staging.size + len(chunk) > size:
                    staging.abandon()
                    return 413, f"the blob has {size} bytes"
                staging.write(chunk)
        except StoreError as error:
            return 507, str(error)
        except _ClientGoneError:
            staging.abandon()
            raise
        try:
            await self._writer.submit(NewBlob(sha256, staging))
        except DamagedError as error:
            return 400, str(error)
        except StoreFullError as error:
            return 507, str(error)
        except StoreError as error:
            return 500, str(error)
        return 201, ""


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The request's content as it arrives. Raises _ClientGoneError when it ends early."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        if body := message.get("body"):
            yield body
        more = message.get("more_body", False)


async def _answer(send: Send, method: str, status: int, text: str, kind: bytes) -> None:
    body = f"{text}\n".encode() if text else b""
    fields = [(b"cache-control", b"no-store")]
    if status != 204:
        fields += [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
