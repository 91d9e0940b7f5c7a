"""What an edge's process holds, seen from outside: memory and open files by /proc, the rest by its status."""

from __future__ import annotations

import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.namespaces import NetworkNamespace

COLUMNS = (
    "t_s", "edge", "rss_bytes", "open_files", "connections", "heads", "unread", "requests", "refused",
    "turned_away", "gave_way", "too_slow",
)  # fmt: skip
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class LoadSample:
    """An edge at one moment, `t_s` after the scenario began.

    Resident memory, open files, connections (of them those whose head is not whole and those whose answer is
    not read), requests being answered; and since its start requests that were refused, connections for which
    there was no room, that were closed for others, and that took too long.
    """

    t_s: float
    edge: str
    rss_bytes: int
    open_files: int
    connections: int
    heads: int
    unread: int
    requests: int
    refused: int
    turned_away: int
    gave_way: int
    too_slow: int


def load_row(
    t_s: float, edge: str, pid: int, namespace: NetworkNamespace, address: str, port: int
) -> tuple[Any, ...]:
    """A row of process-load.csv, of the edge with this process. Its API is asked on its own machine, so that
    the network carries nothing of it. Raises OSError when the process or its API does not answer."""
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    open_files = len(os.listdir(f"/proc/{pid}/fd"))
    status = _status(namespace, address, port)
    gate = status["connections"]
    return (
        *(f"{t_s:.6f}", edge, resident_pages * _PAGE_BYTES, open_files),
        *(gate["open"], gate["head"], gate["unread"], status["requests"], status["requests_refused"]),
        *(gate["turned_away"], gate["gave_way"], sum(gate["too_slow"].values())),
    )


def _status(namespace: NetworkNamespace, address: str, port: int) -> dict[str, Any]:
    with namespace.entered():
        line = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    line.settimeout(_TIMEOUT_S)
    connection = http.client.HTTPConnection(address, port)
    with line:
        line.connect((address, port))
        connection.sock = line
        connection.request("GET", "/status")
        status: dict[str, Any] = json.loads(connection.getresponse().read())
    return status
