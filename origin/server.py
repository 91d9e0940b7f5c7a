"""The origin's HTTP API on the ULA plane (docs/architecture.md): manifest, blobs and the edges' reports.

GET, HEAD /manifest        the signed bytes
GET, HEAD /blobs/SHA256    content, whole or one byte range (RFC 9110 section 14)
POST      /reports         204; a report's `missing` symbols are sent to all
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from delivery.announcement import MANIFEST_TYPE
from delivery.asgi import Receive, Scope, Send
from origin.catalogue import Catalogue
from origin.rollcall import Report, ReportError, parse_report

_CHUNK_BYTES = 256 << 10
_MAX_REPORT_BYTES = 1 << 20
_RANGE = re.compile(rb"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


class OriginApp:
    """The API as an ASGI application over one signed manifest and the catalogue it was made from."""

    def __init__(self, signed: bytes, catalogue: Catalogue, on_report: Callable[[Report], None]) -> None:
        self._signed = signed
        self._catalogue = catalogue
        self._on_report = on_report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        method, path = scope["method"], scope["path"]
        if path == "/reports":
            if method == "POST":
                await self._take_report(receive, send)
            else:
                await _answer(send, method, 405, "POST reports here", (b"allow", b"POST"))
        elif path != "/manifest" and not path.startswith("/blobs/"):
            await _answer(send, method, 404, "there is /manifest, /blobs/SHA256 and /reports")
        elif method not in ("GET", "HEAD"):
            await _answer(send, method, 405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        elif path == "/manifest":
            fields = [
                (b"content-type", MANIFEST_TYPE.encode()),
                (b"content-length", str(len(self._signed)).encode()),
                (b"cache-control", b"no-cache"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            body = self._signed if method == "GET" else b""
            await send({"type": "http.response.body", "body": body})
        else:
            await self._send_blob(path.removeprefix("/blobs/"), method, dict(scope["headers"]), send)

    async def _take_report(self, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _MAX_REPORT_BYTES:
                await _answer(send, "POST", 413, f"a report has at most {_MAX_REPORT_BYTES} bytes")
                return
        try:
            report = parse_report(json.loads(bytes(body)))
        except (ReportError, ValueError, RecursionError) as error:
            await _answer(send, "POST", 400, str(error))
            return
        self._on_report(report)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _send_blob(self, sha256: str, method: str, headers: dict[bytes, bytes], send: Send) -> None:
        size = self._catalogue.sizes.get(sha256)
        if size is None:
            await _answer(send, method, 404, "the current manifest lists no such blob")
            return
        etag = f'"{sha256}"'.encode()
        fields = [
            (b"content-type", b"application/octet-stream"),
            (b"etag", etag),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"public, max-age=31536000, immutable"),
        ]
        status, first, end = 200, 0, size
        wanted = headers.get(b"range")
        if method == "GET" and wanted is not None and headers.get(b"if-range", etag) == etag:
            try:
                span = byte_range(wanted, size)
            except UnsatisfiableError:
                text = f"bytes */{size}".encode()
                await _answer(send, method, 416, "the range lies outside the blob", (b"content-range", text))
                return
            if span is not None:
                status, (first, end) = 206, span
                fields.append((b"content-range", f"bytes {first}-{end - 1}/{size}".encode()))
        fields.append((b"content-length", str(end - first).encode()))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        if method == "GET":
            await self._stream(sha256, first, end, send)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, sha256: str, first: int, end: int, send: Send) -> None:
        for at in range(first, end, _CHUNK_BYTES):
            chunk = self._catalogue.read(sha256, at, min(_CHUNK_BYTES, end - at))
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


class UnsatisfiableError(ValueError):
    """The range begins behind the end of the content (416)."""


def byte_range(value: bytes, size: int) -> tuple[int, int] | None:
    """First byte and end of a Range header's one range, or None: ignore the header (RFC 9110 section 14.2).

    Headers that are malformed, of another unit or name several ranges are ignored. Raises UnsatisfiableError.
    """
    match = _RANGE.fullmatch(value)
    if match is None or match[1] == match[2] == b"":
        return None
    if match[1] == b"":
        length = min(int(match[2]), size)
        if length == 0:
            raise UnsatisfiableError
        return size - length, size
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    if first >= size:
        raise UnsatisfiableError
    return first, min(size, int(match[2]) + 1 if match[2] else size)


async def _answer(send: Send, method: str, status: int, text: str, *fields: tuple[bytes, bytes]) -> None:
    body = f"{text}\n".encode()
    common = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*common, *fields]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
