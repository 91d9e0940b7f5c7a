"""From a planned answer to ASGI messages, and noticing that a client has gone."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from delivery.asgi import Message, Receive, Send
from edge_node.contents import OpenContent
from edge_node.http.messages import Fields, Plan


def start(status: int, fields: Fields, *, close: bool = False) -> Message:
    """The message that begins an answer."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    if close:
        raw.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": status, "headers": raw}


def dated(fields: Fields) -> Fields:
    """`fields` with the time now as Date, unless they have one (RFC 9110 section 6.6.1)."""
    if any(name.lower() == "date" for name, _ in fields):
        return fields
    return (("date", formatdate(usegmt=True)), *fields)


async def send_whole(plan: Plan, send: Send, content: bytes | None = None) -> None:
    """Send an answer whose content is in memory; that of the plan itself when none is given."""
    if content is None:
        content = b"".join(piece for piece in plan.content if isinstance(piece, bytes))
    await send(start(plan.status, plan.fields, close=plan.close))
    await send({"type": "http.response.body", "body": content})


async def send_chunks(content: OpenContent, send: Send) -> None:
    """Send content at the client's pace; more follows."""
    for chunk in content.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0)  # others take their turn, and that the client is gone can be noticed


async def stream(plan: Plan, content: OpenContent, receive: Receive, send: Send) -> None:
    """Send an answer chunk by chunk at the client's pace, until it has all or goes away."""
    gone = asyncio.create_task(disconnected(receive))
    try:
        await send(start(plan.status, plan.fields, close=plan.close))
        for chunk in content.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)  # others take their turn, and `gone` can be noticed
            if gone.done():
                return
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone away; what it still sends is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass
