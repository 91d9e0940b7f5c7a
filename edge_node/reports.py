"""Tells the origin how reception stands (POST /reports, docs/architecture.md), without waiting for it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping

from edge_node.journal import Journal
from edge_node.origin_client import OriginConnection, OriginError

_ATTEMPTS = 8


def back_off_s(generator: random.Random, *, first_s: float, most_s: float) -> Iterator[float]:
    """Waiting times that double from `first_s` up to `most_s`, each shortened by up to half at random."""
    wait_s = first_s
    while True:
        yield wait_s * generator.uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, most_s)


class Reporter:
    """Sends the newest report; one that is overtaken by a newer one is not sent any more."""

    def __init__(self, origin_url: str, edge: str, seed: int, journal: Journal) -> None:
        self._url, self._edge, self._journal = origin_url, edge, journal
        self._random = random.Random(f"reports {edge} {seed}")
        self._next: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def report(self, version: int, *, complete: bool, missing: Mapping[int, int] | None = None) -> None:
        """Report that `version` is complete, or the symbols missing per TOI."""
        symbols = {str(toi): count for toi, count in (missing or {}).items()}
        report = {"edge": self._edge, "version": version, "complete": complete, "missing": symbols}
        self._next = json.dumps(report).encode()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def close(self) -> None:
        """Give up what has not been sent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _send(self) -> None:
        try:
            while self._next is not None:
                body, self._next = self._next, None
                await self._deliver(body)
        finally:
            self._task = None

    async def _deliver(self, body: bytes) -> None:
        waits = back_off_s(self._random, first_s=0.5, most_s=30.0)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(next(waits))
                if self._next is not None:
                    return
            try:
                async with OriginConnection(self._url) as origin:
                    answer = await origin.post("/reports", body, "application/json")
            except OriginError as error:
                problem = str(error)
                continue
            if answer.status < 300:
                return
            problem = f"the origin answered {answer.status} to a report"
            if answer.status < 500:
                break
        self._journal.problem(f"{problem}; the report is given up")
