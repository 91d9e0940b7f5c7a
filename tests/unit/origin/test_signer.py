"""Rotation of the signing key: an edge that follows every version always trusts the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.keys import KeyFileError, KeyRing, generate_key, load_private_key, to_hex
from delivery.manifest import Manifest
from delivery.publication import Numbers
from delivery.signing import open_manifest
from origin.errors import OriginError
from origin.signer import Signer, Stage, rotate_key
from origin.state import save_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        generate_key(tmp_path / name)
    save_state(tmp_path / "state", Numbers(1))
    return tmp_path


def public(folder: Path, name: str) -> str:
    return to_hex(load_private_key(folder / name).public_key())


class Edge:
    """Trusts what it was given, then what the last manifest named."""

    def __init__(self, folder: Path, key: str) -> None:
        self.ring = KeyRing(load_private_key(folder / key).public_key())

    def take(self, signed: bytes) -> Manifest:
        manifest = open_manifest(signed, self.ring)
        self.ring.rotate(manifest.keys)
        return manifest


def trusted(edge: Edge) -> tuple[str, ...]:
    return tuple(to_hex(key) for key in edge.ring.keys)


def next_version(signer: Signer, version: int) -> bytes:
    signed = signer.sign(Manifest("s", version, (), (), keys=signer.next_keys()))
    signer.published()
    return signed


def test_without_a_rotation_no_keys_are_named(folder: Path) -> None:
    signer = Signer(folder / "state", folder / "a")
    manifest = Edge(folder, "a").take(next_version(signer, 1))
    assert (manifest.keys, signer.stage) == ((), Stage.DONE)


@pytest.mark.parametrize("is_one_process", [True, False])
def test_rotation_takes_two_versions(folder: Path, is_one_process: bool) -> None:
    edge = Edge(folder, "a")
    signer = Signer(folder / "state", folder / "a")
    edge.take(next_version(signer, 1))
    rotate_key(folder / "state", folder / "a", folder / "b")
    keys = [(public(folder, "a"), public(folder, "b")), (public(folder, "b"),), (public(folder, "b"),)]
    for version, (given, wanted) in enumerate(zip("aab", keys, strict=True), 2):
        if not is_one_process:
            signer = Signer(folder / "state", folder / given)
        assert edge.take(next_version(signer, version)).keys == wanted
    assert trusted(edge) == (public(folder, "b"),)
    signed = Signer(folder / "state", folder / "b").sign(Manifest("s", 9, (), ()))
    open_manifest(signed, load_private_key(folder / "b").public_key())


def test_rotation_goes_on_with_either_key(folder: Path) -> None:
    edge = Edge(folder, "a")
    rotate_key(folder / "state", folder / "a", folder / "b")
    for version, given in enumerate("bbb", 1):
        edge.take(next_version(Signer(folder / "state", folder / given), version))
    assert trusted(edge) == (public(folder, "b"),)


def test_one_rotation_may_follow_another(folder: Path) -> None:
    edge = Edge(folder, "a")
    signer = Signer(folder / "state", folder / "a")
    version = 0
    for old, new in ("ab", "bc"):
        rotate_key(folder / "state", folder / old, folder / new)
        for _ in range(3):
            version += 1
            edge.take(next_version(signer, version))
    assert trusted(edge) == (public(folder, "c"),)


def test_other_sessions_are_signed_by_what_the_last_version_named(folder: Path) -> None:
    edge = Edge(folder, "a")
    signer = Signer(folder / "state", folder / "a")
    edge.take(next_version(signer, 1))
    rotate_key(folder / "state", folder / "a", folder / "b")
    for version in range(2, 6):
        open_manifest(signer.sign_other(Manifest("s", version, (), ())), edge.ring)
        edge.take(next_version(signer, version))
        open_manifest(signer.sign_other(Manifest("s", version, (), ())), edge.ring)


def test_other_sessions_keep_the_old_key_while_edges_may_not_know_the_new_one(folder: Path) -> None:
    rotate_key(folder / "state", folder / "a", folder / "b")
    signer = Signer(folder / "state", folder / "a")
    next_version(signer, 2)
    assert signer.stage is Stage.NAMED
    open_manifest(signer.sign_other(Manifest("s", 2, (), ())), Edge(folder, "a").ring)


def test_a_version_that_was_not_published_does_not_count(folder: Path) -> None:
    rotate_key(folder / "state", folder / "a", folder / "b")
    signer = Signer(folder / "state", folder / "a")
    signer.sign(Manifest("s", 2, (), (), keys=signer.next_keys()))
    assert Signer(folder / "state", folder / "a").next_keys() == (public(folder, "a"), public(folder, "b"))


def test_an_ended_key_is_refused(folder: Path) -> None:
    rotate_key(folder / "state", folder / "a", folder / "b")
    for version in (2, 3):
        next_version(Signer(folder / "state", folder / "a"), version)
    with pytest.raises(OriginError, match=r"a was ended by rotate-key; give --key .*/b"):
        Signer(folder / "state", folder / "a")
    with pytest.raises(OriginError, match="neither key"):
        Signer(folder / "state", folder / "c")


def test_nonsense_is_refused(folder: Path) -> None:
    state = folder / "state"
    with pytest.raises(OriginError, match="same key"):
        rotate_key(state, folder / "a", folder / "a")
    with pytest.raises(OriginError, match="nothing has been published"):
        rotate_key(folder / "elsewhere", folder / "a", folder / "b")
    with pytest.raises(KeyFileError, match="cannot read the key"):
        rotate_key(state, folder / "a", folder / "missing")
    next_version(Signer(state, folder / "a"), 1)
    with pytest.raises(OriginError, match="b did not sign the last version"):
        rotate_key(state, folder / "b", folder / "c")
    rotate_key(state, folder / "a", folder / "b")
    with pytest.raises(OriginError, match="is under way"):
        rotate_key(state, folder / "a", folder / "c")
    for version in (2, 3):
        next_version(Signer(state, folder / "a"), version)
    with pytest.raises(OriginError, match="a was ended by the last rotation"):
        rotate_key(state, folder / "b", folder / "a")


def test_a_key_file_that_was_exchanged_is_noticed(folder: Path) -> None:
    rotate_key(folder / "state", folder / "a", folder / "b")
    signer = Signer(folder / "state", folder / "a")
    next_version(signer, 2)
    (folder / "b").write_bytes((folder / "c").read_bytes())
    with pytest.raises(OriginError, match="is not the key any more"):
        next_version(signer, 3)


@pytest.mark.parametrize("text", ["{", "{}", '{"signed_by": "", "rotation": {"stage": "x"}}'])
def test_damaged_state_is_told(folder: Path, text: str) -> None:
    (folder / "state" / "keys.json").write_text(text)
    with pytest.raises(OriginError, match=r"keys.json is damaged"):
        Signer(folder / "state", folder / "a")


def test_no_secrets_are_kept(folder: Path) -> None:
    rotate_key(folder / "state", folder / "a", folder / "b")
    kept = json.loads((folder / "state" / "keys.json").read_text())["rotation"]
    assert kept["new_file"] == str(folder / "b")
    assert load_private_key(folder / "a").private_bytes_raw().hex() not in str(kept)
