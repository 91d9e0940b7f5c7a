"""The content of one upstream response between its arrival and its readers."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from edge_node.blobs import BlobFiles, Staging, StoreError

_CHUNK_BYTES = 64 << 10
_MOST_WAITING_BYTES = 256 << 10
"""How far the upstream may be ahead of the slowest client while nothing is kept."""


class BrokenOffError(Exception):
    """The content ends before it is whole."""


class Spool:
    """As long as it is kept the content goes to a file in `tmp/`, and readers follow at their own pace. What
    is not, or not any more, goes to them directly, and the slowest holds back the writer."""

    def __init__(self) -> None:
        self.size = 0
        self.written = 0
        """The bytes that are in the file."""
        self._staging: Staging | None = None
        self._descriptor: int | None = None
        self._readers: set[Reader] = set()
        self._changed = asyncio.Event()
        self._ended = self._broken = False

    @property
    def is_kept(self) -> bool:
        """Whether all of the content is in the file."""
        return self._staging is not None

    @property
    def is_whole(self) -> bool:
        """Whether all of the content has come."""
        return self._ended and not self._broken

    @property
    def has_ended(self) -> bool:
        """Whether no more comes. Raises BrokenOffError when it was not all."""
        if self._broken:
            raise BrokenOffError
        return self._ended

    def keep(self, blobs: BlobFiles, expected_bytes: int = 0) -> bool:
        """Write what comes aside; False when there is no room for it."""
        try:
            blobs.check_room(expected_bytes)
            self._staging = blobs.stage()
            self._descriptor = os.open(self._staging.path, os.O_RDONLY)
        except (StoreError, OSError):
            self.stop_keeping()
        return self.is_kept

    def stop_keeping(self) -> None:
        """From now on content goes to those who read already, and to nobody else."""
        staging = self.hand_over()
        if staging is not None:
            staging.abandon()

    def hand_over(self) -> Staging | None:
        """What was written aside, which is the caller's from now on."""
        staging, self._staging = self._staging, None
        return staging

    async def put(self, data: bytes) -> None:
        """Add content. When there is no room any more it is not kept."""
        self.size += len(data)
        if self._staging is not None:
            with suppress(StoreError):
                self._staging.write(data)
                self.written += len(data)
                self._tell()
                return
            self.stop_keeping()
        for reader in self._readers:
            reader.waiting.append(data)
            reader.waiting_bytes += len(data)
        self._tell()
        while any(reader.waiting_bytes > _MOST_WAITING_BYTES for reader in self._readers):
            await self.change()

    def end(self, *, broken: bool = False) -> None:
        """No more comes: the content is whole, or `broken` off."""
        self._ended, self._broken = True, broken
        self._tell()

    def close(self) -> None:
        """Give up the file; readers have it open on their own."""
        self.stop_keeping()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def reader(self) -> Reader:
        """Whoever reads the content from its beginning; close it."""
        reader = Reader(self, None if self._descriptor is None else os.dup(self._descriptor))
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """A reader wants no more."""
        self._readers.discard(reader)
        self._tell()

    def took(self) -> None:
        """A reader has made room."""
        self._tell()

    async def change(self) -> None:
        """Wait for content, room or the end."""
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Reader:
    """Reads a spool, first what is in its file, then what `waiting` brings."""

    def __init__(self, spool: Spool, descriptor: int | None) -> None:
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self._spool, self._descriptor = spool, descriptor
        self._offset = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content as it comes. Raises BrokenOffError where it breaks off."""
        while True:
            data = self._next()
            if data:
                yield data
            elif self._spool.has_ended:
                return
            else:
                await self._spool.change()

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        self._spool.leave(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _next(self) -> bytes:
        if self._descriptor is not None and self._offset < self._spool.written:
            most = min(_CHUNK_BYTES, self._spool.written - self._offset)
            data = os.pread(self._descriptor, most, self._offset)
            self._offset += len(data)
            return data
        if not self.waiting:
            return b""
        data = self.waiting.popleft()
        self.waiting_bytes -= len(data)
        self._spool.took()
        return data
