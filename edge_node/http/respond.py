"""The edge's HTTP semantics as one pure function: a request and a look-up give the planned answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_node.http.codings import negotiated
from edge_node.http.conditions import Outcome, evaluate, range_applies
from edge_node.http.dates import format_date
from edge_node.http.digests import digest_value
from edge_node.http.messages import Fields, Plan, Representation, Request
from edge_node.http.plain import text_answer
from edge_node.http.ranges import NoPart, parse_range, partial

Lookup = Callable[[str], Representation | None]
"""From a raw URL path to the file it names now, None when there is none."""

ALLOW = "GET, HEAD, OPTIONS"
_KNOWN_METHODS = frozenset({"POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"})
_CACHE_CONTROL = "no-cache"
"""An update must show at once, and asking the nearest edge whether a copy is current is cheap."""


READS = frozenset(
    {
        *("accept-encoding", "range", "if-range", "if-match", "if-none-match"),
        *("if-modified-since", "if-unmodified-since"),
    }
)
"""The fields of a request without content that its answer depends on, if it is in order."""
_VARY = ("Vary", "Accept-Encoding")
_UNTRUSTED = (("Content-Security-Policy", "sandbox"), ("X-Content-Type-Options", "nosniff"))
"""Nothing that a user has uploaded may act in the name of the service."""
_CONTENT_UNREAD = frozenset({400, 411, 413, 429})
"""After these the rest of a request is not waited for: the connection ends."""


@dataclass(frozen=True, slots=True)
class Responder:
    """Answers for the edge called `edge` (its name goes into `Nearcast-Edge` and `Cache-Status`)."""

    edge: str

    def respond(self, request: Request, lookup: Lookup, now_s: int) -> Plan:
        """Answer `request` at `now_s` (seconds since the epoch); never raises, whatever was sent.

        The server below adds the Date field and the framing of the connection.
        """
        refusal = _refusal(request)
        if refusal is not None:
            return self._error(request, *refusal)
        if request.method == "OPTIONS":
            return Plan(204, (*self._common, ("Allow", ALLOW)))
        target = lookup(request.path)
        if target is None:
            if not request.path.endswith("/") and lookup(request.path + "/") is not None:
                query = f"?{request.query}" if request.query else ""
                location = ("Location", f"{request.path}/{query}")
                return self._error(request, 308, "the folder is at the path with a slash", location)
            return self._error(request, 404, "no such file here")
        chosen = negotiated(target, request.field("accept-encoding"))
        if chosen is None:
            return self._error(request, 406, "every coding there is was refused", _VARY)
        target = chosen
        outcome = evaluate(request, target, now_s)
        if outcome is Outcome.FAILED:
            return self._error(request, 412, "the file is not the version asked for")
        if outcome is Outcome.NOT_MODIFIED:
            return Plan(304, (*self._common, *self._about(target)))
        return self._deliver(request, target, now_s)

    def _deliver(self, request: Request, target: Representation, now_s: int) -> Plan:
        fields = (*self._common, *self._about(target), ("Accept-Ranges", "bytes"))
        if target.coding:
            fields += (("Content-Encoding", target.coding),)
        range_field = request.field("range") if request.method == "GET" else None
        if range_field is not None and range_applies(request, target, now_s):
            intervals = parse_range(range_field, target.size)
            if intervals is NoPart.UNSATISFIABLE:
                unsatisfied = ("Content-Range", f"bytes */{target.size}")
                return self._error(request, 416, "no byte of that range exists", unsatisfied)
            if not isinstance(intervals, NoPart):
                return partial(fields, target, intervals)
        fields += (("Content-Type", target.content_type), ("Content-Length", str(target.size)))
        return Plan(200, fields, target.slices(0, target.size) if request.method == "GET" else ())

    @property
    def _common(self) -> Fields:
        return (("Nearcast-Edge", self.edge),)

    def _about(self, target: Representation) -> Fields:
        """What every answer with a file says about it: validators, freshness, where it comes from."""
        fields: Fields = (
            ("ETag", target.etag),
            ("Cache-Control", _CACHE_CONTROL),
            ("Cache-Status", f"{self.edge}; {'hit' if target.was_here else 'fwd=miss; stored'}"),
            ("Repr-Digest", digest_value(target.sha256)),
        )
        if target.is_codable:  # whether a form is there yet or not: a cache must not give one client's to all
            fields += (_VARY,)
        if target.version is not None:
            fields += (("Nearcast-Version", str(target.version)),)
        if target.is_by_users:
            fields += _UNTRUSTED
        if target.modified_s is None:
            return fields
        # RFC 9110 section 8.8.2.1: never in the future, even where two clocks differ.
        return (*fields, ("Last-Modified", format_date(target.modified_s)))

    def say(self, request: Request, status: int, text: str, *extra: tuple[str, str]) -> Plan:
        """An answer that something else than the file's state decides: one line of text."""
        return self._error(request, status, text, *extra)

    def _error(self, request: Request, status: int, text: str, *extra: tuple[str, str]) -> Plan:
        close = status in _CONTENT_UNREAD
        return text_answer(request.method, status, text, self._common, extra, close=close)


def _refusal(request: Request) -> tuple[int, str] | tuple[int, str, tuple[str, str]] | None:
    """Status and text for a request that is refused whatever it asks for; None when it is in order."""
    if request.hosts > 1 or (request.hosts == 0 and request.http_version == "1.1"):
        return 400, "exactly one Host field is needed"  # RFC 9112 section 3.2
    if request.field("transfer-encoding") is not None and request.field("content-length") is not None:
        return 400, "both Content-Length and Transfer-Encoding"  # RFC 9112 section 6.1
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return None
    if request.method in _KNOWN_METHODS:
        return 405, "files here can only be read", ("Allow", ALLOW)
    return 501, f"this server does not know the method {request.method}"
