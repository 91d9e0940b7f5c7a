"""Group commit: what arrives while the disk is busy is written together in the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from delivery.manifest import Manifest
from edge_node.blobs import Staging, StoreError
from edge_node.store import Store


@dataclass(frozen=True, slots=True)
class NewBlob:
    """A blob to be verified, stored and made visible; `content` is in memory or already in `tmp/`."""

    sha256: str
    content: bytes | Staging


@dataclass(frozen=True, slots=True)
class NewManifest:
    """A verified manifest, to be made the newest."""

    manifest: Manifest
    signed: bytes


Job: TypeAlias = NewBlob | NewManifest


class Writer:
    """Applies jobs to the store in their order, on one thread, so that the event loop never waits for a disk.

    `settled` is called on the loop after each batch, when all of it is durable.
    """

    def __init__(self, store: Store, settled: Callable[[], None]) -> None:
        self.store, self._settled = store, settled
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting: list[tuple[Job, asyncio.Future[None]]] = []
        self._pending: dict[str, int] = {}
        self._worker: asyncio.Task[None] | None = None

    def has(self, sha256: str) -> bool:
        """Whether the blob is stored, or about to be."""
        return sha256 in self._pending or self.store.has(sha256)

    def submit(self, job: Job) -> asyncio.Future[None]:
        """Queue a job; the future ends once it is durable, or raises its StoreError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((job, future))
        if isinstance(job, NewBlob):
            self._pending[job.sha256] = self._pending.get(job.sha256, 0) + 1
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return future

    async def drained(self) -> None:
        """Wait until nothing is queued or being written."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def close(self) -> None:
        """Finish what is queued."""
        await self.drained()
        self._executor.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            jobs = [job for job, _ in batch]
            outcomes: list[StoreError | None]
            try:
                outcomes = await loop.run_in_executor(self._executor, apply, self.store, jobs)
            except OSError as error:
                outcomes = [StoreError(f"{self.store.root}: the disk fails: {error.strerror}") for _ in jobs]
            for (job, future), outcome in zip(batch, outcomes, strict=True):
                if isinstance(job, NewBlob):
                    self._pending[job.sha256] -= 1
                    if not self._pending[job.sha256]:
                        del self._pending[job.sha256]
                if future.cancelled():
                    continue
                if outcome is None:
                    future.set_result(None)
                else:
                    future.set_exception(outcome)
            self._settled()
        self._worker = None


def apply(store: Store, jobs: list[Job]) -> list[StoreError | None]:
    """Apply jobs in order, all blobs between two manifests in one commit. Blocks; the outcome of each job."""
    outcomes: list[StoreError | None] = []
    run: list[tuple[str, bytes | Staging]] = []
    for job in jobs:
        if isinstance(job, NewBlob):
            run.append((job.sha256, job.content))
            continue
        outcomes += store.put(run)
        run = []
        try:
            store.accept_manifest(job.signed, job.manifest)
            outcomes.append(None)
        except StoreError as error:
            outcomes.append(error)
    outcomes += store.put(run)
    store.settle()
    return outcomes
