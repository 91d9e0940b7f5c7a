"""Users watch live channels; what those put on every link meanwhile, and when."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from delivery.sessions import CHANNELS
from experiments import branches, streams, viewer
from experiments.acts.context import Context
from experiments.http_client import Server, fetch
from experiments.offering import CHANNEL_GROUPS, group_of
from experiments.streams import Phase, Stream, stream_rows
from experiments.testbed import HTTP_PORT, ORIGIN_PORT
from experiments.viewer import Viewer, watch_all
from experiments.windows import Get
from lab.taps import Tap
from topologies.namespaces import NetworkNamespace

GRID_S = 2.0
"""The act begins at a multiple of this, so that microseconds before it do not change what happens in it."""
KEEP_S = 4.0
SAMPLE_INTERVAL_S = 1.0


def run(
    context: Context,
    *,
    channel: str,
    phases: Sequence[Sequence[Any]],
    viewers: Sequence[Mapping[str, Any]],
    keepers: Sequence[str] = (),
) -> None:
    """`phases` are names with the seconds at which each begins, the last one the end; `viewers` are those of
    `experiments.viewer`, without the path. The edges `keepers` are kept joined to the channel throughout."""
    testbed = context.testbed
    path = f"/{CHANNELS}/{channel}/index.m3u8"
    number = testbed.scenario.offering.channels.index(channel) if testbed.scenario.offering else 0
    stream = Stream(f"{CHANNELS}/{channel}", group_of(CHANNEL_GROUPS, number), ORIGIN_PORT)
    everyone = [Viewer(path=path, **each) for each in viewers]
    names = dict.fromkeys([*(each.user for each in everyone), *keepers])
    hosts = {name: context.namespace(name) for name in names}
    server = Server(str(testbed.plan.service), HTTP_PORT, testbed.topology.service.name)
    zero_s = context.origin_s + math.ceil(context.now_s / GRID_S + 1) * GRID_S
    times = phases_at(phases, zero_s)

    async def play() -> list[tuple[Any, ...]]:
        keeping = [asyncio.create_task(_keep(hosts[edge], server, Get(edge, 0.0, path))) for edge in keepers]
        rows = await watch_all(everyone, hosts, server, zero_s, context.origin_s)
        await asyncio.sleep(max(0.0, times[-1].end_s - time.monotonic()))
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        return rows

    with tapped(context, [stream], times), context.sampler.phase("watch", SAMPLE_INTERVAL_S):
        rows = asyncio.run(play())
    context.write("viewing.csv", viewer.COLUMNS, rows)
    write_branches(context, stream)


def write_branches(context: Context, stream: Stream) -> None:
    """When edges joined the stream and left it, into branches.csv."""
    raw = context.testbed.raw
    edges = {edge: branches.read_events(raw / f"{edge}.jsonl") for edge in context.testbed.active_edges}
    controller = branches.read_events(raw / "controller.jsonl")
    found = branches.branch_rows(stream.name, stream.group, edges, controller, context.origin_s)
    context.write("branches.csv", branches.COLUMNS, found)


def phases_at(phases: Sequence[Sequence[Any]], zero_s: float) -> list[Phase]:
    """Phases from names with their beginnings, the last one being the end of the one before."""
    return [Phase(name, zero_s + begin_s, zero_s + end_s) for (name, begin_s), (_, end_s) in pairwise(phases)]


@contextmanager
def tapped(context: Context, wanted: Sequence[Stream], phases: list[Phase]) -> Iterator[None]:
    """Look at these streams on all links; when the body ends (it may have added phases) write streams.csv and
    phases.csv."""
    topology = context.testbed.topology
    tap = Tap(topology, streams.filters(wanted))
    try:
        yield
    finally:
        seen, lost = tap.close()
    rows = stream_rows(topology, wanted, seen, phases, context.origin_s)
    context.write("streams.csv", streams.COLUMNS, rows)
    context.write(
        "phases.csv",
        ("phase", "begin_s", "end_s", "seen", "lost"),
        [
            (phase.name, f"{phase.begin_s - context.origin_s:.6f}", f"{phase.end_s - context.origin_s:.6f}",
             sum(phase.begin_s <= frame.t_s < phase.end_s for frame in seen), lost)
            for phase in phases
        ],
    )  # fmt: skip


async def _keep(namespace: NetworkNamespace, server: Server, get: Get) -> None:
    """Ask an edge for the channel again and again, on the edge itself: nothing of it is on any link."""
    while True:
        await fetch(get, namespace, server, time.monotonic())
        await asyncio.sleep(KEEP_S)
