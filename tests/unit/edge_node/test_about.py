"""What an edge tells of itself: the pure part, and a real edge asked by curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from delivery.manifest import Manifest
from delivery.sessions import Session
from edge_node.about import WELL_KNOWN, About, channels_of, is_asked, tell
from edge_node.http.messages import Request

ABOUT = About("edge3", 7, True, 12, ("news", "sport"), 1000, 4)


def test_the_answer_is_json_for_now_only_and_names_the_edge() -> None:
    plan = tell(ABOUT, Request("GET", WELL_KNOWN))
    (body,) = plan.content
    assert isinstance(body, bytes)
    assert json.loads(body) == {
        "edge": "edge3",
        "version": 7,
        "complete": True,
        "files": 12,
        "channels": ["news", "sport"],
        "upload_bytes": 1000,
        "load_percent": 4,
    }
    fields = dict(plan.fields)
    assert fields["Nearcast-Edge"] == "edge3"
    assert fields["Cache-Control"] == "no-store"
    assert fields["Content-Length"] == str(len(body))


def test_head_has_the_same_fields_and_no_content() -> None:
    plan = tell(ABOUT, Request("HEAD", WELL_KNOWN))
    assert plan.content == ()
    assert plan.fields == tell(ABOUT, Request("GET", WELL_KNOWN)).fields


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", WELL_KNOWN, True),
        ("HEAD", WELL_KNOWN, True),
        ("PUT", WELL_KNOWN, False),
        ("GET", f"{WELL_KNOWN}/", False),
        ("GET", "/", False),
    ],
)
def test_only_reading_that_very_path_asks_for_it(method: str, path: str, asked: bool) -> None:
    assert is_asked(Request(method, path)) is asked


def test_channels_are_those_sessions_of_the_manifest_that_are_live() -> None:
    def session(prefix: str, region: str = "") -> Session:
        return Session(prefix, "fd00::1", "ff35::8000:2", 4001, 2, "http://[fd00::1]:8080", region=region)

    sessions = (session("live/news"), session("local/edge1"), session("", "dist1"), session("live/sport"))
    manifest = Manifest("site", 1, (), (), sessions=sessions)
    assert channels_of(manifest) == ("news", "sport")
    assert channels_of(None) == ()


def test_a_real_edge_tells_it_whatever_its_site_has(
    tmp_path: Path, edge: Callable[..., AbstractContextManager[Any]]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("home")
    with edge("--store", tmp_path / "store", "--site", site) as running:
        url = f"{running.url}{WELL_KNOWN}?again=1"
        command = ["curl", "-gsS", "--max-time", "10"]
        answer = subprocess.run([*command, url], capture_output=True, check=True).stdout
        put = ["-X", "PUT", "-d", "x", "-o", "/dev/null", "-w", "%{http_code}"]
        refused = subprocess.run([*command, *put, url], capture_output=True, check=True).stdout
    told = json.loads(answer)
    assert told["edge"] == "edge1"
    assert (told["version"], told["files"], told["complete"]) == (1, 1, True)
    assert (told["channels"], told["upload_bytes"]) == ([], 0)
    assert refused == b"405"
