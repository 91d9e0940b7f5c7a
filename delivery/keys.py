"""Ed25519 keys in PEM files: the origin signs manifests, the edges hold the public half."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


PrivateKey = TypeVar("PrivateKey", "Ed25519PrivateKey", "X25519PrivateKey", "EllipticCurvePrivateKey")

_PEM_BEGIN = b"-----BEGIN PUBLIC KEY-----"


class KeyFileError(ValueError):
    """A key file that is missing, unreadable or of another kind; the message names it and the way out."""


class KeyRing:
    """The keys that may sign manifests of one site: those given first, then those that the last manifest
    named. Stands wherever one public key would.

    `retired` keys were trusted once: what they signed then is still as good, but they sign nothing new.
    """

    def __init__(self, *keys: Ed25519PublicKey, retired: tuple[Ed25519PublicKey, ...] = ()) -> None:
        self._keys, self._retired = keys, retired

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises cryptography's InvalidSignature unless a key of the ring signed `data`."""
        from cryptography.exceptions import InvalidSignature

        for key in self._keys:
            try:
                return key.verify(signature, data)
            except InvalidSignature:
                continue
        raise InvalidSignature

    @property
    def keys(self) -> tuple[Ed25519PublicKey, ...]:
        """The keys that are trusted."""
        return self._keys

    @property
    def retired(self) -> tuple[Ed25519PublicKey, ...]:
        """Keys that were."""
        return self._retired

    def with_retired(self) -> KeyRing:
        """A ring for what was verified when it was accepted."""
        return KeyRing(*self._keys, *self._retired)

    def rotate(self, keys: tuple[str, ...]) -> bool:
        """Trust `keys` (hex) from now on, as a verified manifest says; whether that changed anything. None
        named: all stays as it was."""
        if not keys or set(keys) == {to_hex(key) for key in self._keys}:
            return False
        gone = tuple(key for key in self._keys if to_hex(key) not in keys)
        self._keys = tuple(from_hex(key) for key in keys)
        self._retired += gone
        return True


def to_hex(key: Ed25519PublicKey) -> str:
    """A public key as manifests name it."""
    return key.public_bytes_raw().hex()


def from_hex(key: str) -> Ed25519PublicKey:
    """The public key that a manifest names. Raises ValueError for anything else."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))


def generate_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """Create a private key file (PKCS #8 PEM, mode 0600). Raises KeyFileError when the file exists."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return write_private_key(path, Ed25519PrivateKey.generate())


def write_private_key(path: str | os.PathLike[str], key: PrivateKey) -> PrivateKey:
    """Put a private key into a new file of mode 0600 (PKCS #8 PEM). Raises KeyFileError."""
    from cryptography.hazmat.primitives import serialization

    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; remove it first or name another file") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot create the key file: {error.strerror}") from None
    with open(descriptor, "wb") as file:
        file.write(pem)
    return key


def save_public_key(path: str | os.PathLike[str], key: Ed25519PublicKey) -> None:
    """Write the public half (SubjectPublicKeyInfo PEM). Raises KeyFileError."""
    save_public_keys(path, (key,))


def save_public_keys(path: str | os.PathLike[str], keys: Iterable[Ed25519PublicKey]) -> None:
    """Write several, one PEM block after the other, in one step. Raises KeyFileError."""
    from cryptography.hazmat.primitives import serialization

    encoding = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    aside = Path(f"{os.fspath(path)}.new")
    try:
        with open(aside, "wb") as file:
            file.write(b"".join(key.public_bytes(*encoding) for key in keys))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot write the public key: {error.strerror}") from None


def load_private_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM file. Raises KeyFileError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path, "make one with `python -m origin keygen`")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is no private key in PEM: {str(error).splitlines()[0]}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 private key; make one with `python -m origin keygen`")
    return key


def load_public_key(path: str | os.PathLike[str]) -> Ed25519PublicKey:
    """The one Ed25519 public key in a PEM file. Raises KeyFileError."""
    keys = load_public_keys(path)
    if len(keys) != 1:
        raise KeyFileError(f"{path} holds {len(keys)} public keys; give a file with one")
    return keys[0]


def load_public_keys(path: str | os.PathLike[str]) -> tuple[Ed25519PublicKey, ...]:
    """The Ed25519 public keys in a PEM file, at least one. Raises KeyFileError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path, "take the file that `python -m origin keygen --public` wrote")
    found = []
    for block in data.split(_PEM_BEGIN)[1:] or [data]:
        try:
            key = load_pem_public_key(_PEM_BEGIN + block)
        except ValueError as error:
            raise KeyFileError(f"{path} is no public key in PEM: {str(error).splitlines()[0]}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(
                f"{path} is not an Ed25519 public key; `python -m origin keygen --public` writes one"
            )
        found.append(key)
    return tuple(found)


def _read(path: str | os.PathLike[str], way_out: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot read the key: {error.strerror}; {way_out}") from None
