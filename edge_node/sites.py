"""One of the sites a store holds: its newest version, the version users see, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from delivery.manifest import FileEntry, Manifest
from edge_node.blobs import BlobFiles, StoreError
from edge_node.shelf import Loaded, Shelf, Version


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a URL names: a file of `version` of the site with this `prefix`. Without `is_here` its content has
    to be fetched first."""

    entry: FileEntry
    prefix: str
    version: int
    is_here: bool


def folder_name(prefix: str) -> str:
    """The folder below `manifests/` of the site with this prefix, a name that no version has."""
    return "@" + quote(prefix, safe="")


class Site:
    """Its versions here: at most the newest and the one served, which are the same once that is complete.

    Without a `shelf` it is remembered until it is dropped or the store is closed.
    """

    def __init__(
        self, prefix: str, region: str, blobs: BlobFiles, shelf: Shelf | None, loaded: Loaded | None = None
    ) -> None:
        self.prefix = prefix
        self._region, self._blobs, self._shelf = region, blobs, shelf
        loaded = loaded or Loaded()
        self._accepted = loaded.accepted
        self._excused: frozenset[str] = frozenset()
        self._newest: Version | None = None
        self._served: Version | None = None
        if loaded.versions:
            _disbelieve(blobs, loaded.versions)
            self._newest = loaded.versions[0]
            served = [version for version in loaded.versions if version.number == loaded.served]
            complete = [version for version in loaded.versions if not blobs.missing(version.wanted)]
            self._served = next(iter(served + complete), None)

    @property
    def is_transient(self) -> bool:
        """Whether it ends with the process."""
        return self._shelf is None

    @property
    def has_lost_its_newest(self) -> bool:
        """Whether a newer manifest than the one here was accepted once: its file was damaged."""
        return self._accepted > self.version

    @property
    def manifest(self) -> Manifest | None:
        """The newest manifest accepted, None before the first."""
        return self._newest.manifest if self._newest else None

    @property
    def signed_manifest(self) -> bytes | None:
        """The newest manifest as it was signed."""
        return self._newest.signed if self._newest else None

    @property
    def version(self) -> int:
        """The newest manifest's version, 0 before the first."""
        return self._newest.number if self._newest else 0

    @property
    def served_version(self) -> int:
        """The version that users see: the newest that was complete, 0 before the first."""
        return self._served.number if self._served else 0

    def wanted(self) -> Mapping[str, int]:
        """The blobs of the newest manifest that this edge is to hold, with their sizes in bytes."""
        wanted = self._newest.wanted if self._newest else {}
        if self._excused.isdisjoint(wanted):
            return wanted
        return {sha256: size for sha256, size in wanted.items() if sha256 not in self._excused}

    def excuse(self, blobs: Iterable[str]) -> None:
        """These need not be here for a version to be complete: they are fetched when somebody asks."""
        self._excused |= frozenset(blobs)

    def is_excused(self, sha256: str) -> bool:
        """Whether the blob need not be here, see `excuse`."""
        return sha256 in self._excused

    def missing(self) -> list[str]:
        """Those of `wanted` that are not here yet, in their order."""
        return self._blobs.missing(self.wanted())

    @property
    def complete(self) -> bool:
        """Whether the newest manifest's wanted content is here."""
        return self._newest is not None and not self.missing()

    def pinned(self) -> Iterable[str]:
        """The blobs that are wanted, of the version served and the newest."""
        return {sha256 for version in self._held for sha256 in version.wanted}

    def listed(self) -> Iterable[str]:
        """The blobs that a manifest held here names."""
        return {sha256 for version in self._held for sha256 in version.manifest.blobs}

    def find(self, name: str, now_unix_s: int) -> Resolved | None:
        """The file called `name` in the version users see; before any was complete, in the newest."""
        version = self._served or self._newest
        entry = version.entries.get(name) if version else None
        if version is None or entry is None or 0 < entry.expires_unix_s <= now_unix_s:
            return None
        return Resolved(entry, self.prefix, version.number, entry.sha256 in self._blobs)

    def accept(self, signed: bytes, manifest: Manifest) -> None:
        """Make `manifest`, verified by the caller, the newest. Raises StoreError unless it is newer than the
        one held, and not older than one that was held and is damaged; StoreFullError."""
        least = max(self.version + 1, self._accepted if self.has_lost_its_newest else 0)
        if manifest.version < least:
            raise StoreError(
                f"manifest version {manifest.version} is not newer than version {least - 1} held"
            )
        version = Version(manifest, signed, self._region)
        if self._shelf is not None:
            self._blobs.with_room(2 * len(signed), partial(self._shelf.write, version))
        self._newest, self._accepted = version, manifest.version
        self._forget_others()

    def advance(self) -> bool:
        """Serve the newest version if it is complete; whether that changed anything."""
        newest = self._newest
        if newest is None or newest is self._served or not self.complete:
            return False
        if self._shelf is not None:
            with suppress(OSError):  # only a version that is not complete has to be known by this mark
                self._shelf.serve(newest.number)
        self._served = newest
        self._forget_others()
        return True

    def sweep(self) -> None:
        """Remove manifests from the disk that are not held (any more). Raises OSError."""
        if self._shelf is not None:
            self._shelf.keep_only({version.number for version in self._held})

    def _forget_others(self) -> None:
        with suppress(OSError):  # what cannot be removed now is at the next start
            self.sweep()

    @property
    def _held(self) -> tuple[Version, ...]:
        held = (self._newest, self._served)
        return tuple({version.number: version for version in held if version is not None}.values())


def _disbelieve(blobs: BlobFiles, versions: Iterable[Version]) -> None:
    """Remove blobs whose size on disk is not what a manifest says."""
    for version in versions:
        for sha256, size in version.manifest.blobs.items():
            if sha256 in blobs and blobs.size(sha256) != size:
                blobs.remove(sha256)
