"""What an edge holds: verified content and the manifests that say which file it belongs to.

On disk (see docs/architecture.md): `blobs/ab/abcd…`, `tmp/`, `manifests/000001` and
`manifests/current`, and `origin.pem`, the key the manifests are signed with.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.manifest import FileEntry, Manifest
from edge_node.blobs import BlobFiles, Staging, StoreError
from edge_node.http.paths import file_name
from edge_node.shelf import Shelf

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Store:
    """An edge's content on disk; opening one takes it for this process alone and empties `tmp/`.

    While the newest manifest still lacks content, a path it lists is served from the newest version that
    is complete for that path, so that an update shows no gap. `accept_manifest`, `put` and `settle`
    belong to one thread at a time.
    """

    def __init__(self, root: Path, public_key: Ed25519PublicKey, *, max_bytes: int | None = None) -> None:
        """Open or create the store. Raises StoreError when another process has it or it cannot be read."""
        self.root = root
        try:
            for name in ("blobs", "tmp", "manifests"):
                (root / name).mkdir(parents=True, exist_ok=True)
            self._directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._directory)
                raise StoreError(f"{root}: another process uses this store; end it first") from None
            for leftover in (root / "tmp").iterdir():
                leftover.unlink()
            self.blobs = BlobFiles(root, max_bytes)
            self._shelf = Shelf(root / "manifests", root / "tmp", public_key)
        except OSError as error:
            raise StoreError(f"{root}: cannot open the store: {error.strerror}; check --store") from None
        self._entries: list[dict[str, FileEntry]] = []
        self._index()
        self.settle()

    def close(self) -> None:
        """Let other processes open the store."""
        os.close(self._directory)

    @property
    def manifest(self) -> Manifest | None:
        """The newest manifest accepted, None before the first."""
        return self._shelf.newest

    @property
    def signed_manifest(self) -> bytes | None:
        """The newest manifest as it was signed."""
        return self._shelf.signed

    @property
    def version(self) -> int:
        """The newest manifest's version, 0 before the first."""
        return self.manifest.version if self.manifest else 0

    def missing(self) -> list[str]:
        """The blobs of the newest manifest that are not here yet, in its order."""
        return self.blobs.missing(self.manifest.blobs) if self.manifest else []

    @property
    def complete(self) -> bool:
        """Whether every file of the newest manifest can be served."""
        return self.manifest is not None and not self.missing()

    def has(self, sha256: str) -> bool:
        """Whether the blob is here, complete and durable."""
        return sha256 in self.blobs

    def path(self, sha256: str) -> Path:
        """The file that holds a blob `has` knows."""
        return self.blobs.path(sha256)

    def put(self, items: Sequence[tuple[str, bytes | Staging]]) -> list[StoreError | None]:
        """Store blobs, given as (SHA-256, content or staged content), with one commit; for each what kept
        it out (StoreFullError, DamagedError), or None: it is durable now."""
        outcomes: list[StoreError | None] = [None] * len(items)
        staged: list[tuple[Staging, str]] = []
        places: list[int] = []
        for place, (sha256, content) in enumerate(items):
            try:
                if isinstance(content, bytes):
                    staging = self.blobs.stage()
                    staging.write(content)
                else:
                    staging = content
            except StoreError as error:
                outcomes[place] = error
                continue
            staged.append((staging, sha256))
            places.append(place)
        for place, outcome in zip(places, self.blobs.commit(staged), strict=True):
            outcomes[place] = outcome
        return outcomes

    def accept_manifest(self, signed: bytes, manifest: Manifest) -> None:
        """Make `manifest` the newest; `signed` are its bytes, verified by the caller. Raises StoreError
        unless it is newer than the one held."""
        self._shelf.put(manifest, signed)
        self._index()
        self.settle()

    def settle(self) -> None:
        """Once the newest manifest is complete forget the older ones; remove blobs that no manifest lists."""
        if self.complete:
            self._shelf.keep_newest_only()
            self._index()
        self.blobs.remove_all_but({sha for manifest in self._shelf.manifests for sha in manifest.blobs})

    def resolve(self, url_path: str) -> FileEntry | None:
        """The file a raw URL path names and that can be served now, None when there is none.

        Only names in a manifest are ever looked up: no path can lead to anything else.
        """
        name = file_name(url_path)
        if name is None or not self._entries or name not in self._entries[0]:
            return None
        for entries in self._entries:
            entry = entries.get(name)
            if entry is not None and entry.sha256 in self.blobs:
                return entry
        return None

    def _index(self) -> None:
        self._entries = [
            {entry.path: entry for entry in manifest.files} for manifest in self._shelf.manifests
        ]
