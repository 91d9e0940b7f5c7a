"""A user looks up the service by dig, and downloads a file by curl while the edge that sends it dies."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from delivery.tree import walk
from experiments.acts.context import Context
from experiments.dig import parse_dig
from experiments.downloads import COLUMNS, Download, Part, answering
from experiments.testbed import TestbedError

LOOKUPS = ("user", "name", "status", "addresses", "ttl_s", "query_ms", "server")
DEATHS = ("act", "edge", "kind", "t_s")
WHOLE_S = 6.0
"""How long the download would take at the rate that curl is told."""
RETRY_S = 0.1
MOST_TRIES = 100
RETURN_TIMEOUT_S = 60.0


def run(context: Context, *, user: str) -> None:
    """The edge is killed when half of the largest file has come, and started again afterwards."""
    _look_up(context, user)
    testbed = context.testbed
    site = Path(testbed.site)
    largest = max(walk(site), key=lambda path: ((site / path).stat().st_size, path))
    size_bytes = (site / largest).stat().st_size
    url_path = "/" + quote(largest)
    download = Download(
        testbed.net, user, f"http://{testbed.topology.service.name}{url_path}", context.work / "download"
    )
    rows: list[tuple[Any, ...]] = []

    def note(part: Part, started_s: float) -> None:
        digest = download.sha256 if part.is_whole else ""
        rows.append(
            (user, url_path, len(rows) + 1, part.from_byte, f"{started_s:.6f}", f"{part.total_s:.6f}",
             part.bytes, part.status, part.edge, part.etag, part.exitcode, digest)
        )  # fmt: skip

    edge = answering(testbed.net, user, testbed.topology.service.name)
    started_s = context.now_s
    download.start(rate_bytes_s=int(size_bytes / WHOLE_S))
    _wait_for(download, size_bytes // 2)
    testbed.kill_edge(edge)
    context.write("deaths.csv", DEATHS, [("resume", edge, "killed", f"{context.now_s:.6f}")])
    first = part = download.wait()
    note(part, started_s)
    while not part.is_whole and len(rows) < MOST_TRIES:
        time.sleep(RETRY_S)
        started_s = context.now_s
        download.start(etag=first.etag)
        part = download.wait()
        note(part, started_s)
    context.write("downloads.csv", COLUMNS, rows)
    testbed.start_edge(edge)
    wait_accepting(context, edge)


def wait_accepting(context: Context, *edges: str) -> None:
    """Until these edges get users again. Raises ControlError."""
    context.testbed.control.wait_until(
        lambda status: set(edges) <= set(status["edges_accepting"]) and bool(status["synced"]),
        f"{', '.join(edges)} accepting again",
        timeout_s=RETURN_TIMEOUT_S,
    )


def _look_up(context: Context, user: str) -> None:
    name = context.testbed.topology.service.name
    command = ["dig", "AAAA", name, "+noall", "+comments", "+answer", "+stats"]
    process = context.testbed.net[user].popen(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    text, _ = process.communicate()
    (context.out / f"dig-{user}.txt").write_text(text)
    found = parse_dig(text)
    row = (user, name, found.status, " ".join(found.addresses), found.ttl_s, found.query_ms, found.server)
    context.write("lookups.csv", LOOKUPS, [row])


def _wait_for(download: Download, size_bytes: int) -> None:
    """Until so much has come. Raises TestbedError."""
    deadline_s = time.monotonic() + 2 * WHOLE_S
    while download.size_bytes < size_bytes:
        if time.monotonic() > deadline_s:
            raise TestbedError(f"curl: {download.size_bytes} bytes after {2 * WHOLE_S:g} s")
        time.sleep(0.02)
