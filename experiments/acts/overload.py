"""Visitors come to the edges, some of them to do harm; meanwhile the edges' processes are watched."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import process_load, visiting, visitors
from experiments.acts.context import Context
from experiments.branches import Event, read_events
from experiments.hosts import host_words
from experiments.process_load import load_row
from experiments.testbed import HTTP_PORT, SYNC_PORT, TestbedError
from lab.processes import LabProcess

GRID_S = 2.0
"""The act begins at a multiple of this, so that microseconds before it do not change what happens in it."""
SAMPLE_INTERVAL_S = 0.2
PHASE = "visits"
STATE_COLUMNS = ("edge", "state", "t_s")
PERIOD_COLUMNS = ("period", "begin_s", "end_s")
_STATES = {f"edge-{state}": state for state in ("accepting", "keeping", "dead")}


def run(
    context: Context,
    *,
    parties: Sequence[Mapping[str, Any]],
    periods: Sequence[Sequence[Any]],
    length_s: float,
) -> None:
    """`parties` are those of `experiments.visitors`; `periods` are names with begin and end. All times count
    from the beginning of the act. Raises RuntimeError when an edge's process does not answer any more."""
    zero_s = context.origin_s + (math.ceil(context.now_s / GRID_S) + 1) * GRID_S
    shift_s = zero_s - context.origin_s
    users = dict.fromkeys(str(party["user"]) for party in parties)
    processes = [
        _start(context, user, [party for party in parties if party["user"] == user], zero_s) for user in users
    ]
    _watch(context, zero_s, length_s)
    for process in processes:
        status = process.wait()
        context.testbed.processes.forget(process)
        if status != 0:
            raise TestbedError(f"{process.name} ended with status {status}: {process.last_lines(2)}")
    rows = [row for user in users for row in _rows(context, user)]
    context.write("visits.csv", visitors.COLUMNS, sorted(rows, key=lambda row: (float(row[6]), row[:5])))
    context.write(
        "periods.csv",
        PERIOD_COLUMNS,
        [(name, f"{begin_s + shift_s:.6f}", f"{end_s + shift_s:.6f}") for name, begin_s, end_s in periods],
    )
    events = read_events(context.testbed.raw / "controller.jsonl")
    context.write("edge-states.csv", STATE_COLUMNS, state_rows(events, context.origin_s))


def state_rows(events: Sequence[Event], origin_s: float) -> list[tuple[str, str, str]]:
    """The rows of edge-states.csv: what the controller took each edge for from then on."""
    return [
        (str(event["edge"]), _STATES[event["event"]], f"{event['t'] - origin_s:.6f}")
        for event in events
        if event.get("event") in _STATES
    ]


def _start(context: Context, user: str, parties: Sequence[Mapping[str, Any]], zero_s: float) -> LabProcess:
    testbed = context.testbed
    plan = {
        "hosts": host_words(testbed.net, [user]),
        "address": str(testbed.plan.service),
        "port": HTTP_PORT,
        "name": testbed.topology.service.name,
        "seed": testbed.scenario.seed,
        "zero_s": zero_s,
        "origin_s": context.origin_s,
        "parties": list(parties),
    }
    path = context.work / f"visitors-{user}.json"
    path.write_text(json.dumps(plan))
    words = ["--plan", str(path), "--out", str(context.work / f"visits-{user}.csv")]
    return testbed.processes.start_module(f"visitors-{user}", visiting.__name__, words)


def _rows(context: Context, user: str) -> list[list[str]]:
    with (context.work / f"visits-{user}.csv").open(newline="") as file:
        return list(csv.reader(file))


def _watch(context: Context, zero_s: float, length_s: float) -> None:
    """Samples of links and processes at fixed times. They are taken one after the other in this thread: the
    order of two threads that wake at one moment is nobody's choice."""
    testbed = context.testbed
    rows: list[tuple[Any, ...]] = []
    for number in range(math.floor(length_s / SAMPLE_INTERVAL_S) + 1):
        time_s = zero_s + number * SAMPLE_INTERVAL_S
        time.sleep(max(0.0, time_s - time.monotonic()))
        context.sampler.sample(PHASE, time_s)
        for edge in testbed.active_edges:
            address = str(testbed.plan.hosts[edge].unicast)
            pid, namespace = testbed.edges[edge].pid, context.namespace(edge)
            rows.append(load_row(time_s - context.origin_s, edge, pid, namespace, address, SYNC_PORT))
    context.write("process-load.csv", process_load.COLUMNS, rows)
