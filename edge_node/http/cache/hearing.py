"""The half of the cache machine that hears the upstream server: what its responses mean for who waits."""

from __future__ import annotations

from dataclasses import replace

from edge_node.http.cache.actions import Abort, Action, Body, Drop, Keep, Release, ResponseHead
from edge_node.http.cache.asking import Asking
from edge_node.http.cache.flights import Flight, Flights, Kind
from edge_node.http.cache.freshness import Terms
from edge_node.http.cache.index import CacheIndex
from edge_node.http.cache.invalidation import SAFE_METHODS, invalidated_keys
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.relaying import WITHOUT_CONTENT, relayed
from edge_node.http.cache.reuse import ERRORS, Failure, Use, choose_use, may_stand_in
from edge_node.http.cache.serving import can_serve
from edge_node.http.cache.status import CacheStatus, Forwarded
from edge_node.http.cache.stored import Arrival, Segment, StoredResponse, stored_response
from edge_node.http.cache.storing import part_of, reason_not_to_store
from edge_node.http.cache.updating import Verdict, head_means, not_modified_means, updated
from edge_node.http.cache.variants import fits, selecting
from edge_node.http.conditions import is_strong
from edge_node.http.digests import contradicts
from edge_node.http.fields import combined
from edge_node.http.forwarding import received_fields
from edge_node.http.messages import Request


class Hearing:
    """Decides on responses; whom one does not serve is asked about again with `asking`."""

    def __init__(self, policy: Policy, index: CacheIndex, flights: Flights, asking: Asking) -> None:
        self._policy, self._index, self._flights, self._asking = policy, index, flights, asking

    def head(self, fetch: int, head: ResponseHead, now_s: float) -> list[Action]:
        """The head of a final response is here; its content, if any, follows."""
        flight = self._flights.get(fetch)
        if flight is None:
            return [Drop(fetch)]
        if head.status < 200 or flight.response is not None:
            return []
        if head.status > 599:  # RFC 9110 section 15
            return self._refuse_all(flight, f"the origin answers {head.status}")
        fields = received_fields(head.fields, self._policy.name, head.http_version, now_s)
        flight.response = head = ResponseHead(head.status, fields, head.http_version)
        arrival = Arrival(flight.requested_s, now_s)
        actions: list[Action] = []
        for key in sorted(invalidated_keys(flight.request, head.status, fields)):
            actions += self.overtake(key, flight)
        if head.status in ERRORS and flight.stored is not None:
            actions += self._stand_in(flight, Failure.ERROR, now_s, f"status {head.status}")
            if not flight.waiting:
                return [*actions, *self._give_up(flight)]
            flight.is_overtaken |= bool(actions)  # what stands in is better than the error
        elif head.status == 304 and flight.kind is Kind.VALIDATE:
            return [*actions, *self._not_modified(flight, arrival)]
        elif flight.kind is Kind.RESUME and not self._goes_on(flight, head):
            if head.status in (206, 304, 416):  # of something else than what is here
                return [*actions, *self._start_over(flight, now_s)]
            flight.kind = Kind.FILL
        elif flight.kind is not Kind.RESUME and _was_not_asked_for(flight, head.status):
            text = f"the origin answers {head.status} without being asked to"
            return [*actions, *self._refuse_all(flight, text)]
        if flight.request.method == "HEAD" and self._update_by_head(flight, head, arrival):
            return [*actions, *self._serve_updated(flight, head, now_s)]
        return [*actions, *self._deliver(flight, head, arrival)]

    def end(self, fetch: int, body: Body | None, now_s: float) -> list[Action]:
        """All of a response is here, its content in `body` if it was kept."""
        flight = self._flights.get(fetch)
        if flight is not None:
            self._flights.remove(flight)
        if body is None:
            return []
        draft = None if flight is None or flight.is_overtaken else flight.draft
        if flight is None or draft is None or flight.response is None:
            return self._released([body.sha256])
        is_whole = flight.response.status != 206
        stop = flight.start + body.size
        size = stop if is_whole else draft.size
        if _is_damaged(flight.response, body, (flight.start, stop), is_whole=is_whole):
            return self._released([body.sha256])
        segments = (Segment(flight.start, stop, body.sha256),) if body.size else ()
        if draft.terms.lifetime_s > 0 and not draft.terms.must_validate:
            self._asking.allow_sharing(flight.key)
        return self._released([*self._index.put(replace(draft, segments=segments, size=size)), body.sha256])

    def not_kept(self, fetch: int) -> list[Action]:
        """The caller cannot keep the content."""
        flight = self._flights.get(fetch)
        if flight is None:
            return []
        self._flights.close_to_others(flight)
        flight.draft = None
        return [] if flight.is_wanted else self._give_up(flight)

    def lost(self, sha256: str) -> list[Action]:
        """A blob is gone."""
        return self._released([other for other in self._index.lose(sha256) if other != sha256])

    def failed(
        self, fetch: int, now_s: float, text: str, *, timed_out: bool = False, body: Body | None = None
    ) -> list[Action]:
        """Upstream did not answer, or not to the end; `body` is what came of content that was kept."""
        flight = self._flights.get(fetch)
        if flight is None:
            return self._released([body.sha256] if body else [])
        actions: list[Action] = []
        if flight.request.method not in SAFE_METHODS and flight.response is None:
            actions += self.overtake(flight.key, flight)  # it may have been carried out
        if body is not None:
            actions += self._keep_beginning(flight, body)
        actions += self._stand_in(flight, Failure.UNREACHABLE, now_s, text)
        # Section 5.2.2.2: 504 where validation was a must and nobody could be asked.
        status = 504 if timed_out or flight.stored is not None else 502
        for client, request in list(flight.waiting.items()):
            actions.append(self._asking.refuse(client, request, status, text, flight.why))
        actions += [Abort(client) for client in sorted(flight.relaying)]
        self._flights.remove(flight)
        return actions

    def gone(self, client: int) -> list[Action]:
        """A client is not there any more, or has all of its answer."""
        flight = self._flights.of_client(client)
        if flight is None:
            return []
        self._flights.answered(flight, client)
        flight.relaying.discard(client)
        if flight.is_wanted or (flight.leader is None and flight.response is None):
            return []
        actions: list[Action] = []
        if flight.request.method not in SAFE_METHODS and flight.response is None:
            actions += self.overtake(flight.key, flight)
        return [*actions, *self._give_up(flight)]

    def overtake(self, key: str, by: Flight | None = None) -> list[Action]:
        """A URL's content may have changed: forget what is stored, and do not store what was asked before
        (section 4.4)."""
        for flight in list(self._flights.of_url(key)):
            if flight is not by:
                flight.is_overtaken = True
                self._flights.close_to_others(flight)
        return self._released(self._index.invalidate(key))

    def _deliver(self, flight: Flight, head: ResponseHead, arrival: Arrival) -> list[Action]:
        """Decide whether to store a response, and give it to those it serves; the others ask again."""
        now_s = arrival.received_s
        actions: list[Action] = []
        flight.draft = self._draft(flight, head, arrival)
        if flight.draft is not None:
            actions.append(Keep(flight.number))
        elif flight.kind is Kind.RESUME and head.status == 206:
            return self._start_over(flight, now_s)
        else:
            if flight.shared is not None and head.status < 500:
                self._asking.forbid_sharing(flight.key, now_s)
            self._flights.close_to_others(flight)
            replaces = flight.kind in (Kind.FILL, Kind.VALIDATE) and flight.request.method == "GET"
            if replaces and flight.stored is not None and head.status < 500:
                # The origin has something else now, which is not for storing.
                actions += self._released(self._index.remove(flight.stored))
        for client, request in list(flight.waiting.items()):
            if client == flight.leader or self._may_have(flight, request, now_s):
                actions.append(relayed(self._flights, flight, client, now_s, self._policy))
            elif head.status in ERRORS:
                self._flights.answered(flight, client)
                text = f"the origin answers {head.status}"
                actions.append(self._asking.refuse(client, request, head.status, text, flight.why))
            else:
                actions += self._ask_again(flight, client, request, now_s)
        has_content = flight.request.method != "HEAD" and head.status not in WITHOUT_CONTENT
        if not flight.is_wanted and has_content:
            actions += self._give_up(flight)
        return actions

    def _draft(self, flight: Flight, head: ResponseHead, arrival: Arrival) -> StoredResponse | None:
        """The response to be stored, without its content; None when it is not to be."""
        request = flight.request
        if flight.is_overtaken or (flight.kind is Kind.PASS and request.method != "POST"):
            return None
        if reason_not_to_store(request, head.status, head.fields, arrival.received_s, self._policy):
            return None
        length = combined(head.fields, "content-length") or ""
        size = int(length) if length.isdecimal() and len(length) < 19 else 0
        if head.status == 206:
            part = part_of(head.fields)
            if part is None:
                return None
            flight.start, _, size = part
        if size > min(self._policy.max_response_bytes, self._policy.max_bytes):
            return None
        selected_by = selecting(combined(head.fields, "vary"), request)
        if selected_by is None:
            return None
        return stored_response(
            flight.key, selected_by, head.status, head.fields, (), size, arrival, self._policy
        )

    def _may_have(self, flight: Flight, request: Request, now_s: float) -> bool:
        """Whether a response may serve somebody else than who it was asked for (section 4)."""
        draft = flight.draft
        if draft is None or not fits(draft.selecting, request):
            return False
        return choose_use(request, draft, now_s, self._policy).use is Use.SERVE

    def _not_modified(self, flight: Flight, arrival: Arrival) -> list[Action]:
        """The stored response is current (section 4.3.4), or the 304 speaks of something else."""
        head, stored, now_s = flight.response, flight.stored, arrival.received_s
        if head is None or stored is None or not_modified_means(stored, head.fields) is Verdict.OTHER:
            return self._start_over(flight, now_s)
        if not self._index.has_content_of(stored):  # replaced or evicted meanwhile
            return self._start_over(flight, now_s)
        fresh = updated(stored, head.fields, arrival, self._policy)
        if not flight.is_overtaken:
            self._index.replace(stored, fresh)
        actions: list[Action] = []
        for client, request in list(flight.waiting.items()):
            shared = client != flight.leader
            is_usable = choose_use(request, fresh, now_s, self._policy).use is Use.SERVE
            if not can_serve(request, fresh, now_s) or (shared and not is_usable):
                actions += self._ask_again(flight, client, request, now_s)
                continue
            self._flights.answered(flight, client)
            status = CacheStatus(fwd=flight.why, fwd_status=304, collapsed=shared)
            actions.append(self._asking.serve(client, request, fresh, now_s, status))
        self._flights.close_to_others(flight)
        return actions

    def _start_over(self, flight: Flight, now_s: float) -> list[Action]:
        """What is stored is of no use: forget it, and ask without it. Whoever answers so to a request without
        conditions does not speak HTTP."""
        self._flights.close_to_others(flight)
        actions: list[Action] = []
        if flight.stored is not None and flight.kind is not Kind.FILL:
            actions += self._released(self._index.remove(flight.stored))
            for client, request in list(flight.waiting.items()):
                actions += self._ask_again(flight, client, request, now_s)
        return [*actions, *self._refuse_all(flight, "the origin answers what was not asked")]

    def _refuse_all(self, flight: Flight, text: str) -> list[Action]:
        actions = [
            self._asking.refuse(client, request, 502, text, flight.why)
            for client, request in flight.waiting.items()
        ]
        return [*actions, *self._give_up(flight)]

    def _goes_on(self, flight: Flight, head: ResponseHead) -> bool:
        """Whether a 206 is the missing end of what is stored (section 3.4)."""
        stored, part = flight.stored, part_of(head.fields)
        if head.status != 206 or stored is None or part is None or not self._index.has_content_of(stored):
            return False
        same = combined(head.fields, "etag") == stored.etag and is_strong(stored.etag)
        if not same or part != (stored.prefix_bytes, stored.size, stored.size):
            return False
        flight.start = part[0]
        return True

    def _update_by_head(self, flight: Flight, head: ResponseHead, arrival: Arrival) -> bool:
        """Let a 200 to HEAD update what is stored, or make that useless (section 4.3.5); whether it did the
        former."""
        stored = flight.stored
        if stored is None or head.status != 200 or flight.is_overtaken:
            return False
        as_get = replace(flight.request, method="GET")
        is_private = reason_not_to_store(as_get, 200, head.fields, arrival.received_s, self._policy)
        if is_private or head_means(stored, head.fields) is Verdict.OTHER:
            self._index.replace(stored, replace(stored, terms=Terms(must_validate=True)))
            return False
        flight.stored = updated(stored, head.fields, arrival, self._policy)
        self._index.replace(stored, flight.stored)
        return True

    def _serve_updated(self, flight: Flight, head: ResponseHead, now_s: float) -> list[Action]:
        """Answer a HEAD with what is stored, now that it is known to be current."""
        actions: list[Action] = []
        for client, request in list(flight.waiting.items()):
            self._flights.answered(flight, client)
            if flight.stored is not None:
                status = CacheStatus(fwd=flight.why, fwd_status=head.status)
                actions.append(self._asking.serve(client, request, flight.stored, now_s, status))
        return actions

    def _stand_in(self, flight: Flight, failure: Failure, now_s: float, text: str) -> list[Action]:
        """Serve what is stored to those who may have it instead of an error (section 4.2.4, RFC 5861)."""
        stored = flight.stored
        actions: list[Action] = []
        if stored is None or flight.is_overtaken or not self._index.has_content_of(stored):
            return actions
        for client, request in list(flight.waiting.items()):
            usable = may_stand_in(request, stored, failure, now_s, self._policy)
            if usable and can_serve(request, stored, now_s):
                self._flights.answered(flight, client)
                head = flight.response
                status = CacheStatus(
                    fwd=Forwarded.STALE, fwd_status=head.status if head else None, detail=text
                )
                actions.append(self._asking.serve(client, request, stored, now_s, status))
        return actions

    def _keep_beginning(self, flight: Flight, body: Body) -> list[Action]:
        """Store what came of a response, to be completed later (section 3.3)."""
        draft = flight.draft
        useful = draft is not None and is_strong(draft.etag) and not flight.is_overtaken
        if draft is None or not useful or not body.size > 0 or flight.start + body.size >= draft.size:
            return self._released([body.sha256])
        segment = Segment(flight.start, flight.start + body.size, body.sha256)
        return self._released([*self._index.put(replace(draft, segments=(segment,))), body.sha256])

    def _ask_again(self, flight: Flight, client: int, request: Request, now_s: float) -> list[Action]:
        self._flights.answered(flight, client)
        # Those for whom it is another variant may wait for each other again.
        draft = flight.draft or flight.stored
        is_other = draft is not None and not fits(draft.selecting, request)
        return self._asking.ask(client, request, now_s, alone=not is_other)

    def _give_up(self, flight: Flight) -> list[Action]:
        self._flights.remove(flight)
        return [Drop(flight.number)]

    def _released(self, blobs: list[str]) -> list[Action]:
        """Release those of `blobs` that no response refers to."""
        return [Release(sha256) for sha256 in blobs if sha256 and not self._index.refers_to(sha256)]


def _was_not_asked_for(flight: Flight, status: int) -> bool:
    """Whether an origin answers 206 or 304 to a request that did not say anything it could mean."""
    request = flight.request
    if status == 206:
        return request.field("range") is None or flight.kind is Kind.VALIDATE
    conditions = ("if-none-match", "if-modified-since")
    return status == 304 and all(request.field(name) is None for name in conditions)


def _is_damaged(head: ResponseHead, body: Body, span: tuple[int, int], *, is_whole: bool) -> bool:
    """Whether content is not what its head says: another length, other bytes, or another digest."""
    length = combined(head.fields, "content-length")
    if length is not None and head.status != 204 and length != str(body.size):
        return True
    if not is_whole:
        part = part_of(head.fields)
        if part is None or part[:2] != span:
            return True
        is_whole = span == (0, part[2])
    return body.size > 0 and contradicts(head.fields, body.sha256, is_whole=is_whole)
