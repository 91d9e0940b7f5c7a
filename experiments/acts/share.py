"""Users upload to their edge, and others read it: what it takes, and what it puts on every link."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from delivery.sessions import LOCAL
from experiments.acts.context import Context
from experiments.acts.watch import SAMPLE_INTERVAL_S, tapped, write_branches
from experiments.http_client import COLUMNS, Answer, Server, fetch, row, upload
from experiments.offering import LOCAL_GROUPS, group_of
from experiments.streams import Phase, Stream
from experiments.testbed import HTTP_PORT, SYNC_PORT
from experiments.windows import Get
from topologies.spec import Role

UPLOAD, READ, WAIT = "upload", "read", "wait"


def run(context: Context, *, steps: Sequence[Mapping[str, Any]]) -> None:
    """One step after the other, each {"phase", "step", "do", …}. `upload`: `user` puts an `item` of `bytes`;
    `read`: `user` gets an `item` that was uploaded; `wait`: nothing for `s` seconds.

    A phase lasts from its first step to the first of the next one. Requests go to requests.csv, with the
    step as their window.
    """
    testbed = context.testbed
    edges = testbed.topology.of_role(Role.EDGE)
    sessions = [
        Stream(f"{LOCAL}/{edge}", group_of(LOCAL_GROUPS, number), SYNC_PORT)
        for number, edge in enumerate(edges)
    ]
    streams = [Stream(LOCAL, "", HTTP_PORT), *(sessions if testbed.active_edges else ())]
    phases: list[Phase] = []
    with tapped(context, streams, phases), context.sampler.phase("share", SAMPLE_INTERVAL_S):
        rows, begins = asyncio.run(_Sharing(context).play(steps))
        names = list(begins)
        ends = [*list(begins.values())[1:], time.monotonic()]
        phases += [Phase(name, begins[name], end) for name, end in zip(names, ends, strict=True)]
    context.write("requests.csv", COLUMNS, rows)
    for session in sessions if testbed.active_edges else ():
        write_branches(context, session)


class _Sharing:
    """The users, and what they have uploaded so far."""

    def __init__(self, context: Context) -> None:
        testbed = context.testbed
        self._context = context
        self._server = Server(str(testbed.plan.service), HTTP_PORT, testbed.topology.service.name)
        self._random = random.Random(f"share {testbed.scenario.seed}")
        self._items: dict[str, tuple[str, bytes]] = {}

    async def play(
        self, steps: Sequence[Mapping[str, Any]]
    ) -> tuple[list[tuple[Any, ...]], dict[str, float]]:
        """The rows of requests.csv, and when each phase began."""
        rows = []
        begins: dict[str, float] = {}
        for step in steps:
            begins.setdefault(step["phase"], time.monotonic())
            if step["do"] == WAIT:
                await asyncio.sleep(step["s"])
                continue
            path, answer = await (self._upload(step) if step["do"] == UPLOAD else self._read(step))
            rows.append(row(step["step"], Get(step["user"], 0.0, path), answer, self._context.origin_s))
        return rows, begins

    async def _upload(self, step: Mapping[str, Any]) -> tuple[str, Answer]:
        path = f"/{LOCAL}/{step['item']}"
        content = self._random.randbytes(step["bytes"])
        answer = await upload(self._context.namespace(step["user"]), self._server, path, content)
        if answer.location:
            self._items[step["item"]] = answer.location, content
        return path, answer

    async def _read(self, step: Mapping[str, Any]) -> tuple[str, Answer]:
        path, wanted = self._items.get(step["item"], (f"/{LOCAL}/{step['item']}", b""))
        got = bytearray()
        get = Get(step["user"], 0.0, path)
        namespace = self._context.namespace(step["user"])
        answer = await fetch(get, namespace, self._server, time.monotonic(), got)
        if not answer.error and answer.status == 200 and got != wanted:
            answer.error = "differs"
        return path, answer
