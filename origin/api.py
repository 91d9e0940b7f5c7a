"""The origin's HTTP API on the ULA plane: the sessions' parts of it, and what concerns all of them.

GET  /status     JSON: what is published, what was sent, who has what
GET  /metrics    the same for Prometheus
POST /keys       {"edge": NAME}: the epoch keys for that member alone; 403 for others, 404 without encryption
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from delivery.asgi import Receive, Scope, Send
from delivery.session_api import SessionApp, answer, read_body
from origin.members import Members, NotAMemberError
from origin.metrics import exposition

_MAX_REQUEST_BYTES = 1024
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class OriginApi:
    """An ASGI application. What no session below a path of its own takes is the site's."""

    def __init__(
        self,
        site: SessionApp,
        others: Sequence[SessionApp],
        status: Callable[[], Mapping[str, Any]],
        members: Members | None,
    ) -> None:
        self._site, self._others = site, others
        self._status, self._members = status, members

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        method, path = scope["method"], scope["path"]
        if path == "/keys":
            await self._give_keys(method, receive, send)
        elif path in ("/status", "/metrics"):
            await self._tell(path, method, send)
        else:
            app = next((other for other in self._others if path.startswith(f"{other.base}/")), self._site)
            await app(scope, receive, send)

    async def _tell(self, path: str, method: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await answer(send, method, 405, "only GET and HEAD", (b"allow", b"GET, HEAD"))
        elif path == "/status":
            body = json.dumps(self._status()).encode() + b"\n"
            await _send(send, method, b"application/json", body)
        else:
            await _send(send, method, _METRICS_TYPE, exposition(self._status()))

    async def _give_keys(self, method: str, receive: Receive, send: Send) -> None:
        if method != "POST":
            await answer(send, method, 405, 'POST {"edge": NAME} here', (b"allow", b"POST"))
            return
        if self._members is None:
            await answer(send, method, 404, "nothing is encrypted here")
            return
        body = await read_body(receive, _MAX_REQUEST_BYTES)
        if body is None:
            return
        if len(body) > _MAX_REQUEST_BYTES:
            await answer(send, method, 413, f"a request for keys has at most {_MAX_REQUEST_BYTES} bytes")
            return
        try:
            sealed = self._members.wrapped(_edge(body))
        except ValueError as error:
            await answer(send, method, 400, str(error))
        except NotAMemberError:
            await answer(send, method, 403, "this edge is no member; add it to --members")
        else:
            await _send(send, method, b"application/octet-stream", sealed)


def _edge(body: bytes) -> str:
    """The name in a request for keys. Raises ValueError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("edge"), str):
        raise ValueError('expected {"edge": NAME}')
    edge: str = document["edge"]
    return edge


async def _send(send: Send, method: str, kind: bytes, body: bytes) -> None:
    fields = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
