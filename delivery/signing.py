"""Manifests as bytes for the wire: canonical JSON, compressed, with an Ed25519 signature over all of it."""

from __future__ import annotations

import json
import zlib
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Protocol

from delivery.manifest import Bundle, FileEntry, Manifest, ManifestError, Piece, check_manifest
from delivery.sessions import Session

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_SIGNED_BYTES = 8 << 20
"""The largest signed manifest accepted: some 100 000 files."""
MAX_JSON_BYTES = 64 << 20
"""What a manifest may grow to when decompressed."""

_MAGIC = b"NCM1"
_SIGNATURE_BYTES = 64
_CONTEXT = b"nearcast manifest 1\0"


class Verifier(Protocol):
    """A public key, or a ring of them (`delivery.keys.KeyRing`)."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises cryptography's InvalidSignature unless a trusted key signed `data`."""


def sign_manifest(manifest: Manifest, private_key: Ed25519PrivateKey) -> bytes:
    """The manifest as bytes for the wire: magic, signature over all that follows, compressed canonical JSON.

    Raises ManifestError when the manifest is not one that `open_manifest` would accept.
    """
    check_manifest(manifest)
    body = zlib.compress(_to_json(manifest), 9)
    signed = _MAGIC + private_key.sign(_CONTEXT + body) + body
    if len(signed) > MAX_SIGNED_BYTES:
        raise ManifestError(
            f"the manifest takes {len(signed)} bytes, {MAX_SIGNED_BYTES} are allowed; publish fewer files"
        )
    return signed


def open_manifest(data: bytes, public_key: Verifier) -> Manifest:
    """The manifest in `data`, checked from the signature to the last path. Raises ManifestError."""
    from cryptography.exceptions import InvalidSignature

    head = len(_MAGIC) + _SIGNATURE_BYTES
    if len(data) > MAX_SIGNED_BYTES:
        raise ManifestError(f"manifest of {len(data)} bytes, more than {MAX_SIGNED_BYTES}")
    if len(data) <= head or data[: len(_MAGIC)] != _MAGIC:
        raise ManifestError("not a manifest")
    body = data[head:]
    try:
        public_key.verify(data[len(_MAGIC) : head], _CONTEXT + body)
    except InvalidSignature:
        raise ManifestError("manifest signature does not verify") from None
    manifest = _from_json(_inflate(body))
    check_manifest(manifest)
    return manifest


def _inflate(body: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(body, MAX_JSON_BYTES)
    except zlib.error as error:
        raise ManifestError(f"manifest does not decompress: {error}") from None
    if decompressor.unconsumed_tail:
        raise ManifestError(f"manifest is larger than {MAX_JSON_BYTES} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise ManifestError("manifest is cut short or has trailing bytes")
    return text


def _to_json(manifest: Manifest) -> bytes:
    """Canonical: no spaces, fixed order; pieces name their blob by its number among the blobs. What is as
    usual (a class, an encoding) takes no room."""
    number = {sha256: index for index, sha256 in enumerate(manifest.blobs)}
    document: dict[str, Any] = {
        "site": manifest.site,
        "version": manifest.version,
        "blobs": list(manifest.blobs.items()),
        "files": [_file_row(entry, number[entry.sha256]) for entry in manifest.files],
        "bundles": [
            [
                bundle.toi,
                bundle.size,
                bundle.sha256,
                [[number[piece.sha256], piece.offset, piece.length] for piece in bundle.pieces],
                *_coding(bundle),
            ]
            for bundle in manifest.bundles
        ],
    }
    if manifest.sessions:
        document["sessions"] = [astuple(session) for session in manifest.sessions]
    if manifest.keys:
        document["keys"] = manifest.keys
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _file_row(entry: FileEntry, blob: int) -> list[Any]:
    row: list[Any] = [entry.path, blob, entry.content_type]
    if entry.delivery or entry.expires_unix_s:
        row += [entry.delivery, entry.expires_unix_s]
    return row


def _coding(bundle: Bundle) -> list[Any]:
    coding: list[Any] = [bundle.coded_bytes, bundle.encoding, bundle.epoch, bundle.region]
    return coding if any(coding) else []


def _from_json(text: bytes) -> Manifest:
    try:
        document = json.loads(text)
        blobs = [(_text(sha256), _integer(size)) for sha256, size in document["blobs"]]
        return Manifest(
            site=_text(document["site"]),
            version=_integer(document["version"]),
            files=tuple(_file(row, blobs) for row in document["files"]),
            bundles=tuple(_bundle(row, blobs) for row in document["bundles"]),
            sessions=tuple(_session(row) for row in document.get("sessions", ())),
            keys=tuple(_text(key) for key in document.get("keys", ())),
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ManifestError(f"manifest has an unexpected structure: {error!r}") from None


def _file(row: Any, blobs: list[tuple[str, int]]) -> FileEntry:
    path, blob, content_type, *more = row
    sha256, size = blobs[_index(blob)]
    delivery, expires = more or ("", 0)
    return FileEntry(_text(path), size, sha256, _text(content_type), _text(delivery), _integer(expires))


def _bundle(row: Any, blobs: list[tuple[str, int]]) -> Bundle:
    toi, size, sha256, pieces, *more = row
    coded_bytes, encoding, epoch, region = more or (0, "", 0, "")
    return Bundle(
        _integer(toi),
        _integer(size),
        _text(sha256),
        tuple(Piece(blobs[_index(n)][0], _integer(offset), _integer(length)) for n, offset, length in pieces),
        _integer(coded_bytes),
        _text(encoding),
        _integer(epoch),
        _text(region),
    )


def _session(row: Any) -> Session:
    prefix, source, group, port, tsi, url, public_key, region = row
    texts = (_text(prefix), _text(source), _text(group))
    return Session(*texts, _integer(port), _integer(tsi), _text(url), _text(public_key), _text(region))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _index(value: Any) -> int:
    index = _integer(value)
    if index < 0:
        raise IndexError("negative blob number")
    return index
