"""Checking a store bit by bit: every blob against its name, every file against the published folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from delivery.manifest import EVERYWHERE
from delivery.signing import Verifier
from delivery.tree import walk
from edge_node.blobs import StoreError, file_sha256
from edge_node.shelf import load

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was compared (`files` and `bytes` of the newest manifest), every difference as one line, the
    version that users see (`served`, 0: none was complete yet), and whether the newest is `complete`."""

    version: int
    served: int
    complete: bool
    files: int
    bytes: int
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {**asdict(self), "identical": self.identical}


def verify(root: Path, key: Verifier, against: Path | None = None) -> Verdict:
    """Recompute every digest in the store; `against` is a site folder that must hold the same files. Of files
    that are not for every edge those that are here count.

    Reads only, also beside a running edge. Raises StoreError when there is no manifest to verify.
    """
    loaded = load(root / "manifests", key)
    if not loaded.versions:
        reason = loaded.warnings[0] if loaded.warnings else "no manifest has been accepted yet"
        raise StoreError(f"{root}: {reason}; there is nothing to verify")
    manifest = loaded.versions[0].manifest
    blobs = root / "blobs"
    differences = list(loaded.warnings)
    damaged: set[str] = set()
    is_complete = True
    for path in sorted(blobs.glob("??/*")):
        if file_sha256(path) != path.name or path.name[:2] != path.parent.name:
            differences.append(f"blob {path.name}: its content has another digest")
            damaged.add(path.name)
    for entry in manifest.files:
        path = blobs / entry.sha256[:2] / entry.sha256
        is_wanted = entry.delivery == EVERYWHERE
        if not path.exists():
            if is_wanted:
                differences.append(f"{entry.path}: its content is missing")
                is_complete = False
            continue
        if is_wanted and (entry.sha256 in damaged or path.stat().st_size != entry.size):
            is_complete = False
        if path.stat().st_size != entry.size and entry.sha256 not in damaged:
            differences.append(f"{entry.path}: {path.stat().st_size} bytes instead of {entry.size}")
        elif against is not None and not _same(path, against / entry.path):
            differences.append(f"{entry.path}: differs from the file in {against}")
    if against is not None:
        listed = {entry.path for entry in manifest.files}
        differences += [f"{path}: published but not listed" for path in walk(against) if path not in listed]
    size = sum(entry.size for entry in manifest.files)
    return Verdict(
        manifest.version, loaded.served, is_complete, len(manifest.files), size, tuple(differences)
    )


def _same(one: Path, other: Path) -> bool:
    try:
        with open(one, "rb") as a, open(other, "rb") as b:
            while True:
                left, right = a.read(_CHUNK_BYTES), b.read(_CHUNK_BYTES)
                if left != right:
                    return False
                if not left:
                    return True
    except OSError:
        return False
