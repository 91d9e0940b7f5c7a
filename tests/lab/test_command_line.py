"""The fault list of a user: wrong words, awkward folders, two runs at once. One line, a way out."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.kernel import KernelImage
from tests.lab.site import FILES, LARGE_BINARY_BYTES, make_site
from tests.lab.terminal import CHECKOUT, nearcast

AS_ORDINARY_USER = (
    ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all")
    if os.geteuid() == 0
    else ()
)
"""Root without its capabilities may do what an ordinary user may."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "nonsense"), "no experiment 'nonsense'; choose one of demo,"),
        (("run", "demo", "--lab", "moon"), "--lab moon: no such lab; choose guest, native or auto"),
        (("run", "demo", "--off", "edge99"), "--off edge99: no such edge in metro; it has edge1,"),
        (("run", "demo", "--kill", "user1"), "--kill user1: no such edge in metro"),
        (("run", "demo", "--topology", "nowhere.yaml"), "nowhere.yaml: does not exist; expected"),
        (("run", "demo", "--seed", "-1"), "'--seed'"),
        (("up", "--topology", "figure3"), "did you mean `figure2`?"),
        (("run",), "Missing argument"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
)
def test_wrong_words_end_with_status_2(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    done = nearcast(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_topology_with_mistakes_names_file_and_line(tmp_path: Path) -> None:
    text = (CHECKOUT / "topologies" / "figure2.yaml").read_text()
    lines = (
        text.replace("origin: {delay_ms: 8,", "origin: {delay_ms: -8,")
        .replace("user5]", "user9]")
        .splitlines()
    )
    (tmp_path / "broken.yaml").write_text("\n".join(lines))
    wrong = {f"broken.yaml:{n}" for n, line in enumerate(lines, 1) if "-8" in line or "user9]" in line}
    assert len(wrong) >= 2
    done = nearcast("run", "demo", "--topology", "broken.yaml", cwd=tmp_path)
    assert done.returncode == 2
    places = [line.removeprefix("nearcast: ").split(": ")[0] for line in done.stderr.splitlines()]
    assert wrong <= set(places), done.stderr
    assert "Traceback" not in done.stderr


def test_folders_that_cannot_be_published(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "index.html").write_text("x")
    partly = tmp_path / "partly"
    (partly / "closed").mkdir(parents=True)
    (partly / "index.html").write_text("x")
    (partly / "closed" / "page.html").write_text("x")
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    (sealed / "secret.html").write_text("x")
    for path in (closed, partly / "closed", sealed / "secret.html"):
        path.chmod(0)
    try:
        for site, expected in {
            "empty": "it holds no files",
            "file": "is a file; name the folder",
            "nowhere": "there is no such folder",
            "closed": "closed",
            "partly": "closed",
            "sealed": "secret.html",
            "/proc": "copy the site elsewhere",
        }.items():
            done = nearcast("run", "demo", "--site", site, cwd=tmp_path, prefix=AS_ORDINARY_USER)
            assert done.returncode in (1, 2), f"{site}: {done.stderr}"
            assert expected in done.stderr, site
            assert "Traceback" not in done.stderr, site
            assert not (tmp_path / "results").exists()
    finally:
        (partly / "closed").chmod(0o755)
        closed.chmod(0o755)


def awkward_site(folder: Path) -> Path:
    """Names with spaces, unicode and dots, links that lead out, and what is no file at all."""
    make_site(folder, LARGE_BINARY_BYTES)
    (folder / "index.html").write_text('<img src="a%20b.png">')
    (folder / "a b.png").write_bytes(bytes(range(256)) * 40)
    (folder / "..two dots..html").write_text("<p>dots</p>")
    (folder / "我们 ü.html").write_text("<p>unicode</p>")
    (folder / 'quote\' "and" #hash?%41.html').write_text("<p>signs</p>")
    (folder / "leak").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("..")
    (folder / "circle").symlink_to(".")
    (folder / "same.html").symlink_to("index.html")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"not-utf8-\xff.html")).write_text("x")
    return folder


def test_two_runs_at_once_of_an_awkward_site_as_an_ordinary_user(tmp_path: Path, image: KernelImage) -> None:
    awkward_site(tmp_path / "mein ü site")
    words = ("run", "demo", "--topology", "figure2", "--site", "mein ü site", "--seed", "3", "--json")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(nearcast, *words, cwd=tmp_path, prefix=AS_ORDINARY_USER) for _ in range(2)]
        done = [run.result() for run in runs]
    summaries = []
    for one in done:
        assert one.returncode == 0, one.stdout + one.stderr
        assert "Traceback" not in one.stderr
        summary = json.loads(one.stdout)
        assert all(claim["holds"] for claim in summary["claims"])
        summary["receipt"].pop("wall")
        summaries.append(summary)
    assert summaries[0] == summaries[1]
    folders = [path for path in (tmp_path / "results/demo").iterdir() if not path.is_symlink()]
    assert len(folders) == 2
    for folder in folders:
        assert (folder / "report.html").stat().st_size > 1000
    published = json.loads((folders[0] / "raw/edge/publish.json").read_text())
    assert published["files"] == FILES + 5
    assert image.path.exists()
