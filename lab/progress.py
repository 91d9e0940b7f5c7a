"""Progress of long steps as data, and its two renderings: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

PLAIN_INTERVAL_S = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a long job: `stage` says what is being done, `fraction` (0..1) how much of the stage
    is behind us (None: unknown), `detail` the item being worked on."""

    stage: str
    fraction: float | None = None
    detail: str = ""


ProgressSink = Callable[[Progress], None]


def silent(moment: Progress) -> None:
    """The sink that shows nothing."""


@contextmanager
def progress_display(stream: IO[str] = sys.stderr) -> Iterator[ProgressSink]:
    """A sink that draws on `stream` while the block runs: a rich bar with elapsed time when it is a
    terminal and rich is installed, else one line per stage and one every half minute."""
    if stream.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar
        except ImportError:
            pass
        else:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[detail]}", markup=True),
            )
            with Bar(*columns, console=Console(file=stream), transient=False) as bar:
                yield _bar_sink(bar)
            return
    yield plain_sink(lambda line: print(line, file=stream, flush=True), time.monotonic)


def _bar_sink(bar: object) -> ProgressSink:
    from rich.progress import Progress as Bar

    assert isinstance(bar, Bar)
    tasks: dict[str, object] = {}

    def show(moment: Progress) -> None:
        if moment.stage not in tasks:
            for task in bar.tasks:
                bar.update(task.id, total=1, completed=1, detail="")
                bar.stop_task(task.id)
            tasks[moment.stage] = bar.add_task(moment.stage, total=None, detail="")
        bar.update(
            bar.tasks[-1].id,
            total=None if moment.fraction is None else 1,
            completed=moment.fraction or 0,
            detail=moment.detail,
        )

    return show


def plain_sink(write: Callable[[str], None], clock: Callable[[], float]) -> ProgressSink:
    """A sink that writes a line when a stage begins and then at most one every PLAIN_INTERVAL_S.

    `clock` returns monotonic seconds.
    """
    stage = ""
    began_s = written_s = 0.0

    def show(moment: Progress) -> None:
        nonlocal stage, began_s, written_s
        now_s = clock()
        if moment.stage != stage:
            stage, began_s, written_s = moment.stage, now_s, now_s
            write(f"{stage} ...")
        elif now_s - written_s >= PLAIN_INTERVAL_S:
            written_s = now_s
            part = "" if moment.fraction is None else f" {moment.fraction:.0%}"
            write(f"{stage} ...{part} after {now_s - began_s:.0f} s")

    return show
