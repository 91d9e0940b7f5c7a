"""The content-addressed part of the store: blobs by their SHA-256, complete and verified or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import string
import threading
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from edge_node.durable import fsync_directory, pwrite_all
from edge_node.eviction import Candidates, Pins

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOST = frozenset({errno.EIO, errno.ENOENT, errno.EBADMSG, errno.EUCLEAN, errno.EISDIR, errno.ENOTDIR})
"""What a disk says that has lost content."""
_NAME_BYTES = 4096
"""What a new name in a folder may take on disk."""
_HEX = frozenset(string.hexdigits.lower())
_T = TypeVar("_T")


class StoreError(Exception):
    """The store cannot do what was asked; the message says what, where and what to do, in one line."""


class StoreFullError(StoreError):
    """There is no room for a blob. What is stored stays, and is still served."""


class DamagedError(StoreError):
    """Content that does not have the digest it was announced under; it was thrown away."""


class Aside(Protocol):
    """Content of `size` bytes in the file `path` in `tmp/`, on its way to become a blob."""

    path: Path
    size: int

    def flush(self, sha256: str) -> None:
        """Make it durable. Raises DamagedError unless its digest is `sha256`, StoreError."""

    def abandon(self) -> None:
        """Remove the file and give its room back; harmless when repeated."""


class Staging:
    """A blob being written to `tmp/`: `write` it, then hand it to `BlobFiles.commit` or `abandon` it."""

    def __init__(self, blobs: BlobFiles, path: Path) -> None:
        self._blobs, self.path = blobs, path
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what has been written."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append `data`. Raises StoreFullError, after abandoning what was written."""
        descriptor, offset = self._descriptor, self.size
        if descriptor is None:
            raise ValueError("this blob has been finished or abandoned")
        try:
            self._blobs.reserve(len(data))
            self.size += len(data)
            self._blobs.with_room(len(data), lambda: pwrite_all(descriptor, data, offset))
        except StoreError:
            self.abandon()
            raise
        self._digest.update(data)

    def flush(self, sha256: str) -> None:
        """Make the bytes durable. Raises DamagedError unless their digest is `sha256`, StoreError."""
        if self.sha256 != sha256 or self._descriptor is None:
            self.abandon()
            raise DamagedError(f"content announced as {sha256} has another digest; it was thrown away")
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.abandon()
            raise self._blobs.explained(error) from None
        self._close()

    def abandon(self) -> None:
        """Remove the file and give its room back; harmless when repeated."""
        self._close()
        self.path.unlink(missing_ok=True)
        self._blobs.reserve(-self.size)
        self.size = 0

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class BlobFiles:
    """Blobs under `root/blobs`, those being written under `root/tmp`.

    `max_bytes` limits the sum of both; what is not pinned is evicted for what comes. One thread may commit
    while others stage, read, evict and check.
    """

    def __init__(self, root: Path, max_bytes: int | None = None) -> None:
        """Take what is there, after making its names durable: a process that was killed may not have got
        so far. What is no blob is removed. Raises OSError."""
        self._root, self._tmp, self._max_bytes = root / "blobs", root / "tmp", max_bytes
        self._lock = threading.RLock()
        self._staged = self._promised = 0
        self._sizes: dict[str, int] = {}
        self._candidates = Candidates()
        self._folders: set[str] = set()
        for folder in sorted(self._root.iterdir()):
            self._sizes |= _blobs_in(folder)
            self._folders.add(folder.name)
            fsync_directory(folder)
        fsync_directory(self._root)
        self._used = sum(self._sizes.values())
        self._candidates.repin(Pins(), self._sizes)

    @property
    def used_bytes(self) -> int:
        """Bytes of all blobs, those being written included."""
        return self._used

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._sizes

    def names(self) -> list[str]:
        """All blobs, sorted."""
        with self._lock:
            return sorted(self._sizes)

    def size(self, sha256: str) -> int:
        """The size of a stored blob in bytes. Raises KeyError when it is not stored."""
        return self._sizes[sha256]

    def path(self, sha256: str) -> Path:
        """Where the blob is, or will be once committed."""
        return self._root / sha256[:2] / sha256

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Those of `wanted` that are not stored, in their order."""
        return [sha256 for sha256 in wanted if sha256 not in self._sizes]

    # Writing

    def stage(self) -> Staging:
        """Begin to write a blob. Raises StoreError."""
        with self._lock:
            self._staged += 1
            path = self._tmp / f"{self._staged:08d}"
        return self.with_room(_NAME_BYTES, lambda: Staging(self, path))

    def commit(self, staged: Sequence[tuple[Aside, str]]) -> list[StoreError | None]:
        """Make blobs durable and then visible, all with one pass over the disk; the result says for each what
        kept it out (DamagedError, StoreFullError) or None. When this returns they survive a crash."""
        outcomes: list[StoreError | None] = []
        for aside, sha256 in staged:
            try:
                if sha256 in self._sizes:
                    aside.abandon()
                else:
                    aside.flush(sha256)
                outcomes.append(None)
            except StoreError as error:
                outcomes.append(error)
        done: dict[str, int] = {}
        for index, (aside, sha256) in enumerate(staged):
            if outcomes[index] is None:
                outcomes[index] = self._move(aside, sha256, done)
        problem = self._make_names_durable(done)
        if problem is not None:
            return [outcome or problem for outcome in outcomes]
        with self._lock:
            self._sizes |= done
            for sha256, size in done.items():
                self._candidates.add(sha256, size)
        return outcomes

    def _move(self, aside: Aside, sha256: str, done: dict[str, int]) -> StoreError | None:
        """Give durable content its name. Under the lock, so that nobody evicts the name's last bearer now."""
        target = self.path(sha256)
        problem: StoreError | None = None
        with self._lock:
            if sha256 not in self._sizes and sha256 not in done:
                try:
                    if target.parent.name not in self._folders:
                        self.with_room(_NAME_BYTES, lambda: target.parent.mkdir(exist_ok=True))
                    self.with_room(_NAME_BYTES, lambda: os.replace(aside.path, target))
                    done[sha256] = aside.size
                    return None
                except StoreError as error:
                    problem = error
        aside.abandon()
        return problem

    def _make_names_durable(self, done: dict[str, int]) -> StoreError | None:
        folders = {self.path(sha256).parent for sha256 in done}
        try:
            for folder in sorted(folders):
                fsync_directory(folder)
            if not self._folders.issuperset(folder.name for folder in folders):
                fsync_directory(self._root)
        except OSError as error:
            for sha256, size in done.items():
                self.path(sha256).unlink(missing_ok=True)
                self.reserve(-size)
            return self.explained(error)
        self._folders |= {folder.name for folder in folders}
        return None

    # Removing

    def pin(self, pins: Pins) -> None:
        """From now on evict nothing that `pins` name, and as much of the rest as is above `max_bytes`."""
        with self._lock:
            self._candidates.repin(pins, self._sizes)
            if self._max_bytes is not None:
                self._evict(min(self._used - self._max_bytes, self._candidates.total_bytes))

    def touch(self, sha256: str) -> None:
        """Note that a blob was used just now."""
        with self._lock:
            self._candidates.touch(sha256)

    def remove(self, sha256: str) -> None:
        """Remove a blob; harmless when it is not stored. Who has it open can still read it."""
        with self._lock:
            size = self._sizes.pop(sha256, None)
            if size is not None:
                self._candidates.remove(sha256)
                self.path(sha256).unlink(missing_ok=True)
                self._used -= size

    def remove_all_but(self, wanted: Container[str]) -> None:
        """Remove every blob that is not in `wanted`."""
        with self._lock:
            for sha256 in [sha256 for sha256 in self._sizes if sha256 not in wanted]:
                self.remove(sha256)

    def check(self, sha256: str) -> bool:
        """Whether the blob is here and its bytes have its digest; one that is damaged is removed. What
        cannot be read for another reason than the disk (no descriptors, say) is not known to be damaged."""
        if sha256 not in self._sizes:
            return False
        try:
            if file_sha256(self.path(sha256)) == sha256:
                return True
        except OSError as error:
            if error.errno not in _LOST:
                return True
        self.remove(sha256)
        return False

    # Room

    def reserve(self, size: int) -> None:
        """Count `size` more bytes (negative: fewer) as used, evicting others where they do not fit otherwise.
        Raises StoreFullError above `max_bytes`."""
        with self._lock:
            self._make_room(size)
            self._used += size

    def promise(self, size: int) -> None:
        """Keep room for `size` bytes (negative: give it back) that will be written later. Raises
        StoreFullError when it is not there."""
        with self._lock:
            self._make_room(size)
            over = self._over_disk(size)
            if size > 0 and over > 0 and not self._evict(over):
                raise self._no_space()
            self._promised += size

    def redeem(self, size: int) -> None:
        """Count `size` bytes that were promised as used: they are written."""
        with self._lock:
            self._promised -= size
            self._used += size

    def check_room(self, size: int) -> None:
        """Raise StoreFullError when a blob of `size` bytes cannot fit, before anyone fetches it."""
        with self._lock:
            if self._over_limit(size) > self._candidates.total_bytes:
                raise self._full()
            if self._over_disk(size) > self._candidates.total_bytes:
                raise self._no_space()

    def with_room(self, size: int, operation: Callable[[], _T]) -> _T:
        """What `operation` returns, which needs `size` bytes on disk; where the disk is full others are
        evicted and it is tried again. Raises StoreFullError, StoreError."""
        while True:
            try:
                return operation()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise self.explained(error) from None
                with self._lock:
                    if not self._evict(max(1, min(size, self._candidates.total_bytes))):
                        raise self.explained(error) from None

    def explained(self, error: OSError) -> StoreError:
        """An operating system error as one that says what to do."""
        root = self._root.parent
        if error.errno in _NO_ROOM:
            return StoreFullError(f"{root}: store full: {error.strerror}; free space on its file system")
        return StoreError(f"{root}: cannot write to the store: {error.strerror}")

    def _make_room(self, size: int) -> None:
        over = self._over_limit(size)
        if size > 0 and over > 0 and not self._evict(over):
            raise self._full()

    def _evict(self, size: int) -> bool:
        victims = self._candidates.victims(size)
        for sha256 in victims:
            self.remove(sha256)
        return bool(victims)

    def _over_limit(self, size: int) -> int:
        """By how many bytes `size` more would exceed `max_bytes`."""
        return 0 if self._max_bytes is None else self._used + self._promised + size - self._max_bytes

    def _over_disk(self, size: int) -> int:
        space = os.statvfs(self._tmp)
        return self._promised + size - space.f_bavail * space.f_frsize

    def _full(self) -> StoreFullError:
        promised = f", {self._promised} promised" if self._promised else ""
        return StoreFullError(
            f"{self._root.parent}: store full: {self._used} of {self._max_bytes} bytes used{promised}; "
            "raise --max-bytes or publish less"
        )

    def _no_space(self) -> StoreError:
        return self.explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex, read piece by piece. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blobs_in(folder: Path) -> dict[str, int]:
    """The blobs in one of the folders of `blobs/` with their sizes; anything else in it is removed."""
    found: dict[str, int] = {}
    for entry in os.scandir(folder):
        name = entry.name
        is_blob = len(name) == 64 and _HEX.issuperset(name) and name[:2] == folder.name
        if is_blob and entry.is_file(follow_symlinks=False):
            found[name] = entry.stat().st_size
        elif not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
    return found
