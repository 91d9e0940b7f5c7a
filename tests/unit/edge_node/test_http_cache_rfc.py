"""RFC 9111 and its companions as a table: what is asked, what the origin says, what must come of it.

Each row runs through an ASGI application around the machine, against a clock that moves only when told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge_node.http.cache.actions import Fetch
from edge_node.http.cache.policy import Policy
from tests.unit.edge_node import rfc_rows_forwarding, rfc_rows_storing, rfc_rows_using
from tests.unit.edge_node.cache_shell import CacheShell, Upstream, UpstreamError
from tests.unit.edge_node.rfc_language import NOW_S, Row, Says, Step, raw

ROWS = [*rfc_rows_storing.ROWS, *rfc_rows_using.ROWS, *rfc_rows_forwarding.ROWS]


class Origin:
    """Says what the current step has it say."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.says: Says | None = None
        self.asked: list[Fetch] = []

    async def connect(self, fetch: Fetch, body: AsyncIterator[bytes]) -> Upstream:
        self.asked.append(fetch)
        async for _ in body:
            pass
        if self.says is None:
            raise UpstreamError
        return Upstream(self.says.head(self.now_s), chunks(self.says.body))


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 4):
        yield body[start : start + 4]


async def ask(shell: CacheShell, sent: Step) -> tuple[int, dict[str, str], bytes]:
    """One request through the ASGI application."""
    path, _, query = sent.path.partition("?")
    scope = {
        "method": sent.method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "http_version": "1.1",
        "headers": [(b"host", b"h"), *((n.encode(), v.encode()) for n, v in raw(sent.sends))],
    }
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        messages.append(message)

    await shell(scope, receive, send)
    head, *bodies = messages
    fields = {name.decode(): value.decode() for name, value in head["headers"]}
    return head["status"], fields, b"".join(message["body"] for message in bodies)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_row(row: Row) -> None:
    _, requirement, steps = row
    asyncio.run(run(requirement, steps))


async def run(requirement: str, steps: list[Step]) -> None:
    origin = Origin()
    shell = CacheShell(Policy("edge1"), origin.connect, lambda: origin.now_s)
    for number, sent in enumerate(steps):
        where = f"{requirement}, step {number}"
        origin.now_s += sent.wait_s
        origin.says = sent.says
        origin.asked.clear()
        status, fields, body = await ask(shell, sent)
        for spool in list(shell.spools.values()):  # what goes on behind the answer
            if spool.task is not None:
                await asyncio.gather(spool.task, return_exceptions=True)
        expected = {"cache": 0, "origin": 1, "both": 1, "away": 1, "twice": 2}[sent.by]
        assert len(origin.asked) == expected, where
        assert status == sent.status, where
        for name, value in sent.has.items():
            assert fields.get(name) == value, f"{where}: {name}"
        if sent.body is not None:
            assert body == sent.body, where
        elif sent.says is not None and sent.by == "origin" and sent.method != "HEAD" and status != 502:
            assert body == sent.says.body, where
        for name, value in sent.asked.items():
            assert dict(origin.asked[0].fields).get(name) == value, f"{where}: asked {name}"


def test_there_are_enough_rows() -> None:
    assert len(ROWS) >= 60
    assert len({row[0] for row in ROWS}) == len(ROWS)
