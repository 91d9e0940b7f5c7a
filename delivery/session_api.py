"""One session's part of the unicast API on the ULA plane (docs/architecture.md), below its base path.

GET, HEAD BASE/manifest        the signed bytes
GET, HEAD BASE/blobs/SHA256    content, whole or one byte range (RFC 9110 section 14)
POST      BASE/reports         204; a report's `missing` symbols are sent to all
POST      BASE/listeners       204; {"edge", "listening_s"}: the edge listens for so long, 0: it has left
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from delivery.announcement import MANIFEST_TYPE
from delivery.asgi import Receive, Scope, Send
from delivery.edition import ReadBlob
from delivery.errors import DeliveryError
from delivery.rollcall import Listener, Report, ReportError, parse_listener, parse_report

_CHUNK_BYTES = 256 << 10
_MAX_REPORT_BYTES = 1 << 20
_RANGE = re.compile(rb"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Offer:
    """What is served: a signed manifest, the sizes of blobs in bytes, and their content.

    The blobs of the offer `before` are served too: an edge may have read its manifest a moment ago.
    """

    signed: bytes
    sizes: Mapping[str, int]
    read: ReadBlob
    before: Offer | None = None


class SessionApp:
    """The API as an ASGI application; `offer` is replaced with each version, None until the first.

    `base` is the path before `/manifest`: "" or as in `/live/news`.
    """

    def __init__(
        self,
        on_report: Callable[[Report], None],
        offer: Offer | None = None,
        base: str = "",
        on_listener: Callable[[Listener], None] = lambda _listener: None,
    ) -> None:
        self.offer = offer
        self.base = base
        self.unicast_objects = 0
        """Blobs and parts of blobs that were fetched."""
        self.unicast_bytes = 0
        self._on_report, self._on_listener = on_report, on_listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        method, path = scope["method"], scope["path"]
        below = path.removeprefix(self.base) if path.startswith(f"{self.base}/") else ""
        if below in ("/reports", "/listeners"):
            if method == "POST":
                await self._take(below, receive, send)
            else:
                await answer(send, method, 405, f"POST {below[1:]} here", (b"allow", b"POST"))
        elif below != "/manifest" and not below.startswith("/blobs/"):
            await answer(send, method, 404, "there is /manifest, /blobs/SHA256 and /reports")
        elif method not in ("GET", "HEAD"):
            await answer(send, method, 405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        elif self.offer is None:
            await answer(send, method, 404, "nothing has been published yet")
        elif below == "/manifest":
            fields = [
                (b"content-type", MANIFEST_TYPE.encode()),
                (b"content-length", str(len(self.offer.signed)).encode()),
                (b"cache-control", b"no-cache"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            body = self.offer.signed if method == "GET" else b""
            await send({"type": "http.response.body", "body": body})
        else:
            sha256 = below.removeprefix("/blobs/")
            sent = await _send_blob(self.offer, sha256, method, dict(scope["headers"]), send)
            self.unicast_objects += sent > 0
            self.unicast_bytes += sent

    async def _take(self, path: str, receive: Receive, send: Send) -> None:
        body = await read_body(receive, _MAX_REPORT_BYTES)
        if body is None:
            return
        if len(body) > _MAX_REPORT_BYTES:
            await answer(send, "POST", 413, f"a report has at most {_MAX_REPORT_BYTES} bytes")
            return
        try:
            document = json.loads(body)
            if path == "/reports":
                self._on_report(parse_report(document))
            else:
                self._on_listener(parse_listener(document))
        except (ReportError, ValueError, RecursionError) as error:
            await answer(send, "POST", 400, str(error))
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive, most_bytes: int) -> bytes | None:
    """A request's content, or the first of it that is more than `most_bytes`; None: the client went away."""
    body = bytearray()
    more = True
    while more and len(body) <= most_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _send_blob(offer: Offer, sha256: str, method: str, headers: dict[bytes, bytes], send: Send) -> int:
    """Answer a request for a blob; how many bytes of it were sent."""
    if offer.before is not None and sha256 not in offer.sizes:
        offer = offer.before
    size = offer.sizes.get(sha256)
    if size is None:
        await answer(send, method, 404, "the current manifest lists no such blob")
        return 0
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
            await answer(send, method, 416, "the range lies outside the blob", (b"content-range", text))
            return 0
        if span is not None:
            status, (first, end) = 206, span
            fields.append((b"content-range", f"bytes {first}-{end - 1}/{size}".encode()))
    fields.append((b"content-length", str(end - first).encode()))
    try:
        chunk = offer.read(sha256, first, min(_CHUNK_BYTES, end - first)) if first < end else b""
    except DeliveryError as error:
        await answer(send, method, 404, str(error))
        return 0
    await send({"type": "http.response.start", "status": status, "headers": fields})
    if method == "GET":
        await _stream(offer, sha256, first, end, chunk, send)
    await send({"type": "http.response.body", "body": b""})
    return end - first if method == "GET" else 0


async def _stream(offer: Offer, sha256: str, first: int, end: int, chunk: bytes, send: Send) -> None:
    """Send from `first`, where `chunk` begins, to `end`. What raises DeliveryError cuts the connection."""
    while chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        first += len(chunk)
        chunk = offer.read(sha256, first, min(_CHUNK_BYTES, end - first)) if first < end else b""


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


async def answer(send: Send, method: str, status: int, text: str, *fields: tuple[bytes, bytes]) -> None:
    """Send a whole answer of one line of text."""
    body = f"{text}\n".encode()
    common = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*common, *fields]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
