"""What an edge holds: verified content and the manifests that say which file it belongs to.

On disk (see docs/architecture.md): `blobs/ab/abcd…`, `tmp/`, `manifests/`, and `origin.pem`, the key the
manifests of the site of all edges are signed with.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from delivery.errors import DeliveryError
from delivery.manifest import Manifest
from delivery.signing import Verifier
from edge_node.blobs import Aside, BlobFiles, StoreError
from edge_node.durable import fsync_directory, make_folder
from edge_node.eviction import Pins
from edge_node.http.paths import file_name
from edge_node.parts import Part, Parts
from edge_node.shelf import Shelf, load
from edge_node.sites import Resolved, Site, folder_name


class Store:
    """An edge's content on disk; opening one takes it for this process alone and empties `tmp/`.

    It holds several sites, each under its prefix: "" is the site of all edges; those given as `permanent` are
    kept like it; any other is remembered until it is dropped or the store is closed. Users see only whole
    versions: a site's paths all come from the newest version whose content was complete, and before there
    was one, from what is there of the newest. `accept_manifest`, `put`, `settle` and `drop_site` block on the
    disk; whoever holds `lock` keeps other threads from changing manifests, and from removing what none lists.
    """

    def __init__(
        self,
        root: Path,
        key: Verifier,
        *,
        max_bytes: int | None = None,
        region: str = "",
        permanent: Mapping[str, Verifier] | None = None,
    ) -> None:
        """Open or create the store of an edge in `region`; it takes at most `max_bytes`, `key` verifies the
        site of all edges. `warnings` says afterwards, one line each, what was damaged. `generation` is
        another number after every change of what paths name, but for files that expire.

        Raises StoreError when another process has it, it cannot be read, or a key does not fit.
        """
        self.root = root
        self.warnings: list[str] = []
        self._region = region
        self.lock = threading.RLock()
        self.generation = 0
        self._sites: dict[str, Site] = {}
        self._listed: frozenset[str] = frozenset()
        self._guests: set[str] = set()
        try:
            self._directory = _take(root)
            try:
                self.blobs = BlobFiles(root, max_bytes)
                self.parts = Parts(self.blobs, root / "tmp")
                self._load({"": key, **(permanent or {})})
            except BaseException:
                os.close(self._directory)
                raise
        except OSError as error:
            raise StoreError(f"{root}: cannot open the store: {error.strerror}; check --store") from None

    def close(self) -> None:
        """Let other processes open the store."""
        os.close(self._directory)

    # The site of all edges

    @property
    def manifest(self) -> Manifest | None:
        """The newest manifest accepted, None before the first."""
        return self.site().manifest

    @property
    def signed_manifest(self) -> bytes | None:
        """The newest manifest as it was signed."""
        return self.site().signed_manifest

    @property
    def version(self) -> int:
        """The newest manifest's version, 0 before the first."""
        return self.site().version

    def missing(self) -> list[str]:
        """The blobs of the newest manifest that are wanted here and missing, in its order."""
        return self.site().missing()

    @property
    def complete(self) -> bool:
        """Whether every file of the newest manifest that is wanted here can be served."""
        return self.site().complete

    # Sites

    def site(self, prefix: str = "") -> Site:
        """The site with this prefix; without a manifest as long as none was accepted."""
        site = self._sites.get(prefix)
        if site is None:
            site = self._sites.setdefault(prefix, Site(prefix, self._region, self.blobs, None))
        return site

    def sites(self) -> tuple[Site, ...]:
        """All sites."""
        return tuple(self._sites.values())

    def accept_manifest(self, signed: bytes, manifest: Manifest, prefix: str = "") -> None:
        """Make `manifest` the newest of a site; `signed` are its bytes, verified by the caller. Raises
        StoreError unless it is newer than the one held, StoreFullError."""
        with self.lock:
            site = self.site(prefix)
            site.advance()  # what is complete must not be forgotten for what begins
            site.accept(signed, manifest)
            site.advance()
            self._tidy()

    def drop_site(self, prefix: str) -> None:
        """Forget a site that ends with the process, and the content that no other lists. Objects that `site`
        gave for it are of no use any more. Raises StoreError for one that is kept."""
        with self.lock:
            site = self._sites.get(prefix)
            if site is None:
                return
            if not site.is_transient:
                raise StoreError(f"site {prefix!r} is kept across restarts, it cannot be dropped")
            del self._sites[prefix]
            self._tidy()

    def settle(self) -> None:
        """Serve every site's newest version that has become complete; remove what no manifest held lists."""
        with self.lock:
            changes = [site.advance() for site in self.sites()]
            if any(changes):
                self._tidy()
            else:
                self._remove_unlisted()

    # Content

    def has(self, sha256: str) -> bool:
        """Whether the blob is here, complete and durable."""
        return sha256 in self.blobs

    def path(self, sha256: str) -> Path:
        """The file that holds a blob `has` knows."""
        return self.blobs.path(sha256)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """Part of a blob's content, for publications. Raises DeliveryError when it cannot be read."""
        try:
            with open(self.path(sha256), "rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise DeliveryError(f"{self.path(sha256)}: cannot read it: {error.strerror}") from None

    def touch(self, sha256: str) -> None:
        """Note that a blob was used just now: it is evicted after others."""
        self.blobs.touch(sha256)

    def check(self, sha256: str) -> bool:
        """Whether the blob is here and its bytes have its digest; one that is damaged is removed, and so
        missing from now on. Reads all of it."""
        return self.blobs.check(sha256)

    def put(self, items: Sequence[tuple[str, bytes | Aside]]) -> list[StoreError | None]:
        """Store blobs, given as (SHA-256, content or what holds it in `tmp/`), with one commit; for each what
        kept it out (StoreFullError, DamagedError), or None: it is durable now.

        What no manifest lists is removed at the next `settle`.
        """
        outcomes: list[StoreError | None] = [None] * len(items)
        asides: list[tuple[Aside, str]] = []
        places: list[int] = []
        for place, (sha256, content) in enumerate(items):
            try:
                asides.append((self._aside(content), sha256))
                places.append(place)
            except StoreError as error:
                outcomes[place] = error
        for place, outcome in zip(places, self.blobs.commit(asides), strict=True):
            outcomes[place] = outcome
        for aside, sha256 in asides:
            if isinstance(aside, Part):
                self.parts.forget(sha256)
        return outcomes

    def adopt(self, sha256: str) -> None:
        """Let a blob that no manifest lists stay until it is `release`d, or evicted: it is one of the first
        to make room. Not remembered across restarts."""
        self._guests.add(sha256)

    def release(self, sha256: str) -> None:
        """A blob that was adopted is not needed any more."""
        self._guests.discard(sha256)
        if sha256 not in self._listed:
            self.blobs.remove(sha256)

    def resolve(self, url_path: str, now_unix_s: int) -> Resolved | None:
        """The file a raw URL path names at `now_unix_s` (seconds since 1970), None when there is none: it
        is in no manifest, or has expired. It counts as used.

        Only names in a manifest are ever looked up: no path can lead to anything else.
        """
        name = file_name(url_path)
        if name is None:
            return None
        site, name = self._site_of(name)
        found = site.find(name, now_unix_s)
        if found is not None and found.is_here:
            self.blobs.touch(found.entry.sha256)
        return found

    def _site_of(self, name: str) -> tuple[Site, str]:
        """The site a path lies in, the longest prefix first, and what remains of the path."""
        cut = len(name)
        while len(self._sites) > 1 and (cut := name.rfind("/", 0, cut)) > 0:
            site = self._sites.get(name[:cut])
            if site is not None and site.manifest is not None:
                return site, name[cut + 1 :]
        return self.site(), name

    def _aside(self, content: bytes | Aside) -> Aside:
        if not isinstance(content, bytes):
            return content
        staging = self.blobs.stage()
        staging.write(content)
        return staging

    def _load(self, keys: Mapping[str, Verifier]) -> None:
        """Load the sites that are kept, remove the manifests of all others, and serve what is complete."""
        manifests, tmp = self.root / "manifests", self.root / "tmp"
        kept = {folder_name(prefix) for prefix in keys if prefix}
        for path in manifests.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)
        for prefix, key in keys.items():
            folder = manifests / folder_name(prefix) if prefix else manifests
            make_folder(folder)
            fsync_directory(folder)
            loaded = load(folder, key, self._region)
            self.warnings += loaded.warnings
            self._sites[prefix] = Site(prefix, self._region, self.blobs, Shelf(folder, tmp), loaded)
        for site in self.sites():
            site.sweep()
            site.advance()
        self._tidy()

    def _tidy(self) -> None:
        """After a change of the manifests held: pin what they want, remove what none of them lists."""
        self.generation += 1
        sites = self.sites()
        never = _union(site.pinned() for site in sites if not site.is_transient)
        last = _union(site.pinned() for site in sites if site.is_transient)
        self._listed = _union(site.listed() for site in sites)
        self._remove_unlisted()
        self.blobs.pin(Pins(never, last))

    def _remove_unlisted(self) -> None:
        # The content of a manifest that was damaged waits for its successor.
        if not any(site.has_lost_its_newest for site in self.sites()):
            self.blobs.remove_all_but(_Either(self._listed, self._guests))
            self.parts.discard_all_but(self._listed)


class _Either:
    """What is in one of two sets, of which the second may change while it is looked at."""

    def __init__(self, one: Container[str], other: Container[str]) -> None:
        self._one, self._other = one, other

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self._one or sha256 in self._other


def _take(root: Path) -> int:
    """Make the folders, take the store for this process and empty `tmp/`; the descriptor that holds it."""
    for name in ("blobs", "tmp", "manifests"):
        make_folder(root / name)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A process that was killed may have made the folders without making their names durable.
        with suppress(PermissionError):  # a parent that others made, and that we cannot read
            fsync_directory(root.parent)
        fsync_directory(root)
        for leftover in (root / "tmp").iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
    except BlockingIOError:
        os.close(directory)
        raise StoreError(f"{root}: another process uses this store; end it first") from None
    except OSError:
        os.close(directory)
        raise
    return directory


def _union(parts: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset(sha256 for part in parts for sha256 in part)
