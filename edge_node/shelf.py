"""The manifests an edge has accepted, on disk, newest first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.manifest import Manifest, ManifestError
from delivery.signing import open_manifest
from edge_node.blobs import StoreError
from edge_node.durable import fsync_directory, link_durably, write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CURRENT = "current"


def load_manifests(folder: Path, public_key: Ed25519PublicKey) -> list[tuple[Manifest, bytes]]:
    """The accepted manifests with their signed bytes, newest first, from `current` down.

    Newer ones that were written but never became current (a crash in between) do not count. Raises
    StoreError when the current one cannot be trusted.
    """
    try:
        current = os.readlink(folder / CURRENT)
    except FileNotFoundError:
        return []
    found: list[tuple[Manifest, bytes]] = []
    for name in sorted((path.name for path in folder.iterdir() if path.name.isdigit()), reverse=True):
        if int(name) > int(current):
            continue
        signed = (folder / name).read_bytes()
        try:
            found.append((open_manifest(signed, public_key), signed))
        except ManifestError as error:
            raise StoreError(
                f"{folder / name}: {error}; give the origin's --public-key, or remove the store"
            ) from None
    return found


class Shelf:
    """The manifests folder: the newest manifest, and older ones for as long as the newest lacks content."""

    def __init__(self, folder: Path, tmp: Path, public_key: Ed25519PublicKey) -> None:
        self._folder, self._tmp = folder, tmp
        loaded = load_manifests(folder, public_key)
        self.manifests: tuple[Manifest, ...] = tuple(manifest for manifest, _ in loaded)
        self.signed: bytes | None = loaded[0][1] if loaded else None
        self._sweep()

    @property
    def newest(self) -> Manifest | None:
        """The manifest that says what the site is now; None before the first."""
        return self.manifests[0] if self.manifests else None

    def put(self, manifest: Manifest, signed: bytes) -> None:
        """Make a newer manifest durable and current. Raises StoreError for one that is not newer."""
        if self.newest is not None and manifest.version <= self.newest.version:
            raise StoreError(
                f"manifest version {manifest.version} is not newer than version {self.newest.version} held"
            )
        name = f"{manifest.version:06d}"
        try:
            write_durably(self._tmp / "manifest", self._folder / name, signed)
            link_durably(self._tmp / CURRENT, self._folder / CURRENT, name)
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot store the manifest: {error.strerror}") from None
        self.manifests, self.signed = (manifest, *self.manifests), signed

    def keep_newest_only(self) -> None:
        """Forget the older manifests: every file of the newest is here."""
        if len(self.manifests) > 1:
            self.manifests = self.manifests[:1]
            self._sweep()

    def _sweep(self) -> None:
        """Remove the files of manifests that are not held (any more)."""
        held = {f"{manifest.version:06d}" for manifest in self.manifests}
        stale = [path for path in self._folder.iterdir() if path.name.isdigit() and path.name not in held]
        for path in stale:
            path.unlink()
        if stale:
            fsync_directory(self._folder)
