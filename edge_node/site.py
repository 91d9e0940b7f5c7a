"""Filling a store from a folder on this machine: the central cloud, which serves what it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from delivery.manifest import FileEntry, Manifest, ManifestError
from delivery.signing import sign_manifest
from delivery.tree import scan
from edge_node.blobs import StoreError
from edge_node.store import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_CHUNK_BYTES = 1 << 20


def fill_from(store: Store, site: Path, private_key: Ed25519PrivateKey) -> None:
    """Make `store` hold exactly the files of the folder `site`, under a manifest signed with `private_key`.

    Raises StoreError for a folder that cannot be read or published, or a store without room for it.
    """
    try:
        entries = tuple(scan(site))
        if not entries:
            raise StoreError(f"{site}: there is no file to serve; check --site")
        manifest = Manifest(site.name or "site", store.version + 1, entries, bundles=())
        held = store.manifest
        if held is None or held.files != manifest.files:
            store.accept_manifest(sign_manifest(manifest, private_key), manifest)
        for entry in {entry.sha256: entry for entry in entries}.values():
            if not store.has(entry.sha256):
                _copy(store, site, entry)
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot read the site: {error.strerror}") from None
    except ManifestError as error:
        raise StoreError(f"{site}: cannot be served: {error}") from None
    store.settle()


def _copy(store: Store, site: Path, entry: FileEntry) -> None:
    staging = store.blobs.stage()
    try:
        with open(site / entry.path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                staging.write(chunk)
    except OSError:
        staging.abandon()
        raise
    (problem,) = store.put([(entry.sha256, staging)])
    if problem is not None:
        raise problem
