"""Folders as people have them: spaces, links, other alphabets, mistakes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from delivery.manifest import EMPTY_SHA256, FileEntry
from origin import catalogue as catalogue_module
from origin.catalogue import read_catalogue, read_signatures
from origin.errors import OriginError
from origin.rules import parse_rules


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "my site"
    folder.mkdir()
    (folder / "index.html").write_bytes(b"<p>hello")
    return folder


def test_files_have_sizes_digests_and_types(site: Path) -> None:
    (site / "b i l d e r").mkdir()
    (site / "b i l d e r" / "Straße %20.JPG").write_bytes(b"jpeg")
    (site / "日本語").write_bytes(b"")
    (site / "copy.html").write_bytes(b"<p>hello")
    (site / ".hidden").write_bytes(b"x")
    catalogue = read_catalogue(site)
    assert [(entry.path, entry.size, entry.content_type) for entry in catalogue.files] == [
        (".hidden", 1, "application/octet-stream"),
        ("b i l d e r/Straße %20.JPG", 4, "image/jpeg"),
        ("copy.html", 8, "text/html; charset=utf-8"),
        ("index.html", 8, "text/html; charset=utf-8"),
        ("日本語", 0, "application/octet-stream"),
    ]
    assert catalogue.files[4].sha256 == EMPTY_SHA256
    assert catalogue.sizes == {entry.sha256: entry.size for entry in catalogue.files}
    assert catalogue.total_bytes == 21
    assert catalogue.warnings == ()
    assert catalogue.read(sha256(b"<p>hello"), 3, 5) == b"hello"


def test_composed_and_decomposed_names_are_two_files(site: Path) -> None:
    (site / "\u00fc").write_bytes(b"1")
    (site / "u\u0308").write_bytes(b"2")
    assert {entry.path for entry in read_catalogue(site).files} == {"index.html", "\u00fc", "u\u0308"}


def test_links_are_followed_only_inside(site: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("secret")
    (site / "sub").mkdir()
    (site / "sub" / "up").symlink_to("..")
    (site / "sub" / "page").symlink_to("../index.html")
    (site / "again").symlink_to("sub")
    (site / "out").symlink_to("../secret")
    (site / "absolute").symlink_to(tmp_path / "secret")
    (site / "folder out").symlink_to(tmp_path / "elsewhere")
    (site / "nowhere").symlink_to("missing")
    catalogue = read_catalogue(site)
    assert [entry.path for entry in catalogue.files] == ["again/page", "index.html", "sub/page"]
    about = {warning.split("'")[1] for warning in catalogue.warnings}
    assert about == {"out", "absolute", "folder out", "nowhere", "sub/up", "again/up"}
    assert sum("leaves the folder" in warning for warning in catalogue.warnings) == 3


def test_folder_named_by_a_link_is_read(site: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(site)
    assert [entry.path for entry in read_catalogue(tmp_path / "link").files] == ["index.html"]


def test_special_files_and_names_that_are_not_utf8_are_skipped(site: Path) -> None:
    os.mkfifo(site / "pipe")
    with open(os.fsencode(site) + b"/caf\xe9", "wb") as file:
        file.write(b"x")
    catalogue = read_catalogue(site)
    assert [entry.path for entry in catalogue.files] == ["index.html"]
    assert len(catalogue.warnings) == 2
    assert "not UTF-8" in catalogue.warnings[0]
    assert "neither a file nor a folder" in catalogue.warnings[1]


def test_nothing_to_publish(tmp_path: Path) -> None:
    with pytest.raises(OriginError, match=f"nothing to publish in {tmp_path}: it holds no files"):
        read_catalogue(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OriginError, match="everything in it was skipped"):
        read_catalogue(tmp_path)


def test_wrong_folders(site: Path) -> None:
    with pytest.raises(OriginError, match="no such folder"):
        read_catalogue(site / "missing")
    with pytest.raises(OriginError, match="is a file"):
        read_catalogue(site / "index.html")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unreadable_content_is_named(site: Path, kind: str) -> None:
    forbidden = site / "forbidden"
    if kind == "file":
        forbidden.write_text("x")
    else:
        forbidden.mkdir()
    forbidden.chmod(0)
    # Root may read anything: ask in a child process without capabilities.
    code = (
        "import ctypes, struct, sys; from pathlib import Path; from origin.catalogue import read_catalogue\n"
        "from origin.errors import OriginError\n"
        "assert ctypes.CDLL(None).capset(struct.pack('Ii', 0x20080522, 0), bytes(24)) == 0\n"
        "try: read_catalogue(Path(sys.argv[1]))\n"
        "except OriginError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(site)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{forbidden}: no permission to read it; mend it with chmod")
    assert done.stdout.count("\n") == 1


def test_file_that_changes_while_it_is_published(site: Path) -> None:
    catalogue = read_catalogue(site)
    (site / "index.html").write_bytes(b"<p>")
    with pytest.raises(OriginError, match="changed while"):
        catalogue.read(sha256(b"<p>hello"), 0, 8)
    (site / "index.html").unlink()
    with pytest.raises(OriginError, match="cannot read it any more"):
        catalogue.read(sha256(b"<p>hello"), 0, 8)


def test_too_large_a_file_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "MAX_BLOB_BYTES", 7)
    with pytest.raises(OriginError, match=r"index.html has 8 bytes, files of 7 bytes"):
        read_catalogue(site)


def test_unchanged_files_are_not_read_again(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "other").write_bytes(b"1")
    first = read_catalogue(site)
    (site / "other").write_bytes(b"22")
    read: list[str] = []
    scan_file = catalogue_module.scan_file

    def counting(folder: Path, path: str) -> FileEntry:
        read.append(path)
        return scan_file(folder, path)

    monkeypatch.setattr(catalogue_module, "scan_file", counting)
    second = read_catalogue(site, before=first)
    assert read == ["other"]
    assert second.files == read_catalogue(site).files
    assert second.files[0] == first.files[0]


def test_what_has_expired_is_left_out_until_it_may_come_again(site: Path) -> None:
    (site / "news.html").write_bytes(b"news")
    rules = parse_rules("- {match: news.html, expires: '2027-01-01T00:00:00Z'}", "r")
    before = read_catalogue(site, rules, unix_s=1798761599.9)
    assert [entry.path for entry in before.files] == ["index.html", "news.html"]
    assert before.expires_unix_s == 1798761600
    after = read_catalogue(site, rules, unix_s=1798761600.0, before=before)
    assert [entry.path for entry in after.files] == ["index.html"]
    assert after.expires_unix_s == 0
    assert set(after.sizes) == {after.files[0].sha256}
    again = read_catalogue(site, (), unix_s=1798761600.0, before=after)
    assert [entry.path for entry in again.files] == ["index.html", "news.html"]


def test_a_folder_may_be_empty_when_it_is_watched(tmp_path: Path) -> None:
    assert read_catalogue(tmp_path, may_be_empty=True).files == ()


def test_everything_expired_is_nothing_to_publish(site: Path) -> None:
    rules = parse_rules("- {match: '**', expires: '2000-01-01T00:00:00Z'}", "r")
    with pytest.raises(OriginError, match="everything in it has expired"):
        read_catalogue(site, rules, unix_s=2e9)


def test_signatures_change_with_the_files(site: Path) -> None:
    first = read_signatures(site)
    assert set(first) == {"index.html"}
    assert read_signatures(site) == first
    new = site / "aside"
    new.write_bytes(b"<p>HELLO")
    new.replace(site / "index.html")
    assert read_signatures(site) != first
    with pytest.raises(OriginError, match="no such folder"):
        read_signatures(site / "missing")
