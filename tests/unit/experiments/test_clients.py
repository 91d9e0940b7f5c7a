"""The experiment `clients` without a lab: what is read out of dig, curl and the browser, and its claims."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.claims.clients import is_moved_on, real_clients, serving_edges
from experiments.claims.model import Evidence
from experiments.client_records import (
    BrowserTransfer,
    Death,
    DownloadPart,
    Moment,
    NameLookup,
    PlaybackSample,
)
from experiments.dig import parse_dig
from experiments.downloads import parse_part
from experiments.network_log import requests_of
from experiments.playback import advanced_s, longest_still_s, playing
from experiments.records import ScenarioRecords
from experiments.screens import screens
from topologies.files import load

NETWORK = load("figure2")
HOST = "www.nearcast.test"
PICTURE = b"\x89PNG a picture"
DIGEST = hashlib.sha256(PICTURE).hexdigest()

DIG = """;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 43079
;; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1

;; ANSWER SECTION:
www.nearcast.test.\t60\tIN\tAAAA\t2001:db8:ffff::1

;; Query time: 10 msec
;; SERVER: 2001:db8:fffe::5e#53(2001:db8:fffe::5e) (UDP)
"""


def test_dig_is_read() -> None:
    found = parse_dig(DIG)
    assert (found.status, found.addresses, found.ttl_s) == ("NOERROR", ("2001:db8:ffff::1",), 60)
    assert (found.query_ms, found.server) == (10, "2001:db8:fffe::5e")
    silent = parse_dig(
        ";; communications error to 2001:db8::53#53: timed out\n;; no servers could be reached\n"
    )
    assert (silent.status, silent.addresses) == ("", ())


def test_curl_is_read() -> None:
    part = parse_part('3.4\t5217912\t200\tedge1\t56\t"abc"\n', 7)
    assert (part.from_byte, part.bytes, part.edge, part.exitcode, part.etag) == (
        7,
        5217912,
        "edge1",
        56,
        '"abc"',
    )
    assert not part.is_whole
    assert not parse_part("0.1\t0\t000\t\t7\t\n", 0).is_whole
    assert parse_part('0.1\t9\t206\tedge2\t0\t"abc"\n', 1).is_whole


def _event(method: str, key: str, **params: Any) -> dict[str, Any]:
    return {"method": f"Network.{method}", "params": {"requestId": key, **params}}


def _sent(key: str, url: str, timestamp: float) -> dict[str, Any]:
    return _event("requestWillBeSent", key, request={"url": url, "method": "GET"}, timestamp=timestamp)


def test_requests_are_put_together_from_the_browsers_events() -> None:
    answer = {"status": 200, "headers": {"Nearcast-Edge": "edge1", "ETag": '"x"'}}
    events = [
        _sent("1", f"http://{HOST}/a?b=1", 5.0),
        _sent("2", "https://elsewhere.test/", 5.1),
        _sent("3", f"http://{HOST}/live/news/1.ts", 5.2),
        _event("responseReceived", "1", response=answer),
        _event("dataReceived", "1", dataLength=10),
        _event("dataReceived", "1", dataLength=5),
        _event("loadingFinished", "1", timestamp=5.5),
        _event("loadingFailed", "3", timestamp=5.4, errorText="net::ERR_CONNECTION_REFUSED"),
        {"method": "Page.frameResized", "params": {}},
    ]
    first, second = requests_of(events, HOST)
    assert (first.path, first.status, first.bytes, first.edge) == ("/a?b=1", 200, 15, "edge1")
    assert (first.started_s, first.ended_s, first.error) == (5.0, 5.5, "")
    assert (second.error, second.is_cancelled, second.status) == ("net::ERR_CONNECTION_REFUSED", False, 0)


def _samples(*pairs: tuple[float, float]) -> list[PlaybackSample]:
    return [PlaybackSample(t_s, position_s, position_s + 4, 4, False) for t_s, position_s in pairs]


def test_playing_begins_when_the_picture_moves_and_not_with_the_jump_to_the_live_edge() -> None:
    samples = _samples((0, 0), (1, 9), (2, 9), (3, 9.5), (4, 10.5), (5, 10.5), (7.5, 10.5), (8, 11))
    moving = playing(samples)
    assert moving[0].t_s == 2
    assert advanced_s(moving) == 2
    assert longest_still_s(moving) == 3.5
    assert playing(_samples((0, 0), (1, 9), (2, 9))) == []
    assert longest_still_s([]) == advanced_s([]) == 0


def _transfer(edge: str, started_s: float, path: str = "/live/news/1.ts", **more: Any) -> BrowserTransfer:
    row = BrowserTransfer("GET", path, started_s, 0.1, 1000, 200, edge, "", False, "1")
    return replace(row, **more)


def _part(path: str, attempt: int, edge: str, **more: Any) -> DownloadPart:
    row = DownloadPart("user2", path, attempt, 0, 1.0, 1.0, len(PICTURE), 200, edge, f'"{DIGEST}"', 0, DIGEST)
    return replace(row, **more)


@pytest.fixture
def good(tmp_path: Path) -> ScenarioRecords:
    """A run of which every claim holds."""
    (tmp_path / "screenshots").mkdir()
    (tmp_path / "screenshots/portal.png").write_bytes(PICTURE)
    broken = _part("/video.mpg", 1, "edge1", bytes=6, exitcode=56, sha256="")
    resumed = _part("/video.mpg", 2, "edge2", from_byte=6, bytes=7, status=206)
    page = _transfer("edge1", 0.0, "/", identical="")
    return ScenarioRecords(
        "edge",
        tmp_path,
        NETWORK,
        lookups=(NameLookup("user2", HOST, "NOERROR", str(NETWORK.service.address), 60, 10, "::1"),),
        downloads=(broken, resumed, _part("/local/edge3/portal.png", 1, "edge1")),
        deaths=(
            Death("resume", "edge1", "killed", 1.0),
            Death("browse", "edge1", "killed", 12.0),
            Death("browse", "edge2", "unplugged", 26.0),
        ),
        moments=(Moment("portal", 1.0, "portal.png", ""), Moment("uploaded", 50.0, "gone.png", "")),
        playback=tuple(_samples(*((number / 10, 5 + number / 10) for number in range(400)))),
        browser_transfers=(page, *(_transfer(f"edge{n}", n) for n in (1, 1, 2, 3, 3))),
        facts={"scenario": {"acts": [{"kind": "browse", "arguments": {"user": "user1"}}]}},
    )


def _broken(records: ScenarioRecords) -> set[str]:
    """The statements of the claims that do not hold, by their first two words."""
    claims = real_clients(Evidence(NETWORK, {"edge": records}))
    return {" ".join(claim.statement.split()[:2]) for claim in claims if not claim.holds}


def test_all_claims_hold_of_a_good_run(good: ScenarioRecords) -> None:
    assert _broken(good) == set()


def test_each_claim_fails_of_what_it_is_about(good: ScenarioRecords) -> None:
    def altered(field: str, place: int, **more: Any) -> ScenarioRecords:
        rows = list(getattr(good, field))
        rows[place] = replace(rows[place], **more)
        return replace(good, **{field: tuple(rows)})

    assert _broken(altered("lookups", 0, addresses="2001:db8::1 2001:db8::2")) == {"names that"}
    assert _broken(altered("browser_transfers", 0, edge="edge2")) == {"programs whose"}
    assert _broken(altered("browser_transfers", 2, identical="0")) == {"segments whose"}
    assert _broken(replace(good, playback=good.playback[:250])) == {"of a"}
    assert _broken(replace(good, browser_transfers=good.browser_transfers[:-2])) == {"of a"}
    still = (*good.playback[:200], *(replace(row, t_s=row.t_s + 3) for row in good.playback[199:]))
    assert _broken(replace(good, playback=still)) == {"longest time"}
    complaint = Moment("wrong", 20.0, "", "player-status: The stream broke off")
    assert _broken(replace(good, moments=(*good.moments, complaint))) == {"failures that"}
    assert _broken(altered("downloads", 1, edge="edge1")) == {"downloads by"}
    assert _broken(altered("downloads", 1, status=200, from_byte=0)) == {"downloads by"}
    assert _broken(altered("downloads", 2, sha256="0" * 64)) == {"uploads through"}


def test_segments_name_the_edges_in_turn(good: ScenarioRecords) -> None:
    assert serving_edges(good.browser_transfers) == ["edge1", "edge2", "edge3"]


def test_a_busy_machine_may_move_a_user_between_two_deaths() -> None:
    assert is_moved_on(["edge1", "edge3", "edge5", "edge3"], ["edge1", "edge5"])
    assert not is_moved_on(["edge1", "edge3", "edge5"], ["edge1", "edge5"])
    assert not is_moved_on(["edge5", "edge1", "edge3"], ["edge1", "edge5"])


def test_screens_are_the_pictures_that_exist(good: ScenarioRecords) -> None:
    (screen,) = screens({"edge": good})
    assert (screen.title, screen.path) == ("The portal", "raw/edge/screenshots/portal.png")
    assert screen.url.startswith("data:image/png;base64,iVBORyBhIHBpY3R1cmU")
