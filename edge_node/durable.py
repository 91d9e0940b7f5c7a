"""Writing so that a crash at any moment leaves either the old or the new, never half of it.

All that the store changes on disk goes through `os` by its full name (`os.pwrite`, `os.fsync`, `os.replace`),
so that tests can stop or record it there.
"""

from __future__ import annotations

import os
from pathlib import Path


def fsync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: what was renamed into it is there after a crash."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, durably; one that is there stays. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        fsync_directory(folder.parent)


def pwrite_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` from `offset` on; may be repeated after an OSError."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def write_durably(aside: Path, target: Path, data: bytes) -> None:
    """Replace `target` by `data`, written to `aside` first (same file system), durably. Raises OSError."""
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        pwrite_all(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(aside, target)
    fsync_directory(target.parent)


def link_durably(aside: Path, target: Path, value: str) -> None:
    """Make `target` a symbolic link to `value`, replacing what it was, durably. Raises OSError."""
    aside.unlink(missing_ok=True)
    os.symlink(value, aside)
    os.replace(aside, target)
    fsync_directory(target.parent)
