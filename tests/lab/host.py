"""What labs leave on the host: processes and boot folders, attributed to the processes that made them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

PREFIX = "nearcast-"
POLL_S = 0.05


def parents() -> dict[int, int]:
    """Every process with its parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(root: int) -> set[int]:
    """The processes below `root`, without itself."""
    tree = parents()
    found: set[int] = set()
    fresh = {root}
    while fresh:
        fresh = {child for child, parent in tree.items() if parent in fresh} - found
        found |= fresh
    return found


def boot_folder(process: int) -> Path | None:
    """The boot folder a guest runs in, None when the process is no guest."""
    try:
        folder = Path(os.readlink(f"/proc/{process}/cwd").removesuffix(" (deleted)"))
    except OSError:
        return None
    return folder if folder.name.startswith(PREFIX) and folder.parent != Path("/tmp") else None


def job_folder(folder: Path) -> Path | None:
    """Where the job of a guest with this boot folder puts its output; None while that is not known."""
    try:
        return Path(json.loads((folder / "job.json").read_text())["out"])
    except (OSError, ValueError):
        return None


class Watch:
    """Notes every boot folder of guests below the process `root`."""

    def __init__(self, out: Path | None = None, *, root: int | None = None) -> None:
        """`root` is a process ID, by default this process; with `out`, only guests whose output goes below it
        count."""
        self._root = os.getpid() if root is None else root
        self._out = Path("/") if out is None else out.resolve()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.folders: set[Path] = set()
        self.outs: set[Path] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(POLL_S):
            for process in descendants(self._root):
                folder = boot_folder(process)
                out = job_folder(folder) if folder is not None else None
                if folder is not None and out is not None and out.is_relative_to(self._out):
                    self.folders.add(folder)
                    self.outs.add(out)

    def check_nothing_left(self, *, guests: bool = True) -> None:
        """Fails when a boot folder or a process in one is still there; with `guests`, when none was seen."""
        assert self.folders or not guests, "no guest was seen, so that nothing was checked"
        for folder in self.folders:
            assert not folder.exists(), f"{folder} was left behind"
        deadline = time.monotonic() + 5
        while left := self._left():
            assert time.monotonic() < deadline, f"processes left behind: {left}"
            time.sleep(POLL_S)

    def _left(self) -> list[int]:
        return [process for process in parents() if boot_folder(process) in self.folders]
