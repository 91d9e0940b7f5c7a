"""Content that is fetched when somebody asks for it: one fetch for all who wait (request coalescing)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from delivery.manifest import FileEntry
from edge_node.catch_up import fetch_blob
from edge_node.origin_client import OriginConnection
from edge_node.writer import Writer

MOST_AT_ONCE = 32
"""Fetches under way at the same time; others wait their turn."""


class Fetcher:
    """Fetches single blobs by unicast; `url_of` gives the API of the site with a prefix."""

    def __init__(self, writer: Writer, url_of: Callable[[str], str]) -> None:
        self.fetched_blobs = 0
        self.fetched_bytes = 0
        self._writer, self._url_of = writer, url_of
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def fetch(self, prefix: str, entry: FileEntry) -> None:
        """Return once the content of a file is here. Raises OriginError, StoreError."""
        task = self._under_way.get(entry.sha256)
        if task is None:
            task = asyncio.create_task(self._fetch(self._url_of(prefix), entry))
            self._under_way[entry.sha256] = task
            task.add_done_callback(lambda _task: self._under_way.pop(entry.sha256, None))
        await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, url: str, entry: FileEntry) -> None:
        async with self._turns, OriginConnection(url) as origin:
            stored = await fetch_blob(origin, self._writer, entry.sha256, entry.size)
        await stored
        self.fetched_blobs += 1
        self.fetched_bytes += entry.size
