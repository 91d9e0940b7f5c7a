"""The event log: one JSON object per line, `t` in seconds of the monotonic clock."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any


class Journal:
    """Appends events to a file; may be used from any thread. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def write(self, event: str, **fields: Any) -> None:
        """Log an event now."""
        line = json.dumps({"t": time.monotonic(), "event": event} | fields)
        with self._lock:
            self._file.write(line + "\n")
