"""A sweep: one cell after the other, each with a site of its own, on links that are quiet before."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.acts.context import Context
from experiments.cells import Cell, Method, cell_from_json
from experiments.content import Made, make_site
from experiments.loads import Direction, Load, most_loaded, phase_loads
from experiments.lossy import set_loss
from experiments.records import LinkSample
from experiments.ways import esp
from experiments.ways.pull import Pull
from experiments.ways.rsync import Rsync
from experiments.ways.stores import Multicast, Push
from experiments.ways.tunnel import Tunnel
from experiments.ways.uftp import Uftp
from experiments.ways.way import Arrival, Task, Way
from lab.counters import COLUMNS as LINK_COLUMNS
from lab.inside import progress

COLUMNS = (
    *("cell", "method", "edges", "loss_percent", "content", "content_bytes", "objects"),
    *("origin_bytes", "origin_packets", "busiest", "busiest_bytes", "last_s", "identical"),
    *("repair_symbols", "origin_ipsec", "error"),
)
WAYS: Mapping[Method, type[Way]] = {
    Method.MULTICAST: Multicast,
    Method.UFTP: Uftp,
    Method.PUSH: Push,
    Method.TUNNEL: Tunnel,
    Method.RSYNC: Rsync,
    Method.PULL: Pull,
}
QUIET_S = 1.0
"""After each cell, before the next: what is still on its way arrives, and is counted."""
SAMPLE_INTERVAL_S = 10.0


def run(context: Context, *, cells: Sequence[Mapping[str, Any]]) -> None:
    """Carry out the cells and write a row for each. A way that fails is a row with its error."""
    planned = [cell_from_json(cell) for cell in cells]
    for number, cell in enumerate(planned, start=1):
        edges = len(context.testbed.active_edges)
        progress(f"{context.testbed.scenario.name}: {cell.name}, {edges} edges ({number} of {len(planned)})")
        context.write("cells.csv", COLUMNS, [_carry_out(context, cell)])


def _carry_out(context: Context, cell: Cell) -> tuple[Any, ...]:
    testbed = context.testbed
    folder = context.work / "cell"
    folder.mkdir()
    made = make_site(folder / "site", cell.content, testbed.scenario.seed, cell.name)
    task = Task(context, cell.name, folder / "site", folder, testbed.scenario.rate_mbps)
    way = WAYS[cell.method](task)
    links = context.out / "links.csv"
    arrivals: list[Arrival] = []
    error = ""
    ipsec = 0
    before = links.stat().st_size
    set_loss(testbed, testbed.active_edges, cell.loss_percent)
    began = time.monotonic()
    try:
        way.prepare()
        time.sleep(QUIET_S)
        with context.sampler.phase(cell.name, SAMPLE_INTERVAL_S):
            began = time.monotonic()
            way.send()
            time.sleep(QUIET_S)
        ipsec = esp.held(testbed.net[testbed.origin]).total
    except RuntimeError as problem:
        error = str(problem)
    try:
        arrivals = way.arrivals()
    finally:
        way.close()
        set_loss(testbed, testbed.active_edges, 0.0)
        shutil.rmtree(folder)
    with links.open(newline="") as file:
        file.seek(before)
        rows = csv.DictReader(file, LINK_COLUMNS)
        loads = phase_loads([_sample(row) for row in rows if row["phase"] == cell.name], cell.name)
    marks = (way.notes.get("repair_symbols", ""), ipsec, error)
    return (*_what(context, cell, made), *_cost(context, loads), *_outcome(arrivals, began), *marks)


def _sample(row: Mapping[str, str]) -> LinkSample:
    place = (row["link"], row["from"], row["to"], row["layer"])
    counters = (int(row["bytes"]), int(row["packets"]), int(row["drops"]))
    return LinkSample(row["phase"], float(row["t_s"]), *place, *counters)


def _what(context: Context, cell: Cell, made: Made) -> tuple[Any, ...]:
    edges = len(context.testbed.active_edges)
    asked = (cell.name, cell.method, edges, f"{cell.loss_percent:g}", cell.content.name)
    return (*asked, made.bytes, made.objects)


def _cost(context: Context, loads: Mapping[Direction, Load]) -> tuple[Any, ...]:
    """What the origin sent, and the busiest link; nothing when the cell failed before it was counted."""
    topology = context.testbed.topology
    port = topology.ports[context.testbed.origin][0]
    found = most_loaded(topology, loads)
    if found is None:
        return 0, 0, "", 0
    own = loads[context.testbed.origin, port.peer]
    sent = own.sent_bytes(port.link.mtu_bytes)
    return sent, own.packets + own.drops, f"{found[0].source} to {found[0].target}", found[1]


def _outcome(arrivals: Sequence[Arrival], began: float) -> tuple[Any, ...]:
    """When the last edge was complete, if all are, and how many are identical."""
    times = [arrival.completed_at for arrival in arrivals if arrival.completed_at is not None]
    is_whole = bool(arrivals) and len(times) == len(arrivals)
    last_s = f"{max(times) - began:.6f}" if is_whole else ""
    return last_s, sum(arrival.is_identical for arrival in arrivals)
