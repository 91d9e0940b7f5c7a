"""What stored responses a request that may change things makes useless (RFC 9111 section 4.4)."""

from __future__ import annotations

from edge_node.http.cache.variants import cache_key, same_origin_key
from edge_node.http.fields import values
from edge_node.http.messages import Fields, Request

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods known to change nothing (RFC 9110 section 9.2.1)."""


def invalidated_keys(request: Request, status: int, fields: Fields) -> frozenset[str]:
    """The keys to invalidate after this response: that of the request, and those its Location and
    Content-Location name at the same origin; none after a safe request or an error."""
    if request.method in SAFE_METHODS or not 200 <= status < 400:
        return frozenset()
    key = cache_key(request)
    named = (
        same_origin_key(key, reference)
        for name in ("location", "content-location")
        for reference in values(fields, name)
    )
    return frozenset({key, *(other for other in named if other is not None)})
