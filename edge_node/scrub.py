"""Scrubbing: reading all blobs again, little by little, to find what the disk has spoilt while nobody looked.

A damaged blob is removed, and so missing; it is healed by being fetched again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge_node.store import Store


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: the bytes it read, the blobs it found damaged and removed, and whether it ended a
    round over all blobs."""

    bytes: int
    damaged: tuple[str, ...] = ()
    ends_round: bool = False


class Scrubber:
    """Goes round all blobs of a store in the order of their names, at most `step_bytes` at a time; a large
    blob takes several steps, small ones share one.

    Blobs that come or go during a round are no error. To be used by one thread at a time, beside others that
    use the store.
    """

    def __init__(self, store: Store, step_bytes: int = 1 << 20) -> None:
        self._store, self._step_bytes = store, step_bytes
        self._rest: list[str] | None = None
        self._name = ""
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()

    def step(self) -> Step:
        """Read on."""
        if self._rest is None:
            self._rest = self._store.blobs.names()[::-1]
        read = 0
        damaged: list[str] = []
        while read < self._step_bytes:
            if self._descriptor is None:
                if not self._rest:
                    self._rest = None
                    return Step(read, tuple(damaged), ends_round=True)
                self._open(self._rest.pop())
            chunk = self._read(self._step_bytes - read)
            read += len(chunk)
            if not chunk and not self._finish():
                damaged.append(self._name)
        return Step(read, tuple(damaged))

    def close(self) -> None:
        """Leave the blob that was begun; the next step goes on with the one after it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # What nobody asked for does not stay in the machine's memory.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def _open(self, name: str) -> None:
        self._name, self._digest = name, hashlib.sha256()
        try:
            self._descriptor = os.open(self._store.path(name), os.O_RDONLY)
        except OSError:
            return  # removed since, or lost: `_finish` tells which
        # What the machine has in memory may be better than what is on the disk.
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _read(self, size: int) -> bytes:
        """The next bytes; none at the end, and where there are none to be had."""
        if self._descriptor is None:
            return b""
        try:
            chunk = os.read(self._descriptor, size)
        except OSError:
            return b""
        self._digest.update(chunk)
        return chunk

    def _finish(self) -> bool:
        """Whether the blob that was read is in order. Before it is condemned what is now under its name is
        read again from the start: the file may have been replaced."""
        self.close()
        if self._digest.hexdigest() == self._name or not self._store.has(self._name):
            return True
        return self._store.check(self._name)


async def scrub(
    scrubber: Scrubber,
    rate_bytes_s: float,
    damaged: Callable[[str], None],
    *,
    pause_s: float = 3600.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Scrub until cancelled, at most `rate_bytes_s` on average and pausing `pause_s` between rounds.
    `damaged` is told of each blob that was removed, on the event loop; the disk is read on another thread."""
    try:
        while True:
            step = await _in_thread(scrubber)
            for sha256 in step.damaged:
                damaged(sha256)
            await sleep(pause_s if step.ends_round else step.bytes / rate_bytes_s)
    finally:
        scrubber.close()


async def _in_thread(scrubber: Scrubber) -> Step:
    """One step; when cancelled, its end is waited for, so that nobody reads from a file that is closed."""
    task = asyncio.ensure_future(asyncio.to_thread(scrubber.step))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
