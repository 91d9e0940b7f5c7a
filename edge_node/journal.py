"""What happens at an edge, as JSON lines for the report and as text for people."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

_NUMBER = re.compile(r"\d+")
_MOST_REASONS = 50


class Journal:
    """Writes each event with the monotonic time in seconds to `report_file`, and to standard output."""

    def __init__(self, edge: str, report_file: Path | None, *, as_json: bool) -> None:
        """Raises OSError when the file cannot be created."""
        self._edge, self._as_json = edge, as_json
        self._file: TextIO | None = None
        if report_file is not None:
            self._file = report_file.open("a", encoding="utf-8")
        self.rejected: Counter[str] = Counter()

    def write(self, event: str, **details: Any) -> None:
        """Record `event` now."""
        line = json.dumps({"t": time.monotonic(), "event": event, "edge": self._edge, **details})
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()
        if self._as_json:
            print(line, flush=True)
        else:
            text = ", ".join(f"{name} {value}" for name, value in details.items())
            print(f"{self._edge}: {event}{': ' if text else ''}{text}", flush=True)

    def reject(self, reason: str) -> None:
        """Count something that was thrown away. Reasons that differ in numbers are one, and there are few:
        whoever sends garbage must not decide how much is remembered of it."""
        kind = _NUMBER.sub("N", reason)
        self.rejected[kind if kind in self.rejected or len(self.rejected) < _MOST_REASONS else "others"] += 1

    def problem(self, text: str) -> None:
        """Record something that went wrong but does not end the edge."""
        print(f"{self._edge}: {text}", file=sys.stderr, flush=True)
        if self._file is not None:
            line = json.dumps({"t": time.monotonic(), "event": "problem", "edge": self._edge, "text": text})
            self._file.write(line + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
