"""The guest may see more files of the host than an ordinary user's soft limit of open files."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest

from lab.guest import run_in_guest
from lab.jobs import Job
from lab.kernel import ensure_kernel

SOFT_LIMIT = 1024
FILES = 1500


def read_all(out: Path, work: Path, folder: str) -> None:
    """Inside the guest: read every file of the host's folder."""
    contents = [path.read_text() for path in sorted(Path(folder).iterdir())]
    (out / "read").write_text(str(len(contents)))


@pytest.fixture
def ordinary_limit() -> object:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_with_more_files_than_the_soft_limit(tmp_path: Path, ordinary_limit: object) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:04}").write_text("x")
    job = Job("tests.lab.test_open_files:read_all", {"folder": str(folder)}, tmp_path / "out")
    result = run_in_guest(ensure_kernel().path, job, lambda _text: None, threading.Event())
    assert (result.ok, result.error) == (True, "")
    assert (tmp_path / "out" / "read").read_text() == str(FILES)
