"""The accepted manifests of one site in a folder: `000007`, …; `current` names the newest, `served` the
version that users see. All changes are durable, and leave the old or the new."""

from __future__ import annotations

import os
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from delivery.manifest import EVERYWHERE, FileEntry, Manifest, ManifestError, class_of
from delivery.signing import MAX_JSON_BYTES, Verifier, open_manifest
from edge_node.blobs import StoreError
from edge_node.durable import link_durably, write_durably

CURRENT, SERVED = "current", "served"
_HEAD_BYTES = 68
"""What stands before the compressed part of a signed manifest: magic and signature."""


@dataclass(frozen=True)
class Version:
    """A manifest with the bytes that were signed, at an edge in `region` ("": none)."""

    manifest: Manifest
    signed: bytes
    region: str = ""

    @property
    def number(self) -> int:
        """The manifest's version."""
        return self.manifest.version

    @cached_property
    def entries(self) -> Mapping[str, FileEntry]:
        """The files by their paths."""
        return {entry.path: entry for entry in self.manifest.files}

    @cached_property
    def wanted(self) -> Mapping[str, int]:
        """The blobs, with their sizes in bytes, that the edge is to hold, in the manifest's order: those of
        files for every edge and for its region."""
        classes = {EVERYWHERE, class_of(self.region)}
        return {entry.sha256: entry.size for entry in self.manifest.files if entry.delivery in classes}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a shelf holds: versions from the newest down, the numbers of the one that was served and of the
    newest that was ever accepted (0: none), and what was wrong, one line each."""

    versions: tuple[Version, ...] = ()
    served: int = 0
    accepted: int = 0
    warnings: tuple[str, ...] = ()


class Shelf:
    """A folder of manifests, written by way of `tmp`. The methods that change it raise OSError."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self._folder, self._tmp = folder, tmp

    def write(self, version: Version) -> None:
        """Keep a newer version, and make it the current one."""
        write_durably(self._tmp / "manifest", self._folder / _name(version.number), version.signed)
        link_durably(self._tmp / CURRENT, self._folder / CURRENT, _name(version.number))

    def serve(self, number: int) -> None:
        """Note that users see version `number` from now on."""
        link_durably(self._tmp / SERVED, self._folder / SERVED, _name(number))

    def keep_only(self, numbers: Container[int]) -> None:
        """Remove the files of all other versions. One that comes back after a crash does no harm."""
        for path in self._folder.iterdir():
            if _is_version(path) and int(path.name) not in numbers:
                path.unlink()


def load(folder: Path, key: Verifier, region: str = "") -> Loaded:
    """The accepted manifests in `folder`, at an edge in `region`. Newer ones that were written but never
    became current (a crash in between) do not count; damaged ones are left out with a warning.

    Raises StoreError when none verifies though one of them is undamaged: the key is another one.
    """
    warnings: list[str] = []
    names = sorted((path.name for path in folder.iterdir() if _is_version(path)), reverse=True)
    link = _link(folder / CURRENT)
    if link is None:
        return Loaded()
    accepted = int(link) if link.isdecimal() else int(max(names, default="0"))
    if not link.isdecimal():
        warnings.append(f"{folder / CURRENT}: names no version; taking the newest manifest that verifies")
    elif link not in names:
        warnings.append(f"{folder / link}: the current manifest is gone; an older one takes its place")
    versions: list[Version] = []
    is_other_key = False
    for name in names:
        if int(name) > accepted:
            continue
        try:
            versions.append(_read(folder / name, key, region))
        except ManifestError as error:
            warnings.append(f"{folder / name}: {error}; an older one takes its place until the next arrives")
            is_other_key = is_other_key or _is_whole(folder / name)
    if is_other_key and not versions:
        raise StoreError(
            f"{warnings[-1].partition(';')[0]}; give the origin's --public-key, or remove the store"
        )
    served = _link(folder / SERVED) or ""
    return Loaded(tuple(versions), int(served) if served.isdecimal() else 0, accepted, tuple(warnings))


def _read(path: Path, key: Verifier, region: str) -> Version:
    """Raises ManifestError for what cannot be read, too."""
    try:
        version = Version(open_manifest(signed := path.read_bytes(), key), signed, region)
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror}") from None
    if version.number != int(path.name):
        raise ManifestError(f"is manifest version {version.number}")
    return version


def _is_whole(path: Path) -> bool:
    """Whether the compressed part agrees with its checksum: it is not damage that spoils the signature."""
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(path.read_bytes()[_HEAD_BYTES:], MAX_JSON_BYTES)
    except (OSError, zlib.error):
        return False
    return decompressor.eof


def _name(number: int) -> str:
    return f"{number:06d}"


def _is_version(path: Path) -> bool:
    return path.name.isdecimal() and path.name.isascii()


def _link(path: Path) -> str | None:
    """Where a symbolic link leads, "" for something that is none; None when there is nothing."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
