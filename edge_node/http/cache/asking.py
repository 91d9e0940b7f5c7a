"""The half of the cache machine that hears clients: what a request gets, or what is asked upstream for it."""

from __future__ import annotations

from collections import OrderedDict

from edge_node.http.cache.actions import Action, Answer, Fetch, Wait
from edge_node.http.cache.flights import Flight, Flights, Kind, SharedKey
from edge_node.http.cache.index import CacheIndex
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.refusals import failure, refusal
from edge_node.http.cache.relaying import relayed
from edge_node.http.cache.reuse import Failure, Use, choose_use, may_stand_in, request_directives
from edge_node.http.cache.serving import answer, can_serve, demands_hold
from edge_node.http.cache.status import CacheStatus, Forwarded
from edge_node.http.cache.stored import StoredResponse
from edge_node.http.cache.updating import validation_fields
from edge_node.http.cache.variants import cache_key, fits
from edge_node.http.conditions import is_strong
from edge_node.http.forwarding import upstream_fields
from edge_node.http.messages import Fields, Request


class Asking:
    """Decides on requests, with what `index` holds and `flights` are under way."""

    def __init__(self, policy: Policy, index: CacheIndex, flights: Flights) -> None:
        self._policy, self._index, self._flights = policy, index, flights
        self._alone_until_s: OrderedDict[str, float] = OrderedDict()

    def ask(self, client: int, request: Request, now_s: float, *, alone: bool = False) -> list[Action]:
        """What `request` of a client leads to; `alone` when it is to wait for nobody else's fetch."""
        refused = refusal(request, self._policy)
        if refused is not None:
            return [Answer(client, refused)]
        key = cache_key(request)
        if request.method not in ("GET", "HEAD") or request.has_content:
            why = Forwarded.BYPASS if request.method in ("GET", "HEAD") else Forwarded.METHOD
            return self._launch(Kind.PASS, client, request, why, now_s)
        stored, why = self._index.select(key, request)
        if _has_demands(request) and not (stored and demands_hold(request, stored, now_s)):
            # Whether they hold only the origin knows (section 4.3.2).
            return self._launch(Kind.PASS, client, request, Forwarded.BYPASS, now_s)
        if stored is None:
            kind = Kind.FILL if request.method == "GET" else Kind.HEAD
            return self._launch(kind, client, request, why, now_s, alone=alone)
        choice = choose_use(request, stored, now_s, self._policy)
        if choice.use is not Use.VALIDATE and not can_serve(request, stored, now_s):
            kind = Kind.RESUME if _can_resume(request, stored) else Kind.FILL
            return self._launch(kind, client, request, Forwarded.PARTIAL, now_s, stored, alone=alone)
        if choice.use is Use.VALIDATE:
            kind = Kind.VALIDATE if stored.has_validator and stored.is_complete else Kind.FILL
            if kind is Kind.FILL and request.method == "HEAD":
                kind = Kind.HEAD
            return self._launch(kind, client, request, choice.why, now_s, stored, alone=alone)
        actions = [self.serve(client, request, stored, now_s, CacheStatus(hit=True))]
        if choice.use is Use.SERVE_AND_VALIDATE:
            actions += self._validate_behind(request, stored, now_s)
        return actions

    def serve(
        self, client: int, request: Request, stored: StoredResponse, now_s: float, status: CacheStatus
    ) -> Action:
        """Answer with what is stored."""
        return Answer(client, answer(request, stored, now_s, self._policy, status))

    def refuse(
        self, client: int, request: Request, status: int, text: str, fwd: Forwarded | None = None
    ) -> Action:
        """Answer with an error of our own; `fwd` where the request was forwarded."""
        return Answer(client, failure(request, status, text, self._policy, fwd))

    def allow_sharing(self, key: str) -> None:
        """What came for this URL can be shared."""
        self._alone_until_s.pop(key, None)

    def forbid_sharing(self, key: str, now_s: float) -> None:
        """For some time nobody waits for somebody else's fetch of this URL: its responses are not shared."""
        self._alone_until_s.pop(key, None)
        self._alone_until_s[key] = now_s + self._policy.uncollapsible_s
        if len(self._alone_until_s) > self._policy.max_responses:
            self._alone_until_s.popitem(last=False)

    def _launch(
        self,
        kind: Kind,
        client: int,
        request: Request,
        why: Forwarded,
        now_s: float,
        stored: StoredResponse | None = None,
        *,
        alone: bool = False,
    ) -> list[Action]:
        """Join a fetch that serves the request too, or begin one."""
        key = cache_key(request)
        wishes = request_directives(request, self._policy)
        if kind is not Kind.PASS and wishes.has("only-if-cached"):
            return [self.refuse(client, request, 504, "it is not stored here")]
        shared: SharedKey | None = None
        if not alone and request.method == "GET" and self._is_sharable(kind, key, request, now_s):
            shared = self._shared_key(kind, key, request)
            # Who asks for a response newer than the request does not get one that was asked for before.
            fresh_enough = not wishes.has("no-cache") and wishes.seconds("max-age") != 0
            flight = self._flights.to_join(shared) if fresh_enough else None
            if flight is not None and self._may_join(flight, request, now_s):
                return self._join(flight, client, request, now_s)
        if len(self._flights) >= self._policy.max_fetches:
            if stored is not None and may_stand_in(request, stored, Failure.UNREACHABLE, now_s, self._policy):
                return [self.serve(client, request, stored, now_s, CacheStatus(hit=True, detail="overload"))]
            return [self.refuse(client, request, 503, "too much to do")]
        return self._begin(kind, client, request, why, now_s, stored, shared)

    def _may_join(self, flight: Flight, request: Request, now_s: float) -> bool:
        if flight.response is None:
            return True
        draft = flight.draft
        if draft is None or not fits(draft.selecting, request):
            return False
        return choose_use(request, draft, now_s, self._policy).use is Use.SERVE

    def _join(self, flight: Flight, client: int, request: Request, now_s: float) -> list[Action]:
        self._flights.join(flight, client, request)
        if flight.response is not None:
            return [relayed(self._flights, flight, client, now_s, self._policy)]
        return [Wait(client, flight.number)]

    def _begin(
        self,
        kind: Kind,
        client: int | None,
        request: Request,
        why: Forwarded,
        now_s: float,
        stored: StoredResponse | None,
        shared: SharedKey | None,
    ) -> list[Action]:
        number = self._flights.next_number()
        key = cache_key(request)
        self._flights.add(Flight(number, kind, key, request, why, now_s, client, stored, shared))
        start = stored.prefix_bytes if kind is Kind.RESUME and stored is not None else 0
        extra: Fields = ()
        if stored is not None and kind is Kind.VALIDATE:
            extra = validation_fields(stored)
        elif stored is not None and kind is Kind.RESUME:
            extra = (("range", f"bytes={start}-"), ("if-range", stored.etag or ""))
        fields = upstream_fields(
            request,
            self._policy.name,
            # What a client says of its own copy is for the origin when the response is for that client alone.
            conditions=kind in (Kind.PASS, Kind.HEAD) or (kind is Kind.FILL and shared is None),
            ranges=kind in (Kind.PASS, Kind.FILL) and request.method != "HEAD",
            extra=extra,
        )
        content_of = client if request.has_content else None
        return [Fetch(number, request.method, request.target, fields, content_of, asker=client)]

    def _validate_behind(self, request: Request, stored: StoredResponse, now_s: float) -> list[Action]:
        """Begin to validate a response that was just served stale (RFC 5861 section 3), once."""
        # The client's wishes are fulfilled already; this one is for everybody.
        dropped = ("cache-control", "range", "if-range", "if-none-match", "if-modified-since")
        fields = {name: value for name, value in (request.fields or {}).items() if name not in dropped}
        request = Request(
            "GET", request.path, request.query, request.http_version, fields, request.hosts, request.scheme
        )
        kind = Kind.VALIDATE if stored.has_validator and stored.is_complete else Kind.FILL
        shared = self._shared_key(kind, stored.key, request)
        if self._flights.to_join(shared) is not None or len(self._flights) >= self._policy.max_fetches:
            return []
        return self._begin(kind, None, request, Forwarded.STALE, now_s, stored, shared)

    def _is_sharable(self, kind: Kind, key: str, request: Request, now_s: float) -> bool:
        """Whether the response to a GET is expected to be of use to others too."""
        if kind is Kind.PASS or self._alone_until_s.get(key, now_s) > now_s:
            return False
        is_private = request.field("authorization") is not None
        return not (is_private or request_directives(request, self._policy).has("no-store"))

    def _shared_key(self, kind: Kind, key: str, request: Request) -> SharedKey:
        """What requests have in common that one fetch can serve; a validation is about the whole."""
        ranges = ("", "")
        if kind is Kind.FILL:
            ranges = (request.field("range") or "", request.field("if-range") or "")
        return (key, *ranges, self._index.expected_selection(key, request))


def _has_demands(request: Request) -> bool:
    return request.field("if-match") is not None or request.field("if-unmodified-since") is not None


def _can_resume(request: Request, stored: StoredResponse) -> bool:
    """Whether the rest of `stored` is all that is missing, and can be asked for safely."""
    is_whole = request.method == "GET" and request.field("range") is None
    return is_whole and is_strong(stored.etag) and stored.prefix_bytes > 0
