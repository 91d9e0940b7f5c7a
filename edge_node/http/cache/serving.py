"""From a stored response to the answer to one request (RFC 9111 section 4, RFC 9110 sections 13 and 14)."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from edge_node.http.cache.policy import Policy
from edge_node.http.cache.status import CacheStatus
from edge_node.http.cache.stored import StoredResponse
from edge_node.http.conditions import demands_are_met, is_current, range_applies
from edge_node.http.digests import digest_value
from edge_node.http.fields import combined, overwritten, without
from edge_node.http.messages import Fields, Plan, Request
from edge_node.http.ranges import NoPart, parse_range, partial

_NOT_IN_304 = frozenset(
    {"content-encoding", "content-language", "content-length", "content-md5", "content-type", "content-range"}
)
"""What a 304 need not repeat of the representation's metadata (RFC 9110 section 15.4.5)."""
_WITHOUT_CONTENT = frozenset({204, 304})


def demands_hold(request: Request, stored: StoredResponse, now_s: float) -> bool:
    """Whether a cache may overlook the request's If-Match or If-Unmodified-Since: they hold for what it has.
    Else they are for the origin to judge (RFC 9111 section 4.3.2)."""
    return demands_are_met(request, stored.validators, int(now_s))


def can_serve(request: Request, stored: StoredResponse, now_s: float) -> bool:
    """Whether the content that `request` asks for is here."""
    if stored.is_complete or request.method == "HEAD" or is_not_modified(request, stored, now_s):
        return True
    intervals = _intervals(request, stored, now_s)
    if isinstance(intervals, NoPart):
        return intervals is NoPart.UNSATISFIABLE
    return all(stored.covers(start, stop) for start, stop in intervals)


def answer(
    request: Request, stored: StoredResponse, now_s: float, policy: Policy, status: CacheStatus
) -> Plan:
    """The answer to `request` with `stored`, which `can_serve` it; `status` goes into its Cache-Status."""
    left_s, age_s = stored.time_left_s(now_s), stored.age_s(now_s)
    status = replace(status, ttl_s=floor(left_s) if status.ttl_s is None else status.ttl_s)
    fields = status.appended_to(stored.fields, policy.name)
    fields = overwritten(fields, (("age", str(int(age_s))),))
    whole = stored.whole_sha256
    if whole is not None and combined(fields, "repr-digest") is None:
        fields += (("repr-digest", digest_value(whole)),)
    if is_not_modified(request, stored, now_s):
        return Plan(304, without(fields, _NOT_IN_304))
    intervals = _intervals(request, stored, now_s)
    if intervals is NoPart.UNSATISFIABLE:
        return _unsatisfiable(fields, stored)
    if not isinstance(intervals, NoPart):
        return partial(without(fields, {"content-type", "content-range"}), stored, intervals)
    if stored.status not in _WITHOUT_CONTENT:
        fields += (("content-length", str(stored.size)),)
    return Plan(stored.status, fields, stored.slices(0, stored.size) if request.method == "GET" else ())


def is_not_modified(request: Request, stored: StoredResponse, now_s: float) -> bool:
    """Whether the client has what is stored; conditions count only where the answer would be 2xx (RFC 9110
    section 13.2.1)."""
    if request.field("if-none-match") is None and request.field("if-modified-since") is None:
        return False  # nearly always: no date need be read
    return 200 <= stored.status < 300 and is_current(request, stored.dated, int(now_s))


def _intervals(request: Request, stored: StoredResponse, now_s: float) -> list[tuple[int, int]] | NoPart:
    """The intervals that a request asks for, if its Range counts (RFC 9110 sections 13.1.5, 14.2)."""
    value = request.field("range")
    if value is None or request.method != "GET" or stored.status != 200:
        return NoPart.IGNORE
    if not range_applies(request, stored.validators, int(now_s)):
        return NoPart.IGNORE
    return parse_range(value, stored.size)


def _unsatisfiable(fields: Fields, stored: StoredResponse) -> Plan:
    kept = tuple(pair for pair in fields if pair[0] in ("age", "cache-status", "date", "etag", "vary", "via"))
    return Plan(416, (*kept, ("content-range", f"bytes */{stored.size}"), ("content-length", "0")))
