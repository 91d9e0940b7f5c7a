"""Calls an ASGI application as a server would, without sockets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from delivery.asgi import Application


@dataclass(frozen=True)
class Answer:
    """An application's answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: Application, method: str, path: str, body: bytes | None = b"", **headers: str
) -> Answer | None:
    """The answer to one request, None when the application gave none. With body None the client is gone."""
    sent: list[Any] = []

    async def receive() -> Any:
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": method, "path": path, "headers": fields}, receive, send)
    if not sent:
        return None
    start = sent[0]
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message["body"] for message in sent[1:]),
    )


def answered(app: Application, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """As `ask`, from outside an event loop, when there must be an answer."""
    answer = asyncio.run(ask(app, method, path, body, **headers))
    assert answer is not None
    return answer
