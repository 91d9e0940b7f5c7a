"""An HTTP endpoint for Prometheus, where the settings ask for one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from controller.measures import Snapshot
from controller.metrics import registry_of


def serve_metrics(address: str, port: int, read: Callable[[], Snapshot]) -> int:
    """Answer `GET /metrics` from a thread of its own; the port (0 picks a free one). Raises MetricsError,
    and OSError when the address is taken."""
    registry = registry_of(read)
    from prometheus_client import make_wsgi_app

    server = make_server(address, port, make_wsgi_app(registry), _server_class(address), _Quiet)
    # serve_forever wakes up every half second to look for a shutdown that never comes.
    threading.Thread(target=server.serve_forever, args=(None,), name="metrics", daemon=True).start()
    return int(server.server_port)


def _server_class(address: str) -> type[WSGIServer]:
    family = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][0]
    return type("_Server", (WSGIServer,), {"address_family": family})


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no events of the controller's."""
