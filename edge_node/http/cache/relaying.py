"""How a client gets a response that is still coming from upstream."""

from __future__ import annotations

from edge_node.http.cache.actions import Action, Answer, Relay
from edge_node.http.cache.flights import Flight, Flights, Kind
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.serving import answer, is_not_modified
from edge_node.http.cache.status import CacheStatus
from edge_node.http.fields import overwritten, without
from edge_node.http.messages import Plan, Slice

WITHOUT_CONTENT = frozenset({204, 205, 304})
"""Status codes whose responses end with their heads (RFC 9110 section 6.4.1)."""


def relayed(flights: Flights, flight: Flight, client: int, now_s: float, policy: Policy) -> Action:
    """Give a client that waits for `flight`, whose head is here, its response."""
    request, head = flight.waiting[client], flight.response
    if head is None:
        raise ValueError(f"fetch {flight.number} has no head yet")
    draft = flight.draft
    status = CacheStatus(
        fwd=flight.why,
        fwd_status=head.status,
        stored=draft is not None,
        collapsed=client != flight.leader,
    )
    if draft is not None and is_not_modified(request, draft, now_s):
        flights.answered(flight, client)
        return Answer(client, answer(request, draft, now_s, policy, status))
    code, fields = head.status, head.fields
    before: tuple[Slice, ...] = ()
    if flight.kind is Kind.RESUME and head.status == 206 and flight.stored is not None and draft is not None:
        # What the client gets is the whole: what was here, and the rest.
        code, before = 200, flight.stored.slices(0, flight.start)
        length = ("content-length", str(draft.size))
        fields = (*without(head.fields, {"content-range", "content-length"}), length)
    if client != flight.leader and draft is not None:
        fields = overwritten(fields, (("age", str(int(draft.age_s(now_s)))),))
    fields = status.appended_to(fields, policy.name)
    if request.method == "HEAD" or code in WITHOUT_CONTENT:
        flights.answered(flight, client)
        return Answer(client, Plan(code, fields))
    flights.relay(flight, client)
    return Relay(client, flight.number, code, fields, before)
