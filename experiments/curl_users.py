"""Users: real clients (curl) in the users' namespaces, and what their own timers say."""

from __future__ import annotations

import csv
import heapq
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.mininet_net import LabNet

COLUMNS = (
    "user", "page", "kind", "url", "started_s", "namelookup_s", "connect_s", "ttfb_s", "total_s",
    "bytes", "status", "edge", "exitcode",
)  # fmt: skip
_WRITE_OUT = (
    r"%{time_namelookup}\t%{time_connect}\t%{time_starttransfer}\t%{time_total}"
    r"\t%{size_download}\t%{http_code}\t%header{nearcast-edge}\t%{exitcode}\t%{url}\n"
)
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico")


@dataclass
class _Fetch:
    """One curl process: a page with its images on one keep-alive connection, or a video."""

    user: str
    page: str
    kind: str
    urls: list[str]
    started_s: float
    process: subprocess.Popen[bytes]
    output: Path


def fetch_all(
    net: LabNet,
    workload: Mapping[str, list[dict[str, Any]]],
    work: Path,
    began: float,
    timeout_s: float = 60,
    trust: Sequence[str] = (),
) -> list[list[Any]]:
    """Run every user's fetches at their times and return the rows of transfers.csv.

    `began` is the monotonic time the scenario counts from; each fetch starts `start_s` after this call,
    as one curl process, which asks for compressed forms where the entry says `compressed`. `trust` are curl's
    words for the CA that users trust.
    """
    work.mkdir(parents=True, exist_ok=True)
    queue = [
        (entry["start_s"], order, user, entry)
        for order, (user, entry) in enumerate(
            (user, entry) for user, entries in workload.items() for entry in entries
        )
    ]
    heapq.heapify(queue)
    zero = time.monotonic()
    fetches = []
    while queue:
        start_s, order, user, entry = heapq.heappop(queue)
        time.sleep(max(0.0, zero + start_s - time.monotonic()))
        fetches.append(_start(net, user, entry, work / f"{order}.tsv", began, timeout_s, trust))
    rows: list[list[Any]] = []
    for fetch in fetches:
        fetch.process.wait()
        rows += _rows(fetch)
    rows.sort(key=lambda row: (row[4], row[0]))
    return rows


def write_transfers(path: Path, rows: list[list[Any]]) -> None:
    """Write transfers.csv."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _start(
    net: LabNet,
    user: str,
    entry: dict[str, Any],
    output: Path,
    began: float,
    timeout_s: float,
    trust: Sequence[str],
) -> _Fetch:
    """One curl for one page load or video; later URLs reuse its connection."""
    command = ["curl", "--silent", "--globoff", "--max-time", str(timeout_s), "--connect-timeout", "5"]
    command += ["--write-out", _WRITE_OUT, *trust]
    if entry.get("compressed"):
        command.append("--compressed")
    for url in entry["urls"]:
        command += ["--output", "/dev/null", "--url", url]
    with output.open("wb") as file:
        started_s = time.monotonic() - began
        process = net[user].popen(*command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL)
    return _Fetch(user, entry["page"], entry["kind"], entry["urls"], started_s, process, output)


def _rows(fetch: _Fetch) -> list[list[Any]]:
    """The transfers of one curl process, in order; each begins when the one before it ended."""
    rows = []
    started_s = fetch.started_s
    lines = fetch.output.read_text().splitlines()
    for index, url in enumerate(fetch.urls):
        cells = lines[index].split("\t") if index < len(lines) else ["0"] * 5 + ["000", "", "28", url]
        lookup, connect, first, total, size, status, edge, exitcode, _ = cells
        kind = fetch.kind
        if index > 0:
            kind = "image" if url.lower().endswith(_IMAGE_SUFFIXES) else "page-part"
        rows.append(
            [fetch.user, fetch.page, kind, url, f"{started_s:.6f}", lookup, connect, first, total, size,
             status, edge, exitcode]
        )  # fmt: skip
        started_s += float(total)
    return rows
