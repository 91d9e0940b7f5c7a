"""Many clients and one upstream: who waits for whom, who gets what, what is kept (RFC 9111 section 4)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TypeVar

import pytest

from edge_node.http.cache.actions import (
    Abort,
    Action,
    Answer,
    Body,
    Drop,
    Fetch,
    Keep,
    Relay,
    Release,
    ResponseHead,
    Wait,
)
from edge_node.http.cache.machine import CacheMachine
from edge_node.http.cache.policy import Policy
from edge_node.http.messages import Request, Slice

NOW_S = 1_700_000_000.0
Kind = TypeVar("Kind")


def request(path: str = "/a", method: str = "GET", **fields: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(method, path, fields={"host": "h", **named})


def head(status: int = 200, **fields: str) -> ResponseHead:
    return ResponseHead(status, tuple((name.replace("_", "-"), value) for name, value in fields.items()))


FRESH = head(cache_control="max-age=100", etag='"a"')
SAME = head(304, cache_control="max-age=100", etag='"a"')


def body(text: bytes = b"0123456789") -> Body:
    return Body(hashlib.sha256(text).hexdigest(), len(text))


def only(actions: list[Action], kind: type[Kind]) -> Kind:
    assert len(actions) == 1, actions
    assert isinstance(actions[0], kind), actions
    return actions[0]


def of(actions: list[Action], kind: type[Kind]) -> list[Kind]:
    return [action for action in actions if isinstance(action, kind)]


def machine(**policy: float) -> CacheMachine:
    return CacheMachine(replace(Policy("edge1"), **policy))  # type: ignore[arg-type]


def filled(
    cache: CacheMachine, answer: ResponseHead = FRESH, path: str = "/a", content: Body | None = None
) -> None:
    """Store one response for client 0."""
    fetch = only(cache.ask(0, request(path), NOW_S), Fetch).fetch
    cache.head(fetch, answer, NOW_S)
    cache.end(fetch, content or body(), NOW_S)


def test_one_fetch_for_all_who_wait() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    assert [only(cache.ask(n, request(), NOW_S), Wait).fetch for n in range(2, 50)] == [fetch.fetch] * 48
    actions = cache.head(fetch.fetch, FRESH, NOW_S)
    assert of(actions, Keep) == [Keep(fetch.fetch)]
    relays = of(actions, Relay)
    assert {relay.client for relay in relays} == set(range(1, 50))
    assert "collapsed" not in dict(relays[0].fields)["cache-status"]
    assert "collapsed" in dict(relays[1].fields)["cache-status"]
    late = only(cache.ask(50, request(), NOW_S), Relay)
    assert late.fetch == fetch.fetch
    assert cache.end(fetch.fetch, body(), NOW_S) == []
    assert only(cache.ask(51, request(), NOW_S), Answer).plan.content == (Slice(body().sha256, 0, 10),)
    assert cache.fetches == 0


def test_those_who_wait_are_not_given_what_is_private() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.ask(2, request(), NOW_S)
    cache.ask(3, request(), NOW_S)
    actions = cache.head(fetch.fetch, head(cache_control="private"), NOW_S)
    assert [relay.client for relay in of(actions, Relay)] == [1]
    assert len(of(actions, Fetch)) == 2
    assert not of(actions, Keep)
    # Nobody waits for what is known to be private, and its own conditions go through.
    fetch = only(cache.ask(4, request(if_none_match='"x"'), NOW_S), Fetch)
    assert dict(fetch.fields)["if-none-match"] == '"x"'
    assert only(cache.ask(5, request(), NOW_S + 61), Fetch)
    assert only(cache.ask(6, request(), NOW_S + 61), Wait)


def test_those_who_wait_get_their_variant() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(foo="1"), NOW_S), Fetch)
    for client, foo in ((2, "2"), (3, "2"), (4, "1")):
        cache.ask(client, request(foo=foo), NOW_S)
    actions = cache.head(fetch.fetch, head(cache_control="max-age=9", vary="foo"), NOW_S)
    assert {relay.client for relay in of(actions, Relay)} == {1, 4}
    assert len(of(actions, Fetch)) == 1  # for both that want the other
    assert len(of(actions, Wait)) == 1


def test_requests_that_are_for_their_client_alone_do_not_wait() -> None:
    cache = machine()
    only(cache.ask(1, request(), NOW_S), Fetch)
    for client, fields in enumerate(
        (
            {"authorization": "x"},
            {"cache_control": "no-store"},
            {"cache_control": "no-cache"},
            {"if_match": '"x"'},
        ),
        2,
    ):
        assert only(cache.ask(client, request(**fields), NOW_S), Fetch)
    assert only(cache.ask(10, request(range="bytes=0-1"), NOW_S), Fetch)
    assert only(cache.ask(11, request(range="bytes=0-1"), NOW_S), Wait)
    assert only(cache.ask(12, request(method="HEAD"), NOW_S), Fetch)


def test_content_goes_up_with_its_request_and_never_waits() -> None:
    cache = machine()
    first = only(cache.ask(1, request(method="POST", content_length="3"), NOW_S), Fetch)
    second = only(cache.ask(2, request(method="POST", transfer_encoding="chunked"), NOW_S), Fetch)
    assert (first.client, second.client) == (1, 2)
    assert "transfer-encoding" not in dict(second.fields)
    fat = only(cache.ask(3, request(content_length="3"), NOW_S), Fetch)
    assert fat.client == 3
    relay = only(cache.head(fat.fetch, FRESH, NOW_S), Relay)
    assert dict(relay.fields)["cache-status"].startswith("edge1; fwd=bypass")


def test_a_flash_crowd_on_a_stale_response_validates_once() -> None:
    cache = machine()
    filled(cache)
    later = NOW_S + 200
    fetch = only(cache.ask(1, request(), later), Fetch)
    assert dict(fetch.fields)["if-none-match"] == '"a"'
    assert only(cache.ask(2, request(range="bytes=2-3"), later), Wait)
    assert only(cache.ask(3, request(if_none_match='"a"'), later), Wait)
    answers = of(cache.head(fetch.fetch, SAME, later), Answer)
    assert {answer.client: answer.plan.status for answer in answers} == {1: 200, 2: 206, 3: 304}
    assert cache.end(fetch.fetch, None, later) == []
    assert cache.fetches == 0


def test_a_background_validation_is_one() -> None:
    cache = machine()
    filled(cache, head(cache_control="max-age=9, stale-while-revalidate=60", etag='"a"'))
    later = NOW_S + 20
    answer, fetch = cache.ask(1, request(cache_control="max-stale=0"), later)
    assert isinstance(answer, Answer)
    assert isinstance(fetch, Fetch)
    assert fetch.client is None
    assert only(cache.ask(2, request(), later), Answer)
    assert cache.gone(1) == []
    assert cache.head(fetch.fetch, SAME, later) == []
    plan = only(cache.ask(3, request(), later), Answer).plan
    assert dict(plan.fields)["age"] == "0"


def test_failures_reach_everybody_once() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.ask(2, request(), NOW_S)
    answers = of(cache.failed(fetch.fetch, NOW_S, "refused"), Answer)
    assert {answer.client: answer.plan.status for answer in answers} == {1: 502, 2: 502}
    assert cache.failed(fetch.fetch, NOW_S, "refused") == []
    fetch = only(cache.ask(3, request(), NOW_S), Fetch)
    assert of(cache.failed(fetch.fetch, NOW_S, "silent", timed_out=True), Answer)[0].plan.status == 504


def test_an_error_reaches_those_who_wait_without_more_fetches() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.ask(2, request(), NOW_S)
    actions = cache.head(fetch.fetch, head(503), NOW_S)
    assert [relay.client for relay in of(actions, Relay)] == [1]
    assert [(answer.client, answer.plan.status) for answer in of(actions, Answer)] == [(2, 503)]
    only(cache.ask(3, request(), NOW_S), Fetch)
    only(cache.ask(4, request(), NOW_S), Wait)


def test_an_answer_that_breaks_off_is_aborted_and_its_beginning_kept() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.head(fetch.fetch, head(cache_control="max-age=100", etag='"a"', content_length="10"), NOW_S)
    actions = cache.failed(fetch.fetch, NOW_S, "reset", body=body(b"0123"))
    assert actions == [Abort(1)]
    resumed = only(cache.ask(2, request(), NOW_S), Fetch)
    assert (dict(resumed.fields)["range"], dict(resumed.fields)["if-range"]) == ("bytes=4-", '"a"')
    part = head(
        206, cache_control="max-age=100", etag='"a"', content_range="bytes 4-9/10", content_length="6"
    )
    relay = of(cache.head(resumed.fetch, part, NOW_S), Relay)[0]
    assert (relay.status, relay.before) == (200, (Slice(body(b"0123").sha256, 0, 4),))
    cache.end(resumed.fetch, body(b"456789"), NOW_S)
    plan = only(cache.ask(3, request(range="bytes=2-6"), NOW_S), Answer).plan
    assert plan.content == (Slice(body(b"0123").sha256, 2, 4), Slice(body(b"456789").sha256, 0, 3))


@pytest.mark.parametrize(
    "answer", [head(416), head(206, etag='"b"', content_range="bytes 4-9/10"), head(304)]
)
def test_what_cannot_be_resumed_is_fetched_anew(answer: ResponseHead) -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.head(fetch.fetch, head(cache_control="max-age=100", etag='"a"', content_length="10"), NOW_S)
    cache.failed(fetch.fetch, NOW_S, "reset", body=body(b"0123"))
    resumed = only(cache.ask(2, request(), NOW_S), Fetch)
    actions = cache.head(resumed.fetch, answer, NOW_S)
    assert of(actions, Drop) == [Drop(resumed.fetch)]
    assert of(actions, Release) == [Release(body(b"0123").sha256)]
    (again,) = of(actions, Fetch)
    assert "range" not in dict(again.fields)


def test_clients_that_go_away() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.ask(2, request(), NOW_S)
    assert cache.gone(1) == []
    assert cache.gone(2) == [Drop(fetch.fetch)]
    assert cache.fetches == 0
    fetch = only(cache.ask(3, request(), NOW_S), Fetch)
    cache.head(fetch.fetch, FRESH, NOW_S)
    assert cache.gone(3) == []  # it is worth keeping
    cache.end(fetch.fetch, body(), NOW_S)
    assert only(cache.ask(4, request(), NOW_S), Answer)
    post = only(cache.ask(5, request(method="POST", content_length="9"), NOW_S), Fetch)
    assert Drop(post.fetch) in cache.gone(5)
    assert only(cache.ask(6, request(), NOW_S), Fetch)  # nobody knows what the POST has done


def test_what_was_asked_for_before_a_change_is_not_stored_after_it() -> None:
    cache = machine()
    slow = only(cache.ask(1, request(), NOW_S), Fetch)
    put = only(cache.ask(2, request(method="PUT", content_length="1"), NOW_S), Fetch)
    cache.head(put.fetch, head(204), NOW_S)
    only(cache.ask(3, request(), NOW_S), Fetch)
    actions = cache.head(slow.fetch, FRESH, NOW_S)
    assert not of(actions, Keep)
    assert [relay.client for relay in of(actions, Relay)] == [1]


def test_what_changes_while_it_comes_is_not_stored() -> None:
    cache = machine()
    slow = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.head(slow.fetch, FRESH, NOW_S)
    put = only(cache.ask(2, request(method="PUT", content_length="1"), NOW_S), Fetch)
    cache.head(put.fetch, head(204), NOW_S)
    assert cache.end(slow.fetch, body(), NOW_S) == [Release(body().sha256)]
    assert cache.responses == 0


def test_content_that_is_not_what_it_should_be_is_not_stored() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.head(fetch.fetch, head(cache_control="max-age=9", content_length="11"), NOW_S)
    assert cache.end(fetch.fetch, body(), NOW_S) == [Release(body().sha256)]


def test_the_index_is_bounded_and_gives_up_what_was_used_longest_ago() -> None:
    cache = machine(max_responses=3)
    for number in range(3):
        filled(cache, path=f"/{number}", content=body(b"%d" % number))
    only(cache.ask(1, request("/0"), NOW_S), Answer)
    fetch = only(cache.ask(2, request("/3"), NOW_S), Fetch)
    cache.head(fetch.fetch, FRESH, NOW_S)
    assert cache.end(fetch.fetch, body(b"3"), NOW_S) == [Release(body(b"1").sha256)]
    assert cache.responses == 3
    small = machine(max_bytes=15)
    filled(small, path="/1")
    fetch = only(small.ask(1, request("/2"), NOW_S), Fetch)
    small.head(fetch.fetch, FRESH, NOW_S)
    assert small.end(fetch.fetch, body(b"x" * 10), NOW_S) == [Release(body().sha256)]
    assert (small.bytes, small.responses) == (10, 1)


def test_two_responses_with_the_same_content_share_a_blob() -> None:
    cache = machine()
    filled(cache, path="/1")
    filled(cache, path="/2")
    assert cache.bytes == 10
    put = only(cache.ask(1, request("/1", method="PUT", content_length="1"), NOW_S), Fetch)
    assert not of(cache.head(put.fetch, head(204), NOW_S), Release)
    assert only(cache.ask(2, request("/2"), NOW_S), Answer)
    assert cache.lost(body().sha256) == []
    assert only(cache.ask(3, request("/2"), NOW_S), Fetch)
    assert (cache.bytes, cache.responses) == (0, 0)


def test_overload_is_refused_at_once() -> None:
    cache = machine(max_fetches=1)
    filled(cache)
    only(cache.ask(1, request("/b"), NOW_S), Fetch)
    plan = only(cache.ask(2, request("/c"), NOW_S), Answer).plan
    assert (plan.status, dict(plan.fields)["Retry-After"]) == (503, "1")
    assert only(cache.ask(3, request("/b"), NOW_S), Wait)
    stale = only(cache.ask(4, request(), NOW_S + 200), Answer).plan
    assert stale.status == 200
    assert dict(stale.fields)["age"] == "200"


def test_what_cannot_be_kept_is_only_for_those_who_have_it_already() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    cache.head(fetch.fetch, FRESH, NOW_S)
    assert cache.not_kept(fetch.fetch) == []
    only(cache.ask(2, request(), NOW_S), Fetch)
    assert cache.end(fetch.fetch, None, NOW_S) == []


def test_interim_responses_change_nothing() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    assert cache.head(fetch.fetch, head(103, link="</a>"), NOW_S) == []
    assert of(cache.head(fetch.fetch, FRESH, NOW_S), Relay)


def test_an_error_that_a_stale_response_stands_in_for_is_not_stored() -> None:
    cache = machine()
    filled(cache)
    fetch = only(cache.ask(1, request(), NOW_S + 200), Fetch)
    cache.ask(2, request(cache_control="stale-if-error=500"), NOW_S + 200)
    actions = cache.head(fetch.fetch, head(503, cache_control="max-age=100"), NOW_S + 200)
    assert [(answer.client, answer.plan.status) for answer in of(actions, Answer)] == [(2, 200)]
    assert [(relay.client, relay.status) for relay in of(actions, Relay)] == [(1, 503)]
    assert not of(actions, Keep)


def test_a_status_that_is_none_is_an_error_of_the_origin() -> None:
    cache = machine()
    fetch = only(cache.ask(1, request(), NOW_S), Fetch)
    answer, drop = cache.head(fetch.fetch, head(999), NOW_S)
    assert isinstance(answer, Answer)
    assert (answer.plan.status, drop) == (502, Drop(fetch.fetch))
