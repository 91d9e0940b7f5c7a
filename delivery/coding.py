"""From a bundle's content to the FLUTE object that carries it, and back: compression, then encryption.

Encryption is for confidentiality alone; what is believed is decided by signature and digest. Each object is
sealed as a whole with AES-256-GCM, so that forward error correction, repair and the length of packets stay
what they are. The nonce is the session's TSI and the object's TOI: no pair of them is ever used twice while a
key is in use, because TOIs are never used twice in a session and every epoch has a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from delivery.manifest import ZSTD, Bundle

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

KEY_BYTES = 32
SEAL_BYTES = 16
"""What the seal adds to an object."""
_LEVEL = 3
_WORTH_SHARE = 0.98
_SEALED_MAGIC = b"NCE1"
_HEAD_BYTES = len(_SEALED_MAGIC) + 4
_KEYS_INFO = b"nearcast epoch key 1\0"


class CodingError(ValueError):
    """An object that does not decode to what it should be; the message says why, in one line."""


class KeyNeededError(CodingError):
    """An object is sealed with the key of an epoch that is not held."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the key of epoch {epoch} is not held")
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The group key of one epoch, and its number (from 1)."""

    epoch: int
    key: bytes


def compress(content: bytes) -> tuple[str, bytes]:
    """The encoding's name and the encoded content; ("", content) where compression saves too little."""
    import zstandard

    encoded = zstandard.ZstdCompressor(level=_LEVEL).compress(content)
    return (ZSTD, encoded) if len(encoded) < _WORTH_SHARE * len(content) else ("", content)


def seal(key: EpochKey, tsi: int, toi: int, data: bytes) -> bytes:
    """`data` and its seal, `SEAL_BYTES` longer."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key.key).encrypt(_nonce(tsi, toi), data, None)


def code_bundle(content: bytes, tsi: int, toi: int, key: EpochKey | None = None) -> tuple[str, bytes]:
    """A bundle's encoding and the bytes of its FLUTE object, the same ones whenever it is done."""
    encoding, data = compress(content)
    return encoding, data if key is None else seal(key, tsi, toi, data)


def decode_bundle(bundle: Bundle, tsi: int, data: bytes, keys: Mapping[int, bytes]) -> bytes:
    """A bundle's content from its FLUTE object; its digest is for the caller to check.

    Raises CodingError for what cannot be it, KeyNeededError when the epoch's key is not among `keys`.
    """
    if bundle.epoch:
        data = _unseal(bundle.epoch, tsi, bundle.toi, data, keys)
    if bundle.encoding != ZSTD:
        return data
    import zstandard

    try:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        content = decompressor.decompress(data) if _content_size(data) == bundle.size else b""
    except zstandard.ZstdError as error:
        raise CodingError(f"bundle {bundle.toi} does not decompress: {error}") from None
    if len(content) != bundle.size:
        raise CodingError(f"bundle {bundle.toi} does not decompress to its size")
    return content


def seal_manifest(signed: bytes, key: EpochKey, tsi: int, toi: int) -> bytes:
    """A signed manifest for the group, which says itself which epoch's key opens it."""
    return _SEALED_MAGIC + key.epoch.to_bytes(4, "big") + seal(key, tsi, toi, signed)


def unseal_manifest(data: bytes, tsi: int, toi: int, keys: Mapping[int, bytes]) -> bytes:
    """The signed manifest from its FLUTE object, sealed or not. Raises CodingError, KeyNeededError."""
    if not data.startswith(_SEALED_MAGIC) or len(data) < _HEAD_BYTES:
        return data
    epoch = int.from_bytes(data[len(_SEALED_MAGIC) : _HEAD_BYTES], "big")
    return _unseal(epoch, tsi, toi, data[_HEAD_BYTES:], keys)


def wrap_keys(keys: Mapping[int, bytes], member: X25519PublicKey) -> bytes:
    """Epoch keys for one member's eyes only (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM)."""
    plain = b"".join(epoch.to_bytes(4, "big") + key for epoch, key in sorted(keys.items()))
    sealed: bytes = _suite().encrypt(plain, member, _KEYS_INFO)
    return sealed


def unwrap_keys(sealed: bytes, member: X25519PrivateKey) -> dict[int, bytes]:
    """What `wrap_keys` made. Raises CodingError for anything else."""
    from cryptography.exceptions import InvalidTag

    try:
        plain = _suite().decrypt(sealed, member, _KEYS_INFO)
    except (InvalidTag, ValueError):
        raise CodingError("the epoch keys are not for this edge, or damaged") from None
    size = 4 + KEY_BYTES
    if len(plain) % size:
        raise CodingError("the epoch keys have a wrong length")
    rows = (plain[at : at + size] for at in range(0, len(plain), size))
    return {int.from_bytes(row[:4], "big"): row[4:] for row in rows}


def _suite() -> Any:
    from cryptography.hazmat.primitives import hpke

    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _nonce(tsi: int, toi: int) -> bytes:
    return tsi.to_bytes(4, "big") + toi.to_bytes(8, "big")


def _unseal(epoch: int, tsi: int, toi: int, data: bytes, keys: Mapping[int, bytes]) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = keys.get(epoch)
    if key is None:
        raise KeyNeededError(epoch)
    try:
        return AESGCM(key).decrypt(_nonce(tsi, toi), data, None)
    except InvalidTag:
        raise CodingError(f"object {toi} does not open with the key of epoch {epoch}") from None


def _content_size(data: bytes) -> int:
    import zstandard

    size: int = zstandard.frame_content_size(data)
    return size
