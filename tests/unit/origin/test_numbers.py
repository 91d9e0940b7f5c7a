"""Editions, state and roll call: what is sent, and that nothing is numbered twice."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from delivery.announcement import manifest_version
from delivery.manifest import FileEntry, check_manifest
from origin.edition import make_edition, outgoing
from origin.errors import OriginError
from origin.rollcall import Report, ReportError, RollCall, parse_report
from origin.state import OriginState, load_state, save_state

CONTENTS = [random.Random(number).randbytes(1_500_000) for number in range(3)]
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}
FILES = tuple(FileEntry(f"f{n}", len(c), name, "text/plain") for n, (name, c) in enumerate(BLOBS.items()))


def read(sha256: str, offset: int, length: int) -> bytes:
    return BLOBS[sha256][offset : offset + length]


def test_first_edition_sends_everything() -> None:
    edition = make_edition("s", 1, FILES, read, first_toi=1, known={})
    check_manifest(edition.manifest)
    assert [bundle.toi for bundle in edition.manifest.bundles] == [2, 3, 4]
    assert edition.next_toi == 5
    assert edition.content_bytes == 4_500_000
    objects = outgoing(edition, b"signed", read)
    assert b"".join(o.load() for o in objects[1:]) == b"".join(CONTENTS)
    assert manifest_version(objects[0].location) == 1
    assert objects[0].spare_symbols == 3
    assert not any(o.on_demand for o in objects)


def test_next_edition_sends_what_is_new_and_offers_the_rest() -> None:
    known = {entry.sha256: entry.size for entry in FILES[:2]}
    edition = make_edition("s", 2, FILES, read, first_toi=50, known=known)
    check_manifest(edition.manifest)
    sent = [o.toi for o in outgoing(edition, b"signed", read) if not o.on_demand]
    assert sent == [50, 53]
    assert edition.on_demand == {51, 52}
    assert edition.content_bytes == 1_500_000
    assert {piece.sha256 for piece in edition.manifest.bundles[-1].pieces} == {FILES[2].sha256}


def test_edition_without_content_still_uses_a_number() -> None:
    files = (FileEntry("e", 0, hashlib.sha256(b"").hexdigest(), ""),)
    edition = make_edition("s", 2, files, read, first_toi=9, known={})
    assert (edition.manifest.bundles, edition.next_toi) == ((), 10)


def test_state_is_kept(tmp_path: Path) -> None:
    assert load_state(tmp_path / "new") == OriginState()
    state = OriginState(3, 40, 5, {"a": 1})
    save_state(tmp_path / "new", state)
    assert load_state(tmp_path / "new") == state
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["origin.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "x"}'])
def test_damaged_state_is_an_error_not_a_fresh_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "origin.json").write_text(text)
    with pytest.raises(OriginError, match="damaged"):
        load_state(tmp_path)


def test_state_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OriginError, match="cannot write it"):
        save_state(tmp_path / "file", OriginState())


def test_roll_call_by_name() -> None:
    call = RollCall(2, names=("a", "b"))
    call.note(Report("a", 1, True, {}), 1.0)
    assert not call.completed_s
    call.note(Report("a", 2, True, {}), 2.0)
    call.note(Report("a", 2, True, {}), 3.0)
    call.note(Report("other", 2, True, {}), 3.0)
    assert call.completed_s == {"a": 2.0, "other": 3.0}
    assert not call.is_complete
    assert call.missing == ("b",)
    assert call.shortfall() == "1 of 2 edges complete; b was not heard of"
    call.note(Report("b", 2, False, {5: 7, 6: 1}), 4.0)
    assert "b misses 8 symbols" in call.shortfall()
    call.note(Report("b", 2, True, {}), 5.0)
    assert call.is_complete


def test_roll_call_by_number() -> None:
    call = RollCall(1, count=2)
    call.note(Report("x", 1, True, {}), 1.0)
    call.note(Report("y", 1, False, {1: 1}), 1.0)
    assert (call.is_complete, call.missing) == (False, ("y",))
    call.note(Report("y", 1, True, {}), 2.0)
    assert call.is_complete
    assert RollCall(1).is_complete


def test_shortfall_counts_the_expected_only() -> None:
    call = RollCall(1, names=("a",))
    call.note(Report("b", 1, True, {}), 1.0)
    assert call.shortfall().startswith("0 of 1 edges complete")


def test_reports_are_checked() -> None:
    good = {"edge": "edge1", "version": 2, "complete": False, "missing": {"7": 3}}
    assert parse_report(good) == Report("edge1", 2, False, {7: 3})
    assert parse_report({"edge": "e", "version": 0, "complete": True}).missing == {}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"edge": "", "version": 1, "complete": True},
        {"edge": "a\nb", "version": 1, "complete": True},
        {"edge": "a" * 256, "version": 1, "complete": True},
        {"edge": "a", "version": True, "complete": True},
        {"edge": "a", "version": -1, "complete": True},
        {"edge": "a", "version": 1, "complete": 1},
        {"edge": "a", "version": 1, "complete": True, "missing": []},
        {"edge": "a", "version": 1, "complete": True, "missing": {"x": 1}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"-1": 1}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"1": 0}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"1": 1.5}},
    ],
)
def test_malformed_reports_are_refused(document: object) -> None:
    with pytest.raises(ReportError):
        parse_report(document)
