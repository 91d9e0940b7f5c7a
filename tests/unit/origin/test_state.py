"""What the origin remembers between runs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from delivery.publication import Numbers
from origin.errors import OriginError
from origin.state import load_state, read_json, save_state, write_json


def test_state_is_kept(tmp_path: Path) -> None:
    assert load_state(tmp_path / "new") == Numbers()
    numbers = Numbers(3, 40, 5, {"a": 1})
    save_state(tmp_path / "new", numbers)
    assert load_state(tmp_path / "new") == numbers
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["origin.json"]


def test_sessions_do_not_share_their_numbers(tmp_path: Path) -> None:
    save_state(tmp_path, Numbers(1))
    save_state(tmp_path, Numbers(7), "live-news")
    assert (load_state(tmp_path).version, load_state(tmp_path, "live-news").version) == (1, 7)
    assert load_state(tmp_path, "live-other") == Numbers()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "x"}'])
def test_damaged_state_is_an_error_not_a_fresh_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "origin.json").write_text(text)
    with pytest.raises(OriginError, match="damaged"):
        load_state(tmp_path)


def test_state_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OriginError, match="cannot write it"):
        save_state(tmp_path / "file", Numbers())


def test_secrets_are_for_their_owner_even_over_what_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_text("of a crash")
    (tmp_path / "secret.new").chmod(0o666)
    write_json(tmp_path / "secret.json", {"key": 1}, mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret.json").stat().st_mode) == 0o600
    assert read_json(tmp_path / "secret.json") == {"key": 1}
    assert not (tmp_path / "secret.new").exists()
