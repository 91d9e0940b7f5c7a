"""Checking a store bit by bit: every blob against its name, every file against the published folder."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery.tree import walk
from edge_node.blobs import StoreError
from edge_node.shelf import load_manifests

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was compared (`files` and `bytes` of the newest manifest), and every difference as one line."""

    version: int
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


def verify(root: Path, public_key: Ed25519PublicKey, against: Path | None = None) -> Verdict:
    """Recompute every digest in the store; `against` is a site folder that must hold the same files.

    Reads only, also beside a running edge. Raises StoreError when there is no manifest to verify.
    """
    manifests = load_manifests(root / "manifests", public_key)
    if not manifests:
        raise StoreError(f"{root}: no manifest has been accepted yet, there is nothing to verify")
    manifest = manifests[0][0]
    blobs = root / "blobs"
    differences: list[str] = []
    damaged: set[str] = set()
    for path in sorted(blobs.glob("??/*")):
        if _digest(path) != path.name or path.name[:2] != path.parent.name:
            differences.append(f"blob {path.name}: its content has another digest")
            damaged.add(path.name)
    for entry in manifest.files:
        path = blobs / entry.sha256[:2] / entry.sha256
        if not path.exists():
            differences.append(f"{entry.path}: its content is missing")
        elif path.stat().st_size != entry.size and entry.sha256 not in damaged:
            differences.append(f"{entry.path}: {path.stat().st_size} bytes instead of {entry.size}")
        elif against is not None and not _same(path, against / entry.path):
            differences.append(f"{entry.path}: differs from the file in {against}")
    if against is not None:
        listed = {entry.path for entry in manifest.files}
        differences += [f"{path}: published but not listed" for path in walk(against) if path not in listed]
    size = sum(entry.size for entry in manifest.files)
    return Verdict(manifest.version, len(manifest.files), size, tuple(differences))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
