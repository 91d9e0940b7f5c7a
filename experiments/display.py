"""What a person sees while labs run: a bar per scenario on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Note = Callable[[str, str], None]
"""Called with a scenario's name and what it does now."""
USUAL_NOTES = 5
"""Notes of a scenario from its boot to its end; the bar is a share of these."""


def silent(_scenario: str, _text: str) -> None:
    """The display that shows nothing."""


@contextmanager
def scenario_display() -> Iterator[Note]:
    """Show notes on standard error for the length of the block."""
    if not sys.stderr.isatty():
        yield lambda _scenario, text: print(f"  {text}", file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(file=sys.stderr)) as bars:

        def note(scenario: str, text: str) -> None:
            if scenario not in rows:
                rows[scenario] = bars.add_task(text, total=USUAL_NOTES)
            is_last = text.endswith(": done")
            step = USUAL_NOTES if is_last else min(bars.tasks[rows[scenario]].completed + 1, USUAL_NOTES - 1)
            bars.update(rows[scenario], description=text, completed=step)

        yield note
        for task in bars.tasks:
            bars.update(task.id, completed=USUAL_NOTES)
