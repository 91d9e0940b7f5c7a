"""How far a publication has come, on a terminal or in a log: who is complete, and what the others miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO

from delivery.publication import Publication

LINE_INTERVAL_S = 5.0
_BAR_INTERVAL_S = 0.25


@asynccontextmanager
async def display(stream: IO[str], publication: Publication) -> AsyncIterator[None]:
    """Show progress on `stream` meanwhile: a bar for each edge on a terminal, else a line now and then."""
    show = _show_bars if stream.isatty() else _write_lines
    task = asyncio.create_task(show(stream, publication))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def line(publication: Publication) -> str:
    """Where the edges stand, in one line."""
    roll_call = publication.roll_call
    waiting = [
        f"{name} misses {roll_call.standings[name].missing_symbols} symbols"
        if name in roll_call.standings
        else f"{name} was not heard of"
        for name in roll_call.behind
    ]
    done = f"version {roll_call.version}: {len(roll_call.completed_s)} edges complete"
    return "; ".join([done, *waiting])


def shares(publication: Publication) -> dict[str, float | None]:
    """The share of the newest version that each edge holds, by what it said last; None: it said nothing."""
    status = publication.status()
    rows: dict[str, float | None] = {}
    for name, row in status["edges"].items():
        missing = row["missing_symbols"]
        if row["complete"]:
            rows[name] = 1.0
        elif missing is None or row["version"] != status["version"]:
            rows[name] = None
        else:
            rows[name] = max(0.0, 1 - missing / max(1, status["symbols"]))
    return rows


async def _write_lines(stream: IO[str], publication: Publication) -> None:
    while True:
        await asyncio.sleep(LINE_INTERVAL_S)
        print(f"origin: {line(publication)}", file=stream, flush=True)


async def _show_bars(stream: IO[str], publication: Publication) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=Console(file=stream), auto_refresh=False, transient=True) as progress:
        tasks: dict[str, TaskID] = {}
        while True:
            for name, share in shares(publication).items():
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=1.0, state="")
                completed_s = publication.roll_call.completed_s.get(name)
                state = "" if completed_s is None else f"{completed_s:.2f} s"
                progress.update(tasks[name], completed=share or 0.0, state=state)
            progress.refresh()
            await asyncio.sleep(_BAR_INTERVAL_S)
