"""The keys an edge trusts: the origin's, kept beside the content they vouch for, and those it has itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from delivery.keys import KeyRing, load_public_key, load_public_keys, save_public_key, save_public_keys
from edge_node.blobs import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "origin.pem"
RETIRED_FILE = "retired.pem"
OWN_KEY_FILE = "site.pem"


def trusted_keys(root: Path, given: Path | None) -> KeyRing:
    """The keys the store at `root` has kept; first of all the key in the file `given`.

    A file given again after its key was rotated out changes nothing; the key of another origin replaces what
    was kept. Raises KeyFileError, and StoreError when there is neither.
    """
    kept = root / KEY_FILE
    ring = _kept(root) if kept.exists() else None
    if given is not None:
        key = load_public_key(given)
        if ring is None or key not in (*ring.keys, *ring.retired):
            root.mkdir(parents=True, exist_ok=True)
            (root / RETIRED_FILE).unlink(missing_ok=True)
            save_public_key(kept, key)
            return KeyRing(key)
    if ring is None:
        raise StoreError(f"{root}: the store trusts no key yet; give the origin's with --public-key FILE")
    return ring


def keep_keys(root: Path, ring: KeyRing) -> None:
    """Remember a ring that was rotated. Raises KeyFileError."""
    if ring.retired:
        save_public_keys(root / RETIRED_FILE, ring.retired)
    save_public_keys(root / KEY_FILE, ring.keys)


def own_key(root: Path) -> Ed25519PrivateKey:
    """The store's own signing key, made at first use: for what does not come from the origin."""
    from delivery.keys import generate_key, load_private_key

    root.mkdir(parents=True, exist_ok=True)
    path = root / OWN_KEY_FILE
    return load_private_key(path) if path.exists() else generate_key(path)


def _kept(root: Path) -> KeyRing:
    retired = root / RETIRED_FILE
    return KeyRing(
        *load_public_keys(root / KEY_FILE), retired=load_public_keys(retired) if retired.exists() else ()
    )
