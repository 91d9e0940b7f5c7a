"""What the cache answers itself: requests it does not pass on, and upstream fetches that failed."""

from __future__ import annotations

from edge_node.http.cache.policy import Policy
from edge_node.http.cache.status import CacheStatus, Forwarded
from edge_node.http.forwarding import loops
from edge_node.http.messages import Plan, Request
from edge_node.http.plain import text_answer

_ALLOW = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_BESIDES = {405: (_ALLOW,), 503: (("Retry-After", "1"),)}


def refusal(request: Request, policy: Policy) -> Plan | None:
    """The answer to a request that goes no further; None for one that is in order.

    A loop is refused (RFC 8586 section 2), as are tunnels and traces; OPTIONS that may not be forwarded is
    answered here (RFC 9110 section 7.6.2).
    """
    if loops(request, policy.name):
        return failure(request, 508, "the request has been here before", policy)
    if request.method in ("CONNECT", "TRACE"):
        return failure(request, 405, f"no {request.method} here", policy)
    if request.method == "OPTIONS" and (request.path == "*" or request.field("max-forwards") == "0"):
        return Plan(204, (_ALLOW,))
    return None


def failure(request: Request, status: int, text: str, policy: Policy, fwd: Forwarded | None = None) -> Plan:
    """An error of the cache itself; `fwd` when the request was forwarded."""
    said = CacheStatus(fwd=fwd, detail=text).member(policy.name)
    return text_answer(request.method, status, text, (("Cache-Status", said),), _BESIDES.get(status, ()))
