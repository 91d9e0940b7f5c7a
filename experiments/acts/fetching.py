"""Requests of many users from one process, at their times."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from experiments import http_client, resolving
from experiments.acts.context import Context
from experiments.hosts import host_words
from experiments.testbed import HTTP_PORT, TestbedError
from experiments.windows import Get
from lab.processes import LabProcess

LEAD_S = 0.2
"""Between the start of the processes and the beginning of the requests; what they import is there."""
GRID_S = 0.5
"""What is measured begins at multiples of this, so that microseconds before it do not change it."""


def next_beginning(context: Context) -> float:
    """The next time, on the monotonic clock, at which something may begin."""
    return context.origin_s + math.ceil((context.now_s + LEAD_S) / GRID_S) * GRID_S


def start_requests(
    context: Context, window: str, gets: Sequence[Get], begin_s: float, *, resolves: bool = False
) -> LabProcess:
    """Start the process that makes these requests and writes them to requests.csv, as those of a window.

    Users who are to resolve ask the name server first, which is written to resolutions.csv.
    """
    testbed = context.testbed
    context.write("requests.csv", http_client.COLUMNS, ())
    users = dict.fromkeys(get.user for get in gets)
    plan = {
        "window": window,
        "hosts": host_words(testbed.net, users),
        "address": str(testbed.plan.service),
        "dns": testbed.dns_address,
        "port": HTTP_PORT,
        "name": testbed.topology.service.name,
        "begin_s": begin_s,
        "origin_s": context.origin_s,
        "gets": [asdict(get) for get in gets],
    }
    path = context.work / f"gets-{window}.json"
    path.write_text(json.dumps(plan))
    words = ["--plan", str(path), "--out", str(context.out / "requests.csv")]
    if not resolves:
        return testbed.processes.start_module("requests", http_client.__name__, words)
    context.write("resolutions.csv", resolving.COLUMNS, ())
    words += ["--resolutions", str(context.out / "resolutions.csv")]
    return testbed.processes.start_module("requests", resolving.__name__, words)


def join(context: Context, process: LabProcess) -> None:
    """Wait until a process has ended. Raises TestbedError when it failed."""
    status = process.wait()
    context.testbed.processes.forget(process)
    if status != 0:
        raise TestbedError(f"{process.name} ended with status {status}: {process.last_lines(2)}")
