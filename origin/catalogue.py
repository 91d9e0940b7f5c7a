"""A folder as files and blobs, and the bytes of its blobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delivery.manifest import MAX_BLOB_BYTES, FileEntry
from delivery.tree import scan_file, walk
from origin.errors import OriginError
from origin.rules import Rule, apply_rules

Signature = tuple[int, ...]
"""What changes whenever a file does: device, inode, size, and the times of content and status."""


@dataclass(frozen=True)
class Catalogue:
    """What a folder holds. `sources` gives for every blob one file with that content.

    `seen` has every file as it was read, with what its signature was before: also those that have expired.
    """

    root: Path
    files: tuple[FileEntry, ...]
    sources: Mapping[str, Path]
    sizes: Mapping[str, int]
    warnings: tuple[str, ...]
    seen: Mapping[str, tuple[Signature, FileEntry]] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """The sum of the sizes of all files."""
        return sum(entry.size for entry in self.files)

    @property
    def expires_unix_s(self) -> int:
        """When the first of the files expires, 0 for never."""
        return min((entry.expires_unix_s for entry in self.files if entry.expires_unix_s), default=0)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """`length` bytes of a blob. Raises OriginError when the file has shrunk or cannot be read."""
        path = self.sources[sha256]
        try:
            with open(path, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, offset)
        except OSError as error:
            raise OriginError(f"{path}: cannot read it any more: {error.strerror}; publish again") from None
        if len(data) != length:
            raise OriginError(f"{path} changed while it was being published; publish again")
        return data


def read_catalogue(
    folder: Path,
    rules: Sequence[Rule] = (),
    *,
    unix_s: float = 0.0,
    before: Catalogue | None = None,
    may_be_empty: bool = False,
) -> Catalogue:
    """Scan `folder`, without what has expired at `unix_s`; what has not changed since `before` is not read.

    Raises OriginError when it cannot be read or holds nothing to publish.
    """
    warnings: list[str] = []
    known = before.seen if before else {}
    try:
        seen = {path: _see(folder, path, known) for path in walk(folder, warnings.append)}
    except OSError as error:
        raise _unreadable(folder, error) from None
    files = tuple(apply_rules(rules, entry) for _, entry in seen.values())
    current = tuple(entry for entry in files if not 0 < entry.expires_unix_s <= unix_s)
    if not current and not may_be_empty:
        reason = f"everything in it was skipped ({warnings[0]})" if warnings else "it holds no files"
        raise OriginError(
            f"nothing to publish in {folder}: {'everything in it has expired' if files else reason}"
        )
    for entry in current:
        if entry.size > MAX_BLOB_BYTES:
            raise OriginError(
                f"{folder / entry.path} has {entry.size} bytes, "
                f"files of {MAX_BLOB_BYTES} bytes can be published; split it"
            )
    sources: dict[str, Path] = {}
    for entry in current:
        sources.setdefault(entry.sha256, folder / entry.path)
    sizes = {entry.sha256: entry.size for entry in current}
    return Catalogue(folder, current, sources, sizes, tuple(warnings), seen)


def read_signatures(folder: Path) -> dict[str, Signature]:
    """The signature of every file that `read_catalogue` would find. Raises OriginError."""
    try:
        return {path: signature(folder / path) for path in walk(folder)}
    except OSError as error:
        raise _unreadable(folder, error) from None


def signature(path: Path) -> Signature:
    """A file's signature. Raises OSError."""
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _see(
    folder: Path, path: str, known: Mapping[str, tuple[Signature, FileEntry]]
) -> tuple[Signature, FileEntry]:
    # The signature comes first: a change while the file is read makes it look changed afterwards.
    current = signature(folder / path)
    before = known.get(path)
    if before is not None and before[0] == current:
        return before
    return current, scan_file(folder, path)


def _unreadable(folder: Path, error: OSError) -> OriginError:
    name = error.filename
    if isinstance(error, FileNotFoundError) and Path(name) != folder:
        return OriginError(f"{name} went away while it was being read; publish again")
    if isinstance(error, FileNotFoundError):
        return OriginError(f"{name}: there is no such folder; check DIR")
    if isinstance(error, NotADirectoryError):
        return OriginError(f"{name} is a file; name the folder to publish")
    if isinstance(error, PermissionError):
        return OriginError(
            f"{name}: no permission to read it; mend it with chmod a+rX or take it out of {folder}"
        )
    return OriginError(f"{name}: cannot read it: {error.strerror}")
