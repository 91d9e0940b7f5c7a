"""What a site consists of and how multicast carries it; immutable data with an Ed25519 signature.

A *blob* is a file's content, named by its SHA-256 in lower-case hex. A *bundle* is one FLUTE object: a run of
pieces of blobs. Nothing is taken from the group, stored or served unless a manifest that verifies says so.
"""

from __future__ import annotations

import json
import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_SIGNED_BYTES = 8 << 20
"""The largest signed manifest accepted: some 100 000 files."""
MAX_JSON_BYTES = 64 << 20
"""What a manifest may grow to when decompressed."""
MAX_BUNDLE_BYTES = 8 << 20
"""The largest bundle: RaptorQ needs one source block without sub-blocks; memory is bounded."""
MAX_BLOB_BYTES = 512 << 20
"""The largest file: receivers put blobs together in memory."""
MAX_PATH_BYTES = 4096
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The name of the empty blob, which no bundle carries."""

_MAGIC = b"NCM1"
_SIGNATURE_BYTES = 64
_CONTEXT = b"nearcast manifest 1\0"
_HEX = frozenset(string.hexdigits.lower())


class ManifestError(ValueError):
    """A manifest that cannot be trusted or makes no sense; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the site. `path` is relative with `/` between its parts; `size` counts bytes."""

    path: str
    size: int
    sha256: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of the blob `sha256` from `offset` on; pieces fill their bundle one after the other."""

    sha256: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The FLUTE object `toi`: `size` bytes with the digest `sha256`, made of `pieces` without gaps."""

    toi: int
    size: int
    sha256: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Manifest:
    """A version of a site: its files, and the bundles that carry their content. Versions only grow."""

    site: str
    version: int
    files: tuple[FileEntry, ...]
    bundles: tuple[Bundle, ...]

    @cached_property
    def blobs(self) -> Mapping[str, int]:
        """Every blob of the site with its size in bytes, in the order of the files."""
        return {entry.sha256: entry.size for entry in self.files}


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


def open_manifest(data: bytes, public_key: Ed25519PublicKey) -> Manifest:
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


def check_manifest(manifest: Manifest) -> None:
    """Raise ManifestError unless every path is safe, every size fits and nothing is named twice."""
    if not manifest.site or manifest.version < 1:
        raise ManifestError("manifest without site name or with a version below 1")
    seen: set[str] = set()
    for entry in manifest.files:
        _check_path(entry.path)
        _check_digest(entry.sha256)
        if entry.path in seen:
            raise ManifestError(f"path {entry.path!r} is listed twice")
        if entry.size < 0 or manifest.blobs[entry.sha256] != entry.size:
            raise ManifestError(f"path {entry.path!r} has a size that contradicts its content's")
        if entry.size > MAX_BLOB_BYTES:
            raise ManifestError(f"path {entry.path!r} has {entry.size} bytes, allowed are {MAX_BLOB_BYTES}")
        if (entry.size == 0) != (entry.sha256 == EMPTY_SHA256):
            raise ManifestError(f"path {entry.path!r} has a size that contradicts its digest")
        if any(ord(char) < 0x20 or ord(char) > 0x7E for char in entry.content_type):
            raise ManifestError(f"path {entry.path!r} has a content type that is no header value")
        seen.add(entry.path)
    _check_bundles(manifest)


def _check_bundles(manifest: Manifest) -> None:
    tois: set[int] = set()
    carried: dict[str, list[tuple[int, int]]] = {}
    for bundle in manifest.bundles:
        _check_digest(bundle.sha256)
        if bundle.toi in tois or not 0 < bundle.toi < 1 << 48:
            raise ManifestError(f"bundle TOI {bundle.toi} is out of range or listed twice")
        if not 0 < bundle.size <= MAX_BUNDLE_BYTES:
            raise ManifestError(
                f"bundle {bundle.toi} has {bundle.size} bytes, allowed are 1 to {MAX_BUNDLE_BYTES}"
            )
        if sum(piece.length for piece in bundle.pieces) != bundle.size:
            raise ManifestError(f"bundle {bundle.toi}: its pieces do not add up to its size")
        for piece in bundle.pieces:
            size = manifest.blobs.get(piece.sha256)
            if size is None:
                raise ManifestError(f"bundle {bundle.toi} carries a blob that no file has")
            if piece.offset < 0 or piece.length < 1 or piece.offset + piece.length > size:
                raise ManifestError(f"bundle {bundle.toi} has a piece outside its blob")
            carried.setdefault(piece.sha256, []).append((piece.offset, piece.length))
        tois.add(bundle.toi)
    for sha256, runs in carried.items():
        end = 0
        for offset, length in sorted(runs):
            if offset != end:
                raise ManifestError(f"the pieces of blob {sha256} leave a gap or overlap")
            end = offset + length
        if end != manifest.blobs[sha256]:
            raise ManifestError(f"the pieces of blob {sha256} do not add up to its size")


def _check_path(path: str) -> None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise ManifestError(f"path {path!r} is not valid Unicode") from None
    if not path or len(encoded) > MAX_PATH_BYTES or "\0" in path:
        raise ManifestError(f"path {path[:80]!r} is empty, too long or contains NUL")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ManifestError(f"path {path[:80]!r} is not a plain relative path")


def _check_digest(sha256: str) -> None:
    if len(sha256) != 64 or not _HEX.issuperset(sha256):
        raise ManifestError(f"{sha256[:80]!r} is not a SHA-256 in lower-case hex")


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
    """Canonical: no spaces, fixed order; pieces name their blob by its number among the blobs."""
    number = {sha256: index for index, sha256 in enumerate(manifest.blobs)}
    document = {
        "site": manifest.site,
        "version": manifest.version,
        "blobs": list(manifest.blobs.items()),
        "files": [[entry.path, number[entry.sha256], entry.content_type] for entry in manifest.files],
        "bundles": [
            [
                bundle.toi,
                bundle.size,
                bundle.sha256,
                [[number[piece.sha256], piece.offset, piece.length] for piece in bundle.pieces],
            ]
            for bundle in manifest.bundles
        ],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _from_json(text: bytes) -> Manifest:
    try:
        document = json.loads(text)
        blobs = [(_text(sha256), _integer(size)) for sha256, size in document["blobs"]]
        return Manifest(
            site=_text(document["site"]),
            version=_integer(document["version"]),
            files=tuple(
                FileEntry(_text(path), blobs[_index(blob)][1], blobs[_index(blob)][0], _text(content_type))
                for path, blob, content_type in document["files"]
            ),
            bundles=tuple(
                Bundle(
                    _integer(toi),
                    _integer(size),
                    _text(sha256),
                    tuple(
                        Piece(blobs[_index(blob)][0], _integer(offset), _integer(length))
                        for blob, offset, length in pieces
                    ),
                )
                for toi, size, sha256, pieces in document["bundles"]
            ),
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ManifestError(f"manifest has an unexpected structure: {error!r}") from None


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
