"""What an intermediary does to the fields it passes on (RFC 9110 section 7.6), and how it notices loops."""

from __future__ import annotations

from collections.abc import Collection

from edge_node.http.dates import format_date, parse_date
from edge_node.http.fields import list_members, names_listed, overwritten, values, without
from edge_node.http.messages import Fields, Request

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields for one connection, and those RFC 9111 section 3.1 lets no shared cache keep."""
_NEVER_HOP_BY_HOP = frozenset(
    {
        "age",
        "authorization",
        "cache-control",
        "cdn-cache-control",
        "cdn-loop",
        "content-length",
        "content-range",
        "cookie",
        "date",
        "etag",
        "expires",
        "host",
        "last-modified",
        "set-cookie",
        "vary",
        "via",
    }
)
"""Naming these in Connection would strip what framing, caching or loop detection need: it has no effect."""
_OF_CACHES = ("if-none-match", "if-modified-since")
_OF_RANGES = ("range", "if-range")


def end_to_end(fields: Fields) -> Fields:
    """The fields that go beyond this connection: without those hop by hop and those that Connection names
    (section 7.6.1)."""
    named = frozenset().union(*(names_listed(value) for value in values(fields, "connection")))
    return without(fields, HOP_BY_HOP | (named - _NEVER_HOP_BY_HOP))


def loops(request: Request, name: str) -> bool:
    """Whether the request has come through the cache called `name` before (RFC 8586 section 2)."""
    for member in list_members(request.field("cdn-loop") or ""):
        if member.partition(";")[0].strip(" \t").lower() == name.lower():
            return True
    return False


def upstream_fields(
    request: Request, name: str, *, conditions: bool, ranges: bool, extra: Fields = ()
) -> Fields:
    """The fields of the request that is sent on for `request` by the cache called `name`.

    Without `conditions` and `ranges` what the client says of its own copies stays here; `extra` are our own
    fields in the place of the client's. Via and CDN-Loop say where the request has been.
    """
    dropped: Collection[str] = {
        "expect",  # the server below has already said 100 (section 10.1.1)
        *(() if conditions else _OF_CACHES),
        *(() if ranges else _OF_RANGES),
    }
    fields = without(end_to_end(tuple((request.fields or {}).items())), dropped)
    hops = [value for value in (request.field("via"), f"{request.http_version} {name}") if value]
    loop = [value for value in (request.field("cdn-loop"), name) if value]
    ours = (("via", ", ".join(hops)), ("cdn-loop", ", ".join(loop)), *_fewer_forwards(request))
    return overwritten(overwritten(fields, ours), extra)


def received_fields(fields: Fields, name: str, http_version: str, received_s: float) -> Fields:
    """The fields of a response as the cache called `name` passes them on and stores them.

    One without a Date that can be read gets the time it came (section 6.6.1).
    """
    kept = end_to_end(fields)
    dates = values(kept, "date")
    if len(dates) != 1 or parse_date(dates[0], int(received_s), any_case=True) is None:
        kept = overwritten(kept, (("date", format_date(int(received_s))),))
    return (*kept, ("via", f"{http_version} {name}"))


def _fewer_forwards(request: Request) -> Fields:
    """Max-Forwards counts down for OPTIONS and TRACE (section 7.6.2)."""
    left = request.field("max-forwards")
    if left is None or request.method not in ("OPTIONS", "TRACE") or not left.isdecimal():
        return ()
    return (("max-forwards", str(max(int(left[:9]) - 1, 0))),)
