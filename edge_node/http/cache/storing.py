"""What may be stored (RFC 9111 section 3), and which of its fields (section 3.1)."""

from __future__ import annotations

from edge_node.http.cache.directives import governing, parse_directives
from edge_node.http.cache.freshness import HEURISTICALLY_CACHEABLE, terms
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.variants import cache_key, same_origin_key
from edge_node.http.fields import combined, names_listed, values, without
from edge_node.http.forwarding import end_to_end
from edge_node.http.messages import Fields, Request
from edge_node.http.ranges import parse_content_range

_UNDERSTOOD = frozenset(
    {200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 421, 451}
    | {500, 501, 502, 503, 504}
)
"""Final status codes whose caching requirements are known here; 304 is never stored itself."""


def reason_not_to_store(
    request: Request, status: int, fields: Fields, received_s: float, policy: Policy
) -> str | None:
    """Why a shared cache may not, or need not, store the response to `request`; None when it does."""
    rules = governing(fields)
    directives = rules.directives
    if status < 200 or status == 304:
        return "not a response of its own"
    if request.method not in ("GET", "POST") or (request.method == "GET" and request.has_content):
        return f"method {request.method}"
    if parse_directives(request.field("cache-control")).has("no-store"):
        return "no-store in the request"
    if directives.has("must-understand"):  # section 5.2.2.3: who understands may ignore no-store
        if status not in _UNDERSTOOD:
            return "must-understand"
    elif directives.has("no-store"):
        return "no-store"
    if directives.applies_to_all("private"):
        return "private"
    if "*" in names_listed(combined(fields, "vary")):
        return "vary: *"
    shareable = any(map(directives.has, ("public", "must-revalidate", "s-maxage")))
    if request.field("authorization") is not None and not shareable:
        return "authorization"  # section 3.5
    explicit = (directives.has("max-age") or directives.has("s-maxage")) or (
        bool(values(fields, "expires")) and not rules.targeted
    )
    if not (explicit or directives.has("public") or status in HEURISTICALLY_CACHEABLE):
        return f"status {status}"
    if request.method == "POST" and not _describes_its_target(request, status, fields, explicit):
        return "method POST"
    if status == 206 and part_of(fields) is None:
        return "parts without a common length"
    validators = values(fields, "etag") or values(fields, "last-modified")
    if not validators and terms(status, fields, received_s, policy).lifetime_s <= 0:
        return "stale at once"
    return None


def storable_fields(fields: Fields) -> Fields:
    """The fields to store: without those for the connection and those that only one user, or only a validated
    response, may see (sections 3.1, 5.2.2.4, 5.2.2.7)."""
    directives = governing(fields).directives
    return without(end_to_end(fields), directives.names("private") | directives.names("no-cache"))


def part_of(fields: Fields) -> tuple[int, int, int] | None:
    """The (start, stop, size) of the one part a 206 holds; None when it holds several, or does not say."""
    part = parse_content_range(combined(fields, "content-range") or "")
    return None if part is None or part[2] is None else (part[0], part[1], part[2])


def _describes_its_target(request: Request, status: int, fields: Fields, explicit: bool) -> bool:
    """Whether the response to a POST may answer a later GET (RFC 9110 section 9.3.3)."""
    location = combined(fields, "content-location")
    key = cache_key(request)
    return status == 200 and explicit and location is not None and same_origin_key(key, location) == key
