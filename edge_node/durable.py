"""Writing so that a crash at any moment leaves either the old or the new, never half of it."""

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


def write_durably(aside: Path, target: Path, data: bytes) -> None:
    """Replace `target` by `data`, written to `aside` first (same file system), durably. Raises OSError."""
    with open(aside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(target)
    fsync_directory(target.parent)


def link_durably(aside: Path, target: Path, value: str) -> None:
    """Make `target` a symbolic link to `value`, replacing what it was, durably. Raises OSError."""
    aside.unlink(missing_ok=True)
    aside.symlink_to(value)
    aside.replace(target)
    fsync_directory(target.parent)
