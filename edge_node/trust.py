"""Which key a store trusts: the origin's public key, kept beside the content it vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from delivery.keys import load_public_key, save_public_key
from edge_node.blobs import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_FILE = "origin.pem"
SITE_KEY_FILE = "site.pem"


def trusted_key(root: Path, given: Path | None) -> Ed25519PublicKey:
    """The key in the file `given`, which the store at `root` keeps from now on; else the one it kept.

    Raises KeyFileError, and StoreError when there is neither.
    """
    kept = root / KEY_FILE
    if given is not None:
        key = load_public_key(given)
        root.mkdir(parents=True, exist_ok=True)
        save_public_key(kept, key)
        return key
    if not kept.exists():
        raise StoreError(f"{root}: the store trusts no key yet; give the origin's with --public-key FILE")
    return load_public_key(kept)


def site_key(root: Path) -> Ed25519PrivateKey:
    """The store's own signing key, made at first use, for content from a folder of this machine."""
    from delivery.keys import generate_key, load_private_key

    root.mkdir(parents=True, exist_ok=True)
    path = root / SITE_KEY_FILE
    key = load_private_key(path) if path.exists() else generate_key(path)
    save_public_key(root / KEY_FILE, key.public_key())
    return key
