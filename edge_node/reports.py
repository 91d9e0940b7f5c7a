"""Tells the origin how reception stands (POST /reports, docs/architecture.md), without waiting for it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from edge_node.journal import Journal
from edge_node.origin_client import OriginConnection, OriginError

_ATTEMPTS = 8


def back_off_s(generator: random.Random, *, first_s: float, most_s: float) -> Iterator[float]:
    """Waiting times that double from `first_s` up to `most_s`, each shortened by up to half at random."""
    wait_s = first_s
    while True:
        yield wait_s * generator.uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, most_s)


@dataclass(frozen=True, slots=True)
class _Report:
    version: int
    complete: bool
    missing: Mapping[int, int]

    def after(self, earlier: _Report | None) -> _Report:
        """This report, with what an earlier one that was not delivered asked for besides."""
        if earlier is None or self.complete or earlier.complete or earlier.version != self.version:
            return self
        return _Report(self.version, False, {**earlier.missing, **self.missing})


class Reporter:
    """Sends reports one after the other; those that wait meanwhile are sent as one."""

    def __init__(self, origin_url: str, edge: str, seed: int, journal: Journal) -> None:
        self._url, self._edge, self._journal = origin_url, edge, journal
        self._random = random.Random(f"reports {edge} {seed}")
        self._next: _Report | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def report(self, version: int, *, complete: bool, missing: Mapping[int, int] | None = None) -> None:
        """Report that `version` is complete, or the symbols missing per TOI."""
        self._next = _Report(version, complete, missing or {}).after(self._next)
        self._news.set()
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
                report, self._next = self._next, None
                self._news.clear()
                await self._deliver(report)
        finally:
            self._task = None

    async def _deliver(self, report: _Report) -> None:
        waits = back_off_s(self._random, first_s=0.5, most_s=30.0)
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Something new to say does not wait for what could not be said before.
                with suppress(TimeoutError):
                    async with asyncio.timeout(next(waits)):
                        await self._news.wait()
                if self._next is not None:
                    self._next = self._next.after(report)
                    return
            try:
                async with OriginConnection(self._url) as origin:
                    answer = await origin.post("/reports", self._body(report), "application/json")
            except OriginError as error:
                problem = str(error)
                continue
            if answer.status < 300:
                return
            problem = f"the origin answered {answer.status} to a report"
            if answer.status < 500:
                break
        self._journal.problem(f"{problem}; the report is given up")

    def _body(self, report: _Report) -> bytes:
        symbols = {str(toi): count for toi, count in report.missing.items()}
        fields = {"edge": self._edge, "version": report.version, "complete": report.complete}
        return json.dumps(fields | {"missing": symbols}).encode()
