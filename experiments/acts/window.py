"""Windows in the lab: users probe and fetch, faults come and go, then the network settles."""

from __future__ import annotations

import time
from typing import Any

from experiments import injection, probe, sweep
from experiments.acts.context import Context
from experiments.acts.fetching import join, next_beginning, start_requests
from experiments.hosts import host_words
from experiments.injection import injecting
from experiments.windows import Window
from lab.processes import LabProcess

SETTLE_TIMEOUT_S = 60.0


def play(context: Context, window: Window) -> dict[str, Any]:
    """Play a window and return what is to be known of it: when it began, what the controller said before and
    after. Raises RuntimeError when the network does not settle again."""
    testbed = context.testbed
    before = testbed.control.status()
    begin_s = next_beginning(context)
    processes = _start(context, window, begin_s)
    with injecting(testbed, window.faults, window.name, context.origin_s, begin_s) as injector:
        time.sleep(max(0.0, begin_s + window.length_s - time.monotonic()))
        for process in processes:
            join(context, process)
    context.write("faults.csv", injection.COLUMNS, injector.rows)
    after = _settle(context)
    return {"name": window.name, "begin_s": begin_s - context.origin_s, "before": before, "after": after}


def _start(context: Context, window: Window, begin_s: float) -> list[LabProcess]:
    testbed = context.testbed
    processes = []
    moments = ["--begin-s", repr(begin_s), "--origin-s", repr(context.origin_s)]
    if window.probers:
        context.write("probes.csv", probe.COLUMNS, ())
        words = ["--window", window.name, "--address", str(testbed.plan.service), *moments]
        words += ["--interval-s", repr(window.probe_interval_ms / 1000), "--length-s", repr(window.length_s)]
        words += ["--out", str(context.out / "probes.csv"), *host_words(testbed.net, window.probers)]
        processes.append(testbed.processes.start_module("probe", "experiments.probe", words))
    if window.gets:
        processes.append(start_requests(context, window.name, window.gets, begin_s, resolves=window.resolves))
    for one in window.sweeps:
        prefix = testbed.plan.user_prefixes[one.access]
        words = ["--prefix", str(prefix), "--per-s", str(one.per_s), "--length-s", repr(one.length_s)]
        words += ["--begin-s", repr(begin_s + one.at_s), "--seed", str(testbed.scenario.seed)]
        words += host_words(testbed.net, [one.user])
        processes.append(testbed.processes.start_module("sweep", sweep.__name__, words))
    return processes


def _settle(context: Context) -> dict[str, Any]:
    """Wait until every switch agrees with the newest plan and every edge takes new connections."""
    testbed = context.testbed
    edges = set(testbed.active_edges)
    return testbed.control.wait_until(
        lambda status: bool(status.get("synced")) and edges <= set(status.get("edges_accepting", ())),
        "network settled after a window",
        timeout_s=SETTLE_TIMEOUT_S,
        check=testbed.check_processes,
    )
