"""Sessions of others, as files describe them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.sessions import Session
from origin.errors import OriginError
from origin.peers import check_all, load_peers

LOCAL = {
    "prefix": "local/edge1", "source": "fd00::1", "group": "ff35::8002:1", "port": 4001, "tsi": 100,
    "url": "http://[fd00::1]:8081/local/edge1", "public_key": "ab" * 32,
}  # fmt: skip


def test_sessions_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps([LOCAL]))
    (tmp_path / "b").write_text(json.dumps([{**LOCAL, "prefix": "", "public_key": "", "region": "north"}]))
    peers = load_peers([tmp_path / "a", tmp_path / "b"])
    assert peers[0] == Session(**LOCAL)  # type: ignore[arg-type]
    assert [peer.name for peer in check_all(peers)] == ["local/edge1", "region/north"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "expected a list"),
        ([[]], "session 1: expected an object"),
        ([LOCAL, {**LOCAL, "x": 1}], "session 2: x is unknown"),
        ([{**LOCAL, "port": "4001"}], "session 1: port is a number, not '4001'"),
        ([{**LOCAL, "port": True}], "session 1: port is a number, not True"),
        ([{**LOCAL, "url": 7}], "session 1: url is text, not 7"),
        ([{"prefix": "a/b"}], "session 1: group, port, source, tsi, url is missing"),
        ([LOCAL, LOCAL], "described twice; check --peer"),
        ([{**LOCAL, "group": "fd00::2"}], "multicast group; check --peer"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, rows: object, message: str) -> None:
    (tmp_path / "a").write_text(json.dumps(rows))
    with pytest.raises(OriginError, match=message):
        check_all(load_peers([tmp_path / "a"]))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(OriginError, match="cannot read it"):
        load_peers([tmp_path / "missing"])
    (tmp_path / "a").write_text("{")
    with pytest.raises(OriginError, match="is no JSON"):
        load_peers([tmp_path / "a"])
