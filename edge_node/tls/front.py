"""What stands before the edge's application: over TLS a promise to stay there, without it the way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from delivery.asgi import Message, Receive, Scope, Send
from edge_node.http.hygiene import DEFAULT_LIMITS
from edge_node.http.messages import Request, request_from
from edge_node.http.plain import text_answer
from edge_node.http.redirect import redirect_to_https, strict_transport_security
from edge_node.quick import Ready
from edge_node.sending import send_whole

UNKNOWN_LENGTH = "content_of_unknown_length"
"""Set in the state of a request over HTTP/2 whose content does not say how long it is."""
_NO_CONTENT = frozenset({"GET", "HEAD", "OPTIONS"})


class WebApp(Protocol):
    """The edge's application, and its answers at hand (`edge_node.quick.Source`)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""

    @property
    def generation(self) -> int:
        """Another number whenever answers may have changed."""

    def answer_now(self, request: Request, now_s: int) -> Ready | None:
        """The answer to a GET or HEAD whose making takes no waiting; None for all others."""

    def touch(self, sha256: str) -> None:
        """A file has been used."""


class SecureFront:
    """The application over TLS: every answer has Strict-Transport-Security (RFC 6797), whatever a proxied
    server says of it."""

    def __init__(self, app: WebApp, max_age_s: int) -> None:
        self._app = app
        self._field = strict_transport_security(max_age_s)
        name, value = self._field
        self._raw = (name.lower().encode(), value.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [field for field in message["headers"] if field[0].lower() != self._raw[0]]
                message = {**message, "headers": [*others, self._raw]}
            await send(message)

        refused = _refusal(scope)
        if refused is None:
            await self._app(scope, receive, sending)
        else:
            status, text = refused
            await send_whole(text_answer(scope["method"], status, text, (), close=True), sending)

    @property
    def generation(self) -> int:
        """Another number whenever answers may have changed."""
        return self._app.generation

    def touch(self, sha256: str) -> None:
        """A file has been used."""
        self._app.touch(sha256)

    def answer_now(self, request: Request, now_s: int) -> Ready | None:
        """The application's answer at hand, with the field."""
        ready = self._app.answer_now(replace(request, scheme="https"), now_s)
        if ready is None:
            return None
        return replace(ready, plan=replace(ready.plan, fields=(*ready.plan.fields, self._field)))


class Redirect:
    """The application without TLS: everything is at `name` over TLS, at TCP `port`."""

    def __init__(self, name: str, port: int, edge: str) -> None:
        self._name, self._port, self._edge = name, port, edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        fields: Sequence[tuple[bytes, bytes]] = scope["headers"]
        request = request_from(scope["method"], path, query, scope["http_version"], fields)
        await send_whole(redirect_to_https(request, self._name, self._port, self._edge), send)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """Why nothing over TLS is answered like this."""
    if scope["scheme"] != "https":
        return 421, "this connection is for https"  # RFC 9110 section 7.4
    if any(name == b"content-length" and _is_too_long(value) for name, value in scope["headers"]):
        return 413, f"more than {DEFAULT_LIMITS.content_bytes} bytes of content"
    if scope.get("state", {}).get(UNKNOWN_LENGTH) and scope["method"] not in _NO_CONTENT:
        return 411, "content needs a Content-Length here"
    return None


def _is_too_long(length: bytes) -> bool:
    return length.isdigit() and (len(length) > 18 or int(length) > DEFAULT_LIMITS.content_bytes)
