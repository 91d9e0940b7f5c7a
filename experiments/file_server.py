"""`python -m experiments.file_server`: a folder over HTTP/1.1, for edges that pull."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, without looking for a name of the address: seconds, where no name server answers."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the head and the first of the content in one packet
    disable_nagle_algorithm = True

    def __init__(self, *arguments: Any, max_age_s: int | None, **more: Any) -> None:
        self._max_age_s = max_age_s
        super().__init__(*arguments, **more)  # which answers already

    def end_headers(self) -> None:
        """Say how long caches may keep it, if they are told."""
        if self._max_age_s is not None:
            self.send_header("Cache-Control", f"max-age={self._max_age_s}")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: a line for each of thousands of files."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="experiments.file_server", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-age-s", type=int, help="how long caches may keep content (default: not said)")
    arguments = parser.parse_args(argv)
    handler = partial(_Handler, directory=arguments.folder, max_age_s=arguments.max_age_s)
    with _Server((arguments.address, arguments.port), handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
