"""What a lab prints: progress for the display, everything into a log, the last lines for error messages."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lab.inside import PROGRESS_PREFIX

Progress = Callable[[str], None]
PANIC = "Kernel panic"
LAST_LINES = 12


class Console:
    """Reads a lab's standard output, usually in a thread of its own."""

    def __init__(self, log: Path, progress: Progress) -> None:
        """Lines go to `log`, progress texts to `progress`."""
        self._log = log
        self._progress = progress
        self._lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)

    def read(self, stream: IO[bytes] | None) -> None:
        """Read to the end of the stream."""
        if stream is None:
            return
        panicked = False
        with self._log.open("w") as log:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                if line.startswith(PROGRESS_PREFIX):
                    self._progress(json.loads(line.removeprefix(PROGRESS_PREFIX))["text"])
                elif line and not panicked:
                    self._lines.append(line.strip())
                    panicked = PANIC in line  # what follows is the dump, which tells people nothing
                log.write(line + "\n")
                log.flush()

    def tail(self) -> str:
        """The last lines, on one line."""
        return " | ".join(self._lines) or "none"
