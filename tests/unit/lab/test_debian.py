"""Debian packages that are unpacked without being installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.debian import Apt, DebianError, DebianPackage, unpacked, with_fresh_lists

CONTROL = """\
Package: tiny
Version: 1.0-1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: a
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / "usr/sbin").mkdir(parents=True)
    (tree / "usr/sbin/tiny").write_text("program")
    subprocess.run(["dpkg-deb", "--build", tree, tmp_path / "tiny.deb"], check=True, capture_output=True)
    return tmp_path / "tiny.deb"


def test_files_come_from_the_cache_the_second_time(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(_apt: Apt, package: DebianPackage, *_arguments: object) -> Path:
        asked.append(package.name)
        return archive

    monkeypatch.setattr(Apt, "show", lambda _apt, names: tuple(DebianPackage(n, "1.0-1", "") for n in names))
    monkeypatch.setattr(Apt, "download", download)
    for _ in range(2):
        files = unpacked(["tiny"], cache=tmp_path / "cache")
        assert (files / "usr/sbin/tiny").read_text() == "program"
    assert asked == ["tiny"]


def test_what_apt_does_not_offer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Apt, "show", lambda _apt, _names: ())
    monkeypatch.setattr(Apt, "update", lambda _apt: None)
    with pytest.raises(DebianError, match="apt offers no tiny"):
        unpacked(["tiny"], cache=tmp_path)


def test_old_lists_are_renewed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[Apt] = []
    monkeypatch.setattr(Apt, "update", lambda apt: updates.append(apt))

    def use(apt: Apt) -> str:
        if not updates:
            raise DebianError("too old")
        assert apt is updates[0]
        return "found"

    assert with_fresh_lists(tmp_path, use) == "found"
    assert len(updates) == 1
