"""Answers without a file: one line of text, not to be stored by anyone."""

from __future__ import annotations

from edge_node.http.messages import Fields, Plan


def text_answer(
    method: str, status: int, text: str, fields: Fields, extra: Fields = (), *, close: bool = False
) -> Plan:
    """The answer `status` that says `text`; `fields` come before Cache-Control, `extra` after it."""
    body = f"{status}: {text}\n".encode()
    fields = (
        *fields,
        ("Cache-Control", "no-store"),
        *extra,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    )
    return Plan(status, fields, () if method == "HEAD" else (body,), close=close)
