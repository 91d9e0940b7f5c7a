"""The control socket: a Unix stream, one JSON object per line each way, a thread per client."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Answers a request; a ValueError (the request makes no sense) and an OperationError become
`{"ok": false, "error": ..., "usage": ...}`."""


class OperationError(RuntimeError):
    """A request that makes sense could not be carried out; one line for the user."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    handler: Handler


class _Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        # A client that goes away before its answer is no event of the controller's.
        with suppress(ConnectionError):
            for line in self.rfile:
                answer = answer_line(line, self.server.handler)
                self.wfile.write(json.dumps(answer).encode() + b"\n")


def answer_line(line: bytes, handler: Handler) -> Mapping[str, Any]:
    """The answer to one request line, whatever it contains."""
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError('a request is a JSON object with an "op"')
        return handler(request)
    except (ValueError, OperationError) as error:
        return {"ok": False, "error": str(error), "usage": isinstance(error, ValueError)}


def serve_control(path: Path, handler: Handler) -> None:
    """Serve the socket from a thread of its own. Raises OSError when it cannot be made."""
    path.unlink(missing_ok=True)
    server = _Server(str(path), _Client)
    server.handler = handler
    # serve_forever wakes up every half second to look for a shutdown that never comes.
    threading.Thread(target=server.serve_forever, args=(None,), name="control", daemon=True).start()
