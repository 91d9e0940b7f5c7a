"""Events as JSON lines (`--json-log FILE`): {"t": monotonic seconds, "session": …, "event": …, …}."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from origin.errors import OriginError


class EventLog:
    """Writes every line at once, so that a reader sees what has happened."""

    def __init__(self, path: Path | None) -> None:
        """Append to `path`; None: write nothing. Raises OriginError."""
        self._file: IO[str] | None = None
        if path is not None:
            try:
                self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the origin
            except OSError as error:
                raise OriginError(
                    f"{path}: cannot write the log: {error.strerror}; check --json-log"
                ) from None

    def write(self, session: str, event: str, facts: Mapping[str, Any]) -> None:
        """One event. A full disk costs the log, not the origin."""
        if self._file is not None:
            line = {"t": round(time.monotonic(), 6), "session": session, "event": event, **facts}
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError:
                self.close()

    def close(self) -> None:
        """Write nothing more."""
        if self._file is not None:
            self._file.close()
            self._file = None
