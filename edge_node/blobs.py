"""The content-addressed part of the store: blobs by their SHA-256, complete and verified or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Container, Iterable, Sequence
from io import FileIO
from pathlib import Path

from edge_node.durable import fsync_directory

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StoreError(Exception):
    """The store cannot do what was asked; the message says what, where and what to do, in one line."""


class StoreFullError(StoreError):
    """There is no room for a blob. What is stored stays, and is still served."""


class DamagedError(StoreError):
    """Content that does not have the digest it was announced under; it was thrown away."""


class Staging:
    """A blob being written to `tmp/`: `write` it, then hand it to `BlobFiles.commit` or `abandon` it."""

    def __init__(self, blobs: BlobFiles, path: Path, file: FileIO) -> None:
        self._blobs, self.path, self._file = blobs, path, file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`. Raises StoreFullError, after abandoning what was written."""
        try:
            self._blobs.reserve(len(data))
            self.size += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except StoreFullError:
            self.abandon()
            raise
        except OSError as error:
            self.abandon()
            raise self._blobs.explained(error) from None
        self._digest.update(data)

    def flush(self, sha256: str) -> None:
        """Make the bytes durable. Raises DamagedError unless their digest is `sha256`, StoreFullError."""
        if self._digest.hexdigest() != sha256:
            self.abandon()
            raise DamagedError(f"content announced as {sha256} has another digest; it was thrown away")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            self.abandon()
            raise self._blobs.explained(error) from None

    def abandon(self) -> None:
        """Remove the file and give its room back; harmless when repeated."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self._blobs.reserve(-self.size)
        self.size = 0


class BlobFiles:
    """Blobs under `root/blobs`, those being written under `root/tmp`.

    `max_bytes` limits the sum of both. One thread may commit and remove while others stage and read.
    """

    def __init__(self, root: Path, max_bytes: int | None = None) -> None:
        self._blobs, self._tmp, self._max_bytes = root / "blobs", root / "tmp", max_bytes
        self._lock = threading.Lock()
        self._staged = 0
        self._sizes: dict[str, int] = {}
        for folder in sorted(self._blobs.iterdir()):
            self._sizes |= {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        self._used = sum(self._sizes.values())

    @property
    def used_bytes(self) -> int:
        """Bytes of all blobs, those being written included."""
        return self._used

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._sizes

    def size(self, sha256: str) -> int:
        """The size of a stored blob in bytes. Raises KeyError when it is not stored."""
        return self._sizes[sha256]

    def path(self, sha256: str) -> Path:
        """Where the blob is, or will be once committed."""
        return self._blobs / sha256[:2] / sha256

    def stage(self) -> Staging:
        """Begin to write a blob. Raises StoreError."""
        with self._lock:
            self._staged += 1
            path = self._tmp / f"{self._staged:08d}"
        try:
            return Staging(self, path, FileIO(path, "wb"))
        except OSError as error:
            raise self.explained(error) from None

    def commit(self, staged: Sequence[tuple[Staging, str]]) -> list[StoreError | None]:
        """Make blobs durable and then visible, all with one pass over the disk; the result says for each what
        kept it out (DamagedError, StoreFullError) or None. When this returns they survive a crash."""
        outcomes: list[StoreError | None] = []
        folders: set[Path] = set()
        for staging, sha256 in staged:
            try:
                if sha256 in self._sizes:
                    staging.abandon()
                else:
                    staging.flush(sha256)
                outcomes.append(None)
            except StoreError as error:
                outcomes.append(error)
        done: dict[str, int] = {}
        for index, (staging, sha256) in enumerate(staged):
            if outcomes[index] is not None or sha256 in self._sizes:
                continue
            if sha256 in done:
                staging.abandon()
                continue
            target = self.path(sha256)
            try:
                if not target.parent.exists():
                    target.parent.mkdir()
                    folders.add(self._blobs)
                staging.path.replace(target)
            except OSError as error:
                staging.abandon()
                outcomes[index] = self.explained(error)
                continue
            folders.add(target.parent)
            done[sha256] = staging.size
        for folder in sorted(folders):
            fsync_directory(folder)
        self._sizes |= done
        return outcomes

    def remove_all_but(self, wanted: Container[str]) -> int:
        """Remove every blob that is not in `wanted`; returns how many bytes that freed."""
        freed = 0
        for sha256 in [sha256 for sha256 in self._sizes if sha256 not in wanted]:
            size = self._sizes.pop(sha256)
            self.path(sha256).unlink(missing_ok=True)
            self.reserve(-size)
            freed += size
        return freed

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Those of `wanted` that are not stored, in their order."""
        return [sha256 for sha256 in wanted if sha256 not in self._sizes]

    def reserve(self, size: int) -> None:
        """Count `size` more bytes (negative: fewer) as used. Raises StoreFullError above `max_bytes`."""
        with self._lock:
            if size > 0 and self._max_bytes is not None and self._used + size > self._max_bytes:
                raise StoreFullError(
                    f"{self._blobs.parent}: store full: {self._used} of {self._max_bytes} bytes used; "
                    "raise --max-bytes or publish less"
                )
            self._used += size

    def check_room(self, size: int) -> None:
        """Raise StoreFullError when a blob of `size` bytes cannot fit, before anyone fetches it."""
        self.reserve(size)
        self.reserve(-size)
        space = os.statvfs(self._tmp)
        if size > space.f_bavail * space.f_frsize:
            raise self.explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def explained(self, error: OSError) -> StoreError:
        """An operating system error as one that says what to do."""
        root = self._blobs.parent
        if error.errno in _NO_ROOM:
            return StoreFullError(f"{root}: store full: {error.strerror}; free space on its file system")
        return StoreError(f"{root}: cannot write to the store: {error.strerror}")
