"""Epoch keys: for members only, and a new one whenever the members change."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from delivery.coding import CodingError, unwrap_keys
from origin.errors import OriginError
from origin.members import Members, NotAMemberError, load_members

EDGES = {name: X25519PrivateKey.generate() for name in ("edge1", "edge2", "edge3")}


def write(path: Path, *names: str) -> Path:
    path.write_text(json.dumps({name: EDGES[name].public_key().public_bytes_raw().hex() for name in names}))
    return path


def test_members_and_nobody_else_are_given_the_key(tmp_path: Path) -> None:
    members = Members(tmp_path / "state", write(tmp_path / "members", "edge1", "edge2"))
    current = members.current
    assert (current.epoch, len(current.key), members.names) == (1, 32, ("edge1", "edge2"))
    for name in ("edge1", "edge2"):
        assert unwrap_keys(members.wrapped(name), EDGES[name]) == {1: current.key}
    with pytest.raises(CodingError):
        unwrap_keys(members.wrapped("edge1"), EDGES["edge2"])
    with pytest.raises(NotAMemberError):
        members.wrapped("edge3")


def test_an_epoch_lasts_while_the_members_stay(tmp_path: Path) -> None:
    file = write(tmp_path / "members", "edge1", "edge2")
    first = Members(tmp_path / "state", file)
    assert Members(tmp_path / "state", write(file, "edge2", "edge1")).current == first.current
    forced = Members(tmp_path / "state", file, new_epoch=True).current
    assert (forced.epoch, forced.key != first.current.key) == (2, True)
    assert Members(tmp_path / "state", file).current == forced


@pytest.mark.parametrize("names", [("edge1",), ("edge1", "edge2", "edge3")])
def test_a_change_of_members_begins_an_epoch(tmp_path: Path, names: tuple[str, ...]) -> None:
    file = write(tmp_path / "members", "edge1", "edge2")
    members = Members(tmp_path / "state", file)
    before = members.current
    assert not members.refresh()
    write(file, *names)
    assert members.refresh()
    assert members.current.epoch == 2
    assert members.current.key != before.key
    assert unwrap_keys(members.wrapped("edge1"), EDGES["edge1"]) == {1: before.key, 2: members.current.key}
    if "edge2" not in names:
        with pytest.raises(NotAMemberError):
            members.wrapped("edge2")


def test_keys_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    Members(tmp_path / "state", write(tmp_path / "members", "edge1"))
    assert stat.S_IMODE((tmp_path / "state" / "epoch.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "expected an object"),
        ('{"edge1": 7}', "'edge1' has no X25519 public key"),
        ('{"edge1": "ab"}', "'edge1' has no X25519 public key"),
        (json.dumps({"edge1": "g" * 64}), "'edge1' has no X25519 public key"),
    ],
)
def test_wrong_files_of_members_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "members").write_text(text)
    with pytest.raises(OriginError, match=message):
        load_members(tmp_path / "members")


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(OriginError, match="cannot read the members"):
        load_members(tmp_path / "missing")
    file = write(tmp_path / "members", "edge1")
    Members(tmp_path / "state", file)
    (tmp_path / "state" / "epoch.json").write_text('{"epoch": 1, "key": "abcd", "members": {}}')
    with pytest.raises(OriginError, match="damaged") as caught:
        Members(tmp_path / "state", file)
    assert "abcd" not in str(caught.value)
