"""The controller's control socket, from the side of the experiments (docs/architecture.md)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class ControlError(RuntimeError):
    """The controller did not answer or did not get there in time."""


class Control:
    """One connection per request; the controller's answers are JSON objects."""

    def __init__(self, path: Path, timeout_s: float | None = None) -> None:
        """`path` is the Unix socket; `timeout_s` is how long an answer may take, None for any time."""
        self._path = path
        self._timeout_s = timeout_s

    def request(self, **message: Any) -> dict[str, Any]:
        """Send one request and return the answer. Raises ControlError."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(message).encode() + b"\n")
                with connection.makefile() as answers:
                    answer: dict[str, Any] = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            raise ControlError(f"controller: no answer on {self._path}: {error}") from None
        return answer

    def status(self) -> dict[str, Any]:
        """The controller's state."""
        return self.request(op="status")

    def set_edges(self, edges: Sequence[str] | None) -> None:
        """Allow only these edges to answer (None: all); returns when the switches have it."""
        answer = self.request(op="policy", edges=None if edges is None else list(edges))
        if not answer.get("ok"):
            raise ControlError(f"controller: policy refused: {answer.get('error', 'no reason given')}")

    def wait_until(
        self,
        reached: Callable[[dict[str, Any]], bool],
        what: str,
        *,
        timeout_s: float = 60,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Poll the status until `reached`; `check` may raise when waiting has become pointless.

        Raises ControlError naming `what` after `timeout_s` seconds of the lab's clock.
        """
        deadline = time.monotonic() + timeout_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            check()
            if self._path.exists():
                try:
                    status = self.status()
                except ControlError:
                    status = {}
                if status and reached(status):
                    return status
            time.sleep(0.1)
        raise ControlError(f"controller: {what} not reached within {timeout_s:.0f} s; last state: {status}")
