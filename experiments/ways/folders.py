"""Files as they arrived in edges' folders: whether they are the site's, and since when."""

from __future__ import annotations

import filecmp
import shutil
import time
from pathlib import Path

from experiments.ways.way import Arrival, Task, Way


class FolderWay(Way):
    """A way that leaves plain files on the edges, below `task.received(edge)`."""

    def arrivals(self) -> list[Arrival]:
        """An edge is complete when its last file was put in place: renamed, or given its times."""
        return [arrival(edge, self.task, self.place(edge)) for edge in self.task.edges]

    def place(self, edge: str) -> Path:
        """The folder of an edge that is to be the site."""
        return self.task.received(edge)

    def prepare(self) -> None:
        """Make the edges' folders."""
        for edge in self.task.edges:
            self.task.received(edge).mkdir(parents=True)

    def close(self) -> None:
        """End everything, and drop what has arrived."""
        super().close()
        shutil.rmtree(self.task.folder / "received", ignore_errors=True)


def arrival(edge: str, task: Task, folder: Path) -> Arrival:
    """Compare an edge's folder with the site, bit by bit."""
    wanted = [str(path.relative_to(task.site)) for path in task.site.rglob("*") if path.is_file()]
    match, _, _ = filecmp.cmpfiles(task.site, folder, wanted, shallow=False)
    filecmp.clear_cache()
    if len(match) != len(wanted) or not wanted:
        return Arrival(edge, False, None)
    latest = max((folder / path).stat().st_ctime for path in wanted)
    # The lab's two clocks are a fixed distance apart.
    return Arrival(edge, True, latest - (time.time() - time.monotonic()))
