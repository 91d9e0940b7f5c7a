"""Content for answers: small blobs from memory, large ones chunk by chunk from their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from types import TracebackType

from edge_node.http.messages import Slice
from edge_node.memory import MemoryCache
from edge_node.store import Store

SMALL_BYTES = 1 << 20
"""Blobs up to this size are kept in memory."""
CHUNK_BYTES = 256 << 10
"""How much of a large file is read at once: some 50 µs of the event loop from the page cache."""


class BlobGoneError(Exception):
    """A blob has been removed since it was looked up: replaced, evicted, or found damaged."""

    def __init__(self, sha256: str) -> None:
        super().__init__(sha256)
        self.sha256 = sha256


class OpenContent:
    """Pieces of content whose files are open, so that removal does not matter any more; a context manager."""

    def __init__(self, pieces: Sequence[bytes | Slice], descriptors: dict[str, int]) -> None:
        self._pieces, self._descriptors = pieces, descriptors

    def __enter__(self) -> OpenContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            for offset in range(piece.start, piece.stop, CHUNK_BYTES):
                length = min(CHUNK_BYTES, piece.stop - offset)
                yield os.pread(self._descriptors[piece.sha256], length, offset)


class Contents:
    """Opens content of blobs in `store`."""

    def __init__(self, store: Store) -> None:
        self._store, self._memory = store, MemoryCache(max_item_bytes=SMALL_BYTES)

    def open(self, pieces: Sequence[bytes | Slice]) -> bytes | OpenContent:
        """All of the content when its blobs are small enough for memory, else the open files that it comes
        from. Raises BlobGoneError."""
        read: list[bytes] = []
        for piece in pieces:
            if isinstance(piece, bytes):
                read.append(piece)
                continue
            blob = self._small(piece.sha256)
            if blob is None:
                return OpenContent(pieces, self._opened(pieces))
            read.append(blob if piece.stop - piece.start == len(blob) else blob[piece.start : piece.stop])
        return read[0] if len(read) == 1 else b"".join(read)

    def remember(self, sha256: str, content: bytes) -> None:
        """Have a small blob at hand from now on, whether it is in the store yet or not."""
        self._memory.put(sha256, content)

    def _small(self, sha256: str) -> bytes | None:
        """A blob that is small enough for memory; None for a larger one."""
        blob = self._memory.get(sha256)
        if blob is not None:
            return blob
        try:
            if self._store.blobs.size(sha256) > self._memory.max_item_bytes:
                return None
            blob = self._store.path(sha256).read_bytes()
        except (FileNotFoundError, KeyError):
            raise BlobGoneError(sha256) from None
        if hashlib.sha256(blob).hexdigest() != sha256 and not self._store.check(sha256):
            raise BlobGoneError(sha256)  # the disk has spoilt it, so it is not here any more
        self._memory.put(sha256, blob)
        return blob

    def _opened(self, pieces: Sequence[bytes | Slice]) -> dict[str, int]:
        descriptors: dict[str, int] = {}
        for piece in pieces:
            if isinstance(piece, bytes) or piece.sha256 in descriptors:
                continue
            try:
                descriptors[piece.sha256] = os.open(self._store.path(piece.sha256), os.O_RDONLY)
            except FileNotFoundError:
                for descriptor in descriptors.values():
                    os.close(descriptor)
                raise BlobGoneError(piece.sha256) from None
        return descriptors
