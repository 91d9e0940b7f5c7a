"""The language of the RFC tables: steps, and what the origin says in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_node.http.cache.actions import ResponseHead
from edge_node.http.dates import format_date

NOW_S = 1_700_000_000
BODY = b"0123456789"
OLD = format_date(NOW_S - 100_000)
OLDER = format_date(NOW_S - 200_000)


Row = tuple[str, str, list["Step"]]
"""An id, the requirement with its section (of RFC 9111 where no other is named), and the steps."""


def raw(fields: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in fields.items()]


@dataclass
class Says:
    """A response of the origin; it has the right Date unless it is given, or None."""

    status: int = 200
    body: bytes = BODY
    fields: dict[str, str | None] = field(default_factory=dict)

    def head(self, now_s: int) -> ResponseHead:
        fields = {"date": format_date(now_s), **self.fields}
        sent = {name: value for name, value in fields.items() if value is not None}
        return ResponseHead(self.status, tuple(raw(sent)))


def says(status: int = 200, body: bytes = BODY, **fields: str | None) -> Says:
    return Says(status, body, fields)


@dataclass
class Step:
    """After `wait_s`, `sends` is asked; what the origin `says` then, None for nothing. `by` is who answers:
    "cache", "origin", or "both" after a validation; a field that must be absent is None."""

    by: str
    says: Says | None = None
    sends: dict[str, str] = field(default_factory=dict)
    wait_s: int = 0
    method: str = "GET"
    path: str = "/a"
    status: int = 200
    body: bytes | None = None
    has: dict[str, str | None] = field(default_factory=dict)
    asked: dict[str, str | None] = field(default_factory=dict)


def step(by: str, says: Says | None = None, **options: Any) -> Step:
    return Step(by, says, **options)


FRESH = says(cache_control="max-age=100")
TAGGED = says(cache_control="max-age=100", etag='"a"')
SAME = says(304, b"", etag='"a"', cache_control="max-age=100")


def cached(first: Says, **second: Any) -> list[Step]:
    """What comes first is stored and answers the second request."""
    return [step("origin", first, status=first.status), step("cache", **{"status": first.status, **second})]


def uncached(first: Says, **second: Any) -> list[Step]:
    """What comes first does not answer the second request."""
    return [
        step("origin", first, status=first.status, sends=second.pop("first_sends", {})),
        step("origin", says(body=b"new"), **second),
    ]


AUTH = {"authorization": "Basic eA=="}
VARY = says(cache_control="max-age=100", vary="foo")
