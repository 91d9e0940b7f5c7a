"""What a site consists of and how multicast carries it: immutable data, and what makes it sound.

A *blob* is a file's content, named by its SHA-256 in lower-case hex. A *bundle* is one FLUTE object: a run of
pieces of blobs. Nothing is taken from the group, stored or served unless a manifest that verifies says so
(`delivery.signing`).
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from delivery.sessions import Session, SessionError, check_sessions

MAX_BUNDLE_BYTES = 8 << 20
"""The largest bundle: RaptorQ needs one source block without sub-blocks; memory is bounded."""
MAX_CODED_BYTES = MAX_BUNDLE_BYTES + 1024
"""The largest object on the wire: a bundle with what encryption adds."""
MAX_BLOB_BYTES = 1 << 40
"""The largest file: it is cut into bundles, and put together on disk."""
MAX_PATH_BYTES = 4096
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The name of the empty blob, which no bundle carries."""
EVERYWHERE, ON_DEMAND, REGION = "", "on-demand", "region/"
"""Classes of delivery: to every edge; to an edge that is asked for it; to the edges of one region
(`region/NAME`)."""
ZSTD = "zstd"
"""The one content encoding of bundles (RFC 8878)."""

_HEX = frozenset(string.hexdigits.lower())


class ManifestError(ValueError):
    """A manifest that cannot be trusted or makes no sense; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the site. `path` is relative with `/` between its parts; `size` counts bytes.

    `delivery` is its class; from `expires_unix_s` on (0: never) it is not served any more.
    """

    path: str
    size: int
    sha256: str
    content_type: str
    delivery: str = EVERYWHERE
    expires_unix_s: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of the blob `sha256` from `offset` on; pieces fill their bundle one after the other."""

    sha256: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The FLUTE object `toi`: `size` bytes with the digest `sha256`, made of `pieces` without gaps.

    On the wire it has `coded_bytes` bytes (0: the same), after its `encoding` and then the encryption with
    the key of `epoch` (0: none). `region` names the stream that carries it ("": the site's own).
    """

    toi: int
    size: int
    sha256: str
    pieces: tuple[Piece, ...]
    coded_bytes: int = 0
    encoding: str = ""
    epoch: int = 0
    region: str = ""

    @property
    def transfer_length(self) -> int:
        """The bytes of the FLUTE object."""
        return self.coded_bytes or self.size


@dataclass(frozen=True)
class Manifest:
    """A version of a site: its files, and the bundles that carry their content. Versions only grow.

    `sessions` are further streams that an edge may subscribe to. `keys` are the public keys (hex) that are
    trusted from this version on; none: as before.
    """

    site: str
    version: int
    files: tuple[FileEntry, ...]
    bundles: tuple[Bundle, ...]
    sessions: tuple[Session, ...] = ()
    keys: tuple[str, ...] = ()

    @cached_property
    def blobs(self) -> Mapping[str, int]:
        """Every blob of the site with its size in bytes, in the order of the files."""
        return {entry.sha256: entry.size for entry in self.files}


def class_of(region: str) -> str:
    """The class of the files that a region's stream brings, of the site's own stream for ""."""
    return REGION + region if region else EVERYWHERE


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
        if entry.delivery not in (EVERYWHERE, ON_DEMAND) and not _is_region(entry.delivery):
            raise ManifestError(f"path {entry.path!r} has the unknown class {entry.delivery[:80]!r}")
        if entry.expires_unix_s < 0:
            raise ManifestError(f"path {entry.path!r} expires before 1970")
        seen.add(entry.path)
    _check_bundles(manifest)
    for key in manifest.keys:
        _check_digest(key)
    try:
        check_sessions(manifest.sessions)
    except SessionError as error:
        raise ManifestError(str(error)) from None


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
        _check_coding(bundle)
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


def _check_coding(bundle: Bundle) -> None:
    if not 0 < bundle.transfer_length <= MAX_CODED_BYTES or not 0 <= bundle.epoch < 1 << 32:
        raise ManifestError(f"bundle {bundle.toi} has an impossible length on the wire or epoch")
    if bundle.encoding not in ("", ZSTD):
        raise ManifestError(f"bundle {bundle.toi} has the unknown encoding {bundle.encoding[:80]!r}")
    if bundle.region and not _is_region(REGION + bundle.region):
        raise ManifestError(f"bundle {bundle.toi} is of a region without a proper name")


def _is_region(delivery: str) -> bool:
    name = delivery.removeprefix(REGION)
    return delivery.startswith(REGION) and 0 < len(name) <= 63 and name.isprintable() and "/" not in name


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
