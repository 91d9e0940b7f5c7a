"""A session's part of the unicast API: manifest, blobs with ranges, reports, below any base path."""

from __future__ import annotations

import asyncio

import pytest

from delivery.errors import DeliveryError
from delivery.rollcall import Listener, Report
from delivery.session_api import Offer, SessionApp
from tests.unit.delivery.asgi_client import answered, ask

FILM = bytes(range(256)) * 2000
DIGEST, EMPTY, GONE = "a" * 64, "b" * 64, "c" * 64
SIZES = {DIGEST: len(FILM), EMPTY: 0, GONE: 5}


def read(sha256: str, offset: int, length: int) -> bytes:
    if sha256 == GONE:
        raise DeliveryError("film.mp4 went away")
    return FILM[offset : offset + length]


def make(base: str = "") -> tuple[SessionApp, list[Report]]:
    reports: list[Report] = []
    return SessionApp(reports.append, Offer(b"signed", SIZES, read), base), reports


@pytest.mark.parametrize("base", ["", "/live/news"])
def test_manifest_and_blobs(base: str) -> None:
    app, _ = make(base)
    answer = answered(app, "GET", f"{base}/manifest")
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"signed", "no-cache")
    head = answered(app, "HEAD", f"{base}/manifest")
    assert (head.status, head.headers["content-length"], head.body) == (200, "6", b"")
    answer = answered(app, "GET", f"{base}/blobs/{DIGEST}")
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, FILM, f'"{DIGEST}"')
    assert answered(app, "GET", f"{base}/blobs/{EMPTY}").body == b""
    assert (app.unicast_objects, app.unicast_bytes) == (1, len(FILM))


@pytest.mark.parametrize("path", ["/manifest", "/live/newspaper/manifest", "/live/news", "/x/live/news"])
def test_other_paths_are_not_its_own(path: str) -> None:
    app, _ = make("/live/news")
    assert answered(app, "GET", path).status == 404


@pytest.mark.parametrize(
    ("value", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=511990-", 511990, 512000),
        ("bytes=-5", 511995, 512000),
        ("bytes=5-999999999", 5, 512000),
        ("bytes=-999999999", 0, 512000),
    ],
)
def test_a_range_is_that_part(value: str, first: int, end: int) -> None:
    app, _ = make()
    answer = answered(app, "GET", f"/blobs/{DIGEST}", range=value)
    assert (answer.status, answer.body) == (206, FILM[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/512000"
    assert app.unicast_bytes == end - first


@pytest.mark.parametrize("value", ["bytes=512000-", "bytes=-0"])
def test_a_range_outside_cannot_be_had(value: str) -> None:
    answer = answered(make()[0], "GET", f"/blobs/{DIGEST}", range=value)
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */512000")


@pytest.mark.parametrize("value", ["bytes=5-4", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_other_ranges_are_ignored(value: str) -> None:
    answer = answered(make()[0], "GET", f"/blobs/{DIGEST}", range=value)
    assert (answer.status, answer.body) == (200, FILM)


def test_a_range_holds_for_one_content_only() -> None:
    app, _ = make()
    assert answered(app, "GET", f"/blobs/{DIGEST}", range="bytes=0-1", if_range='"other"').status == 200
    assert answered(app, "GET", f"/blobs/{DIGEST}", range="bytes=0-1", if_range=f'"{DIGEST}"').status == 206
    head = answered(app, "HEAD", f"/blobs/{DIGEST}", range="bytes=0-1")
    assert (head.status, head.headers["content-length"], head.body) == (200, "512000", b"")


def test_what_is_not_there_or_not_allowed() -> None:
    app, _ = make()
    wanted = {
        ("GET", "/blobs/" + "0" * 64): 404,
        ("GET", f"/blobs/{GONE}"): 404,
        ("GET", "/other"): 404,
        ("PUT", f"/blobs/{DIGEST}"): 405,
        ("POST", "/manifest"): 405,
        ("GET", "/reports"): 405,
    }
    assert {request: answered(app, *request).status for request in wanted} == wanted
    assert b"film.mp4 went away" in answered(app, "GET", f"/blobs/{GONE}").body


def test_before_the_first_version_there_is_nothing() -> None:
    app = SessionApp(lambda _: None)
    assert answered(app, "GET", "/manifest").status == 404
    assert answered(app, "GET", f"/blobs/{DIGEST}").status == 404


def test_reports_are_taken_and_checked() -> None:
    app, reports = make("/live/news")
    good = b'{"edge": "e", "version": 2, "complete": false, "missing": {"3": 4}}'
    assert answered(app, "POST", "/live/news/reports", good).status == 204
    assert reports == [Report("e", 2, False, {3: 4})]
    for body, status in ((b"no json", 400), (b"{}", 400), (b"[" * 100_000, 400), (b"x" * (1 << 20 | 1), 413)):
        assert answered(app, "POST", "/live/news/reports", body).status == status
    assert len(reports) == 1


def test_listeners_are_taken_and_checked() -> None:
    listeners: list[Listener] = []
    app = SessionApp(lambda _: None, on_listener=listeners.append)
    assert answered(app, "POST", "/listeners", b'{"edge": "e", "listening_s": 10}').status == 204
    assert listeners == [Listener("e", 10.0)]
    for body in (b'{"edge": "e"}', b'{"edge": "e", "listening_s": -1}', b'{"listening_s": 1}', b"[]"):
        assert answered(app, "POST", "/listeners", body).status == 400


def test_a_client_that_goes_away_gets_nothing() -> None:
    app, reports = make()
    assert asyncio.run(ask(app, "POST", "/reports", None)) is None
    assert reports == []
