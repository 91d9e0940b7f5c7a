"""A folder as files and blobs, and the bytes of its blobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from delivery.manifest import MAX_BLOB_BYTES, FileEntry
from delivery.tree import scan
from origin.errors import OriginError


@dataclass(frozen=True)
class Catalogue:
    """What a folder holds. `sources` gives for every blob one file with that content."""

    root: Path
    files: tuple[FileEntry, ...]
    sources: Mapping[str, Path]
    sizes: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """The sum of the sizes of all files."""
        return sum(entry.size for entry in self.files)

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


def read_catalogue(folder: Path) -> Catalogue:
    """Scan `folder`. Raises OriginError when it cannot be read or holds nothing to publish."""
    warnings: list[str] = []
    try:
        files = tuple(scan(folder, warnings.append))
    except FileNotFoundError as error:
        raise OriginError(f"{error.filename}: there is no such folder; check DIR") from None
    except NotADirectoryError as error:
        raise OriginError(f"{error.filename} is a file; name the folder to publish") from None
    except PermissionError as error:
        raise OriginError(
            f"{error.filename}: no permission to read it; mend it with chmod a+rX or take it out of {folder}"
        ) from None
    except OSError as error:
        raise OriginError(f"{error.filename}: cannot read it: {error.strerror}") from None
    if not files:
        reason = f"everything in it was skipped ({warnings[0]})" if warnings else "it holds no files"
        raise OriginError(f"nothing to publish in {folder}: {reason}")
    for entry in files:
        if entry.size > MAX_BLOB_BYTES:
            raise OriginError(
                f"{folder / entry.path} has {entry.size} bytes, "
                f"files of {MAX_BLOB_BYTES} bytes can be published; split it"
            )
    sources: dict[str, Path] = {}
    for entry in files:
        sources.setdefault(entry.sha256, folder / entry.path)
    sizes = {entry.sha256: entry.size for entry in files}
    return Catalogue(folder, files, sources, sizes, tuple(warnings))
