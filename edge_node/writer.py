"""Group commit: what arrives while the disk is busy is written together in the next batch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from delivery.manifest import Manifest
from edge_node.blobs import Aside, StoreError
from edge_node.store import Store

_WHOLE = -1
"""Stands for the offset of a piece where the whole blob is meant."""


@dataclass(frozen=True, slots=True)
class NewBlob:
    """A blob to be verified, stored and made visible; `content` is in memory or already in `tmp/`."""

    sha256: str
    content: bytes | Aside


@dataclass(frozen=True, slots=True)
class NewPiece:
    """A piece of a large blob of `size` bytes, which begins at `offset`. The blob is verified, stored and
    made visible with the last one that is missing; until then a piece does not survive a restart."""

    sha256: str
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class NewManifest:
    """A verified manifest, to be made the newest of the site with this `prefix`.

    What is stored before a manifest lists it is removed after its batch: submit such blobs and the manifest
    one right after the other.
    """

    manifest: Manifest
    signed: bytes
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class DropSite:
    """A site that is not received any more, to be forgotten (`Store.drop_site`)."""

    prefix: str


Job: TypeAlias = NewBlob | NewPiece | NewManifest | DropSite


class Writer:
    """Applies jobs to the store in their order, on one thread, so that the event loop never waits for a disk.

    `settled` is called on the loop after each batch, when all of it is durable.
    """

    def __init__(self, store: Store, settled: Callable[[], None]) -> None:
        self.store, self._settled = store, settled
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting: list[tuple[Job, asyncio.Future[None]]] = []
        self._pending: Counter[tuple[str, int]] = Counter()
        self._worker: asyncio.Task[None] | None = None

    def has(self, sha256: str) -> bool:
        """Whether the blob is stored, or about to be."""
        return (sha256, _WHOLE) in self._pending or self.store.has(sha256)

    def has_piece(self, sha256: str, offset: int) -> bool:
        """Whether the piece that begins at `offset` is here, with its blob or without, or about to be."""
        is_pending = (sha256, offset) in self._pending
        return is_pending or self.has(sha256) or self.store.parts.has(sha256, offset)

    def submit(self, job: Job) -> asyncio.Future[None]:
        """Queue a job; the future ends once it is durable, or raises its StoreError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((job, future))
        if (key := _pending_key(job)) is not None:
            self._pending[key] += 1
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
                if (key := _pending_key(job)) is not None:
                    self._pending[key] -= 1
                    if not self._pending[key]:
                        del self._pending[key]
                if future.cancelled():
                    continue
                if outcome is None:
                    future.set_result(None)
                else:
                    future.set_exception(outcome)
            self._settled()
        self._worker = None


def _pending_key(job: Job) -> tuple[str, int] | None:
    match job:
        case NewBlob(sha256):
            return sha256, _WHOLE
        case NewPiece(sha256, _, offset):
            return sha256, offset
    return None


def apply(store: Store, jobs: list[Job]) -> list[StoreError | None]:
    """Apply jobs in order, all blobs between two manifests in one commit. Blocks; the outcome of each job."""
    with store.lock:  # a blob and the manifest that lists it belong together
        outcomes = _apply(store, jobs)
        store.settle()
    return outcomes


def _apply(store: Store, jobs: list[Job]) -> list[StoreError | None]:
    outcomes: list[StoreError | None] = [None] * len(jobs)
    run: list[tuple[int, str, bytes | Aside]] = []

    def commit() -> None:
        committed = store.put([(sha256, content) for _, sha256, content in run])
        for (place, _, _), outcome in zip(run, committed, strict=True):
            outcomes[place] = outcome
        run.clear()

    for place, job in enumerate(jobs):
        try:
            match job:
                case NewBlob(sha256, content):
                    run.append((place, sha256, content))
                case NewPiece():
                    part = _add_piece(store, job)
                    if part is not None and all(sha256 != job.sha256 for _, sha256, _ in run):
                        run.append((place, job.sha256, part))
                case NewManifest(manifest, signed, prefix):
                    commit()
                    store.accept_manifest(signed, manifest, prefix)
                case DropSite(prefix):
                    commit()
                    store.drop_site(prefix)
        except StoreError as error:
            outcomes[place] = error
    commit()
    return outcomes


def _add_piece(store: Store, job: NewPiece) -> Aside | None:
    """Write a piece; the blob's file, when this piece has made it whole."""
    if store.has(job.sha256):
        return None
    store.parts.write(job.sha256, job.size, job.offset, job.data)
    return store.parts.part(job.sha256) if store.parts.is_whole(job.sha256) else None
