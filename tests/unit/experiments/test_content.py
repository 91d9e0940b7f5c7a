"""Sites made up from a seed."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from experiments.content import SMALL_FILE_BYTES, Content, Kind, make_site
from experiments.ways.uftp import rate_word

MIXED = Content(Kind.MIXED, 3_000_000)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("content", "size", "objects"),
    [
        (Content(Kind.LARGE, 1_234_567), 1_234_567, 1),
        (MIXED, 3_000_000, 40),
        (Content(Kind.SMALL, 50), None, 50),
    ],
    ids=lambda value: value.name if isinstance(value, Content) else str(value),
)
def test_a_site_is_as_large_as_asked(
    tmp_path: Path, content: Content, size: int | None, objects: int
) -> None:
    made = make_site(tmp_path, content, 1, "first")
    files = _files(tmp_path)
    assert made.objects == len(files) == objects
    assert made.bytes == sum(map(len, files.values()))
    assert size in (None, made.bytes)


def test_the_same_seed_and_edition_give_the_same_site(tmp_path: Path) -> None:
    make_site(tmp_path / "a", MIXED, 1, "first")
    make_site(tmp_path / "b", MIXED, 1, "first")
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_editions_have_the_same_sizes_and_no_file_in_common(tmp_path: Path) -> None:
    make_site(tmp_path / "a", MIXED, 1, "first")
    make_site(tmp_path / "b", MIXED, 1, "second")
    one, other = _files(tmp_path / "a"), _files(tmp_path / "b")
    assert {path: len(data) for path, data in one.items()} == {
        path: len(data) for path, data in other.items()
    }
    assert not set(one.values()) & set(other.values())


def test_text_can_be_compressed_as_text_and_the_rest_cannot(tmp_path: Path) -> None:
    make_site(tmp_path, MIXED, 1, "first")
    files = _files(tmp_path)
    for path, data in files.items():
        ratio = len(zlib.compress(data)) / len(data)
        assert 0.3 < ratio < 0.6 if path.endswith((".html", ".js")) else ratio > 0.99, (path, ratio)
    text = sum(len(data) for path, data in files.items() if path.endswith((".html", ".js")))
    assert text / 3_000_000 == pytest.approx(0.3, abs=0.02)


def test_small_files_are_small(tmp_path: Path) -> None:
    make_site(tmp_path, Content(Kind.SMALL, 200), 1, "first")
    sizes = [len(data) for data in _files(tmp_path).values()]
    assert SMALL_FILE_BYTES[0] <= min(sizes) < max(sizes) <= SMALL_FILE_BYTES[1]


def test_the_rate_that_uftp_is_given_is_ours_on_the_wire() -> None:
    # Measured: -R 100000 with blocks of 1428 bytes put 103.36 Mbit/s of whole frames on the line.
    assert rate_word(103.36) == pytest.approx(100_000, rel=1e-3)
