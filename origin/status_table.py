"""`python -m origin status`: what an origin says of itself, as tables."""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from origin.errors import OriginError

TIMEOUT_S = 10.0
_PIPE_WIDTH = 200


def fetch_status(url: str) -> dict[str, Any]:
    """What the origin at `url` (http://[ADDRESS]:PORT) answers to GET /status. Raises OriginError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme != "http":
        raise OriginError(f"{url} is no URL of an origin; give one as in http://[fd00::1]:8080")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/status")
        response = connection.getresponse()
        document: Any = json.loads(response.read())
    except OSError as error:
        raise OriginError(
            f"{url} does not answer: {error.strerror or error}; is the origin running?"
        ) from None
    except (http.client.HTTPException, ValueError):
        raise OriginError(f"{url} answers, but not as an origin does; check the port") from None
    finally:
        connection.close()
    if not isinstance(document, dict) or "sessions" not in document:
        raise OriginError(f"{url} answers, but not as an origin does; check the port")
    return document


def print_status(status: dict[str, Any]) -> None:
    """Print a status (`Service.status`) as tables: the sessions, then who has what of each."""
    from rich.console import Console
    from rich.table import Table

    # In a pipe no line is folded.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    sealed = f", sealed (epoch {status['epoch']})" if status["epoch"] else ""
    console.print(f"{status['site']} version {status['version']}, up {status['uptime_s']:.0f} s{sealed}")
    table = Table(
        "session", "group", "version", "files", "Mbit/s", "wire bytes", "symbols", "repair", "rounds"
    )
    for session in status["sessions"]:
        numbers = ("version", "files", "rate_mbps", "wire_bytes", "source_symbols", "repair_symbols")
        row = [session["name"], session["group"], *(f"{session[name]:g}" for name in numbers[:3])]
        row += [str(session[name]) for name in (*numbers[3:], "repair_rounds")]
        table.add_row(*row)
    console.print(table)
    table = Table("session", "edge", "version", "complete", "missing symbols", "completed s", "heard s ago")
    for session in status["sessions"]:
        for edge, row in session["edges"].items():
            values = ("missing_symbols", "completed_s", "heard_s_ago")
            table.add_row(
                session["name"],
                edge,
                str(row["version"]),
                "yes" if row["complete"] else "no",
                *("" if row[name] is None else f"{row[name]:g}" for name in values),
            )
    console.print(table if table.row_count else "no edge was heard of")
