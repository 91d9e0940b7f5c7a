"""Large blobs: their pieces arrive in any order, and are put together in a file, not in memory.

A piece is not durable by itself: after a restart a blob that was not whole begins anew.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

from edge_node.blobs import BlobFiles, DamagedError, StoreError, file_sha256
from edge_node.durable import pwrite_all


class Part:
    """The file in `tmp/` to which the pieces of one blob of `total` bytes are written; `size` of them are
    there. Room for the others is kept."""

    def __init__(self, blobs: BlobFiles, path: Path, total: int, gone: Callable[[], None]) -> None:
        self._blobs, self.path, self.total, self._gone = blobs, path, total, gone
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.size = 0
        self._is_open = True

    def gaps(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """The runs of bytes between `start` and `stop` (None: the end) that are not there: start, stop."""
        stop = self.total if stop is None else stop
        found: list[tuple[int, int]] = []
        for index in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop:
                break
            if start < self._starts[index]:
                found.append((start, self._starts[index]))
            start = self._stops[index]
        if start < stop:
            found.append((start, stop))
        return found

    def write(self, offset: int, data: bytes) -> None:
        """Write what is not there yet of the piece `data`. Raises StoreError."""
        for start, stop in self.gaps(offset, offset + len(data)):
            run = data[start - offset : stop - offset]
            self._blobs.with_room(len(run), partial(self._pwrite, run, start))
            self._note(start, stop)
            self.size += stop - start
            self._blobs.redeem(stop - start)

    def flush(self, sha256: str) -> None:
        """Make the bytes durable and read them back. Raises DamagedError unless their digest is `sha256`,
        StoreError; all pieces are gone then."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            is_right = file_sha256(self.path) == sha256
        except OSError as error:
            self.abandon()
            raise self._blobs.explained(error) from None
        if not is_right:
            self.abandon()
            raise DamagedError(f"the pieces of {sha256} make up another digest; they were thrown away")

    def abandon(self) -> None:
        """Remove the file and give its room back; harmless when repeated."""
        if self._is_open:
            self._is_open = False
            self.path.unlink(missing_ok=True)
            self._blobs.reserve(-self.size)
            self._blobs.promise(self.size - self.total)
            self._gone()

    def _pwrite(self, data: bytes, offset: int) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            pwrite_all(descriptor, data, offset)
        finally:
            os.close(descriptor)

    def _note(self, start: int, stop: int) -> None:
        """Join the run from `start` to `stop`, a gap until now, to its neighbours."""
        first, after = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if first < after:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[after - 1])
        self._starts[first:after] = [start]
        self._stops[first:after] = [stop]


class Parts:
    """The blobs that are being put together. Pieces may be written by any thread."""

    def __init__(self, blobs: BlobFiles, tmp: Path) -> None:
        self._blobs, self._tmp = blobs, tmp
        self._lock = threading.RLock()
        self._parts: dict[str, Part] = {}

    def write(self, sha256: str, size: int, offset: int, data: bytes) -> None:
        """Add a piece of the blob `sha256` of `size` bytes; what is there already stays as it is.

        Raises StoreFullError (earlier pieces stay), StoreError for a piece outside its blob.
        """
        if offset < 0 or offset + len(data) > size:
            raise StoreError(f"a piece of blob {sha256} lies outside its {size} bytes")
        with self._lock:
            part = self._parts.get(sha256)
            if part is None:
                self._blobs.promise(size)
                part = Part(self._blobs, self._tmp / f"{sha256}.part", size, partial(self.forget, sha256))
                self._parts[sha256] = part
            elif part.total != size:
                raise StoreError(f"blob {sha256} has {part.total} bytes, not {size}")
            part.write(offset, data)

    def gaps(self, sha256: str, size: int) -> list[tuple[int, int]]:
        """What is not there of the blob `sha256` of `size` bytes: runs as start and stop, in order."""
        with self._lock:
            part = self._parts.get(sha256)
            if part is not None:
                return part.gaps()
        return [(0, size)] if size else []

    def is_whole(self, sha256: str) -> bool:
        """Whether all pieces are there, but not the blob yet."""
        with self._lock:
            part = self._parts.get(sha256)
            return part is not None and part.size == part.total

    def has(self, sha256: str, offset: int) -> bool:
        """Whether the byte at `offset` is there."""
        with self._lock:
            part = self._parts.get(sha256)
            return part is not None and not part.gaps(offset, offset + 1)

    def part(self, sha256: str) -> Part:
        """The file of a blob that `is_whole`, to be committed. Raises KeyError."""
        return self._parts[sha256]

    def forget(self, sha256: str) -> None:
        """The file of a blob is not here any more: it has become the blob, or was abandoned."""
        with self._lock:
            self._parts.pop(sha256, None)

    def discard(self, sha256: str) -> None:
        """Throw the pieces of a blob away; harmless when there are none."""
        with self._lock:
            part = self._parts.get(sha256)
            if part is not None:
                part.abandon()

    def discard_all_but(self, wanted: Container[str]) -> None:
        """Throw away the pieces of all blobs that are not in `wanted`."""
        with self._lock:
            for sha256 in [sha256 for sha256 in self._parts if sha256 not in wanted]:
                self.discard(sha256)
