"""Content for answers: small blobs from memory, large ones chunk by chunk from their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from edge_node.coded_forms import DEFAULT_BYTES, CodedForms
from edge_node.http.messages import Slice
from edge_node.memory import MemoryCache
from edge_node.store import Store

SMALL_BYTES = 1 << 20
"""Blobs up to this size are kept in memory."""
QUICK_BYTES = 64 << 10
"""Content up to this size is sent in one piece."""
_BUFFERED_BYTES = 64 << 20
_LEAST_CHUNK_BYTES, _MOST_CHUNK_BYTES = 16 << 10, 256 << 10


def chunk_bytes(requests: int) -> int:
    """How much of larger content is sent at once while so many requests are being answered.

    A chunk costs some 50 µs of the event loop at most; all of them, which clients may be slow to read, take
    about as much memory however many clients there are.
    """
    return max(_LEAST_CHUNK_BYTES, min(_MOST_CHUNK_BYTES, _BUFFERED_BYTES // max(1, requests)))


class BlobGoneError(Exception):
    """A blob has been removed since it was looked up: replaced, evicted, or found damaged."""

    def __init__(self, sha256: str) -> None:
        super().__init__(sha256)
        self.sha256 = sha256


class OpenContent:
    """Pieces of content whose files are open, so that removal does not matter any more; a context manager."""

    def __init__(
        self, pieces: Sequence[bytes | Slice], descriptors: dict[str, int], chunk_bytes: Callable[[], int]
    ) -> None:
        self._pieces, self._descriptors, self._chunk_bytes = pieces, descriptors, chunk_bytes

    def __enter__(self) -> OpenContent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order."""
        for piece in self._pieces:
            offset, stop = (0, len(piece)) if isinstance(piece, bytes) else (piece.start, piece.stop)
            while offset < stop:
                length = min(self._chunk_bytes(), stop - offset)
                if isinstance(piece, bytes):
                    yield piece[offset : offset + length]
                else:
                    yield os.pread(self._descriptors[piece.sha256], length, offset)
                offset += length


class Contents:
    """Opens content of blobs in `store`, and of their `forms`, which take at most `forms_bytes`; `requests`
    says how many are being answered."""

    def __init__(
        self, store: Store, requests: Callable[[], int] = lambda: 1, *, forms_bytes: int = DEFAULT_BYTES
    ) -> None:
        self._store, self._memory = store, MemoryCache(max_item_bytes=SMALL_BYTES)
        self.forms = CodedForms(self._read, forms_bytes)
        self._chunk_bytes = lambda: chunk_bytes(requests())

    def open(self, pieces: Sequence[bytes | Slice]) -> bytes | OpenContent:
        """All of the content when it is little and its blobs small enough for memory, else what to read it
        from. Raises BlobGoneError."""
        read: list[bytes] = []
        for piece in pieces:
            if isinstance(piece, bytes):
                read.append(piece)
                continue
            blob = self._small(piece.sha256)
            if blob is None:
                return OpenContent(pieces, self._opened(pieces), self._chunk_bytes)
            read.append(blob if len(piece) == len(blob) else blob[piece.start : piece.stop])
        if sum(map(len, read)) > QUICK_BYTES:
            return OpenContent(read, {}, self._chunk_bytes)
        return read[0] if len(read) == 1 else b"".join(read)

    def remember(self, sha256: str, content: bytes) -> None:
        """Have a small blob at hand from now on, whether it is in the store yet or not."""
        self._memory.put(sha256, content)

    def _small(self, sha256: str) -> bytes | None:
        """A blob that is small enough for memory, or a form; None for a larger blob."""
        blob = self._memory.get(sha256)
        if blob is None:
            blob = self.forms.get(sha256)
        if blob is not None:
            return blob
        try:
            if self._store.blobs.size(sha256) > self._memory.max_item_bytes:
                return None
        except KeyError:
            raise BlobGoneError(sha256) from None
        blob = self._read(sha256)
        self._memory.put(sha256, blob)
        return blob

    def _read(self, sha256: str) -> bytes:
        """A blob from the disk, on any thread. Raises BlobGoneError."""
        try:
            blob = self._store.path(sha256).read_bytes()
        except FileNotFoundError:
            raise BlobGoneError(sha256) from None
        if hashlib.sha256(blob).hexdigest() != sha256:
            # What the disk has spoilt is removed; what was replaced meanwhile can be read now.
            self._store.check(sha256)
            raise BlobGoneError(sha256)
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
