"""An answer as bytes of HTTP/1.1 (RFC 9112 section 4)."""

from __future__ import annotations

from http import HTTPStatus

from edge_node.http.messages import Fields, Plan


def around_date(plan: Plan, content: bytes) -> tuple[bytes, bytes]:
    """The whole answer, before and after the value of its Date field.

    The plan's fields say where the content ends, so it is of the length they say; `b""` for HEAD, 204, 304.
    """
    lines = [f"{name.lower()}: {value}" for name, value in plan.fields]
    if plan.close:
        lines.append("connection: close")
    before = f"HTTP/1.1 {plan.status} {_phrase(plan.status)}\r\ndate: ".encode("latin-1")
    after = "\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return before, after.encode("latin-1") + content


def interim(status: int, fields: Fields) -> bytes:
    """An interim response (RFC 9110 section 15.2)."""
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{lines}\r\n".encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
