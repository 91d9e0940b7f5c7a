"""One version of the site, ready to send: manifest, bundles and the order in which they go out. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from delivery.announcement import BUNDLE_TYPE, MANIFEST_TYPE, manifest_location
from delivery.bundles import plan_bundles, read_bundle
from delivery.manifest import Bundle, FileEntry, Manifest
from delivery.sender import DEFAULT_SYMBOL_BYTES, Outgoing

ReadBlob = Callable[[str, int, int], bytes]


@dataclass(frozen=True)
class Edition:
    """A manifest and its bundles. Those in `on_demand` carry what edges have from the version before."""

    manifest: Manifest
    manifest_toi: int
    on_demand: frozenset[int]

    @property
    def next_toi(self) -> int:
        """The first TOI the next edition may use."""
        return max([self.manifest_toi, *(bundle.toi for bundle in self.manifest.bundles)]) + 1

    @property
    def content_bytes(self) -> int:
        """The bytes of all bundles that are sent without being asked for."""
        return sum(bundle.size for bundle in self.manifest.bundles if bundle.toi not in self.on_demand)


def make_edition(
    site: str,
    version: int,
    files: tuple[FileEntry, ...],
    read: ReadBlob,
    *,
    first_toi: int,
    known: Mapping[str, int],
) -> Edition:
    """Plan the bundles of a site: first those of blobs that edges `known`-ly have, then the new ones.

    Bundles of known blobs are described but not sent, so that an edge that lacks them can ask for them by the
    same means as for anything that was lost.
    """
    blobs = {entry.sha256: entry.size for entry in files}
    old = plan_bundles([blob for blob in blobs.items() if blob[0] in known], first_toi + 1)
    new = plan_bundles([blob for blob in blobs.items() if blob[0] not in known], first_toi + 1 + len(old))
    bundles = tuple(
        Bundle(plan.toi, plan.size, hashlib.sha256(read_bundle(plan.pieces, read)).hexdigest(), plan.pieces)
        for plan in old + new
    )
    return Edition(Manifest(site, version, files, bundles), first_toi, frozenset(plan.toi for plan in old))


def outgoing(
    edition: Edition, signed: bytes, read: ReadBlob, symbol_bytes: int = DEFAULT_SYMBOL_BYTES
) -> list[Outgoing]:
    """The objects for `delivery.sender`, the manifest first: without it an edge can keep nothing, so it goes
    with a third more symbols than it needs."""
    symbols = math.ceil(len(signed) / symbol_bytes)
    version = edition.manifest.version
    objects = [
        Outgoing(
            toi=edition.manifest_toi,
            location=manifest_location(version),
            content_type=MANIFEST_TYPE,
            size=len(signed),
            load=lambda: signed,
            content_md5=_md5(signed),
            spare_symbols=2 + math.ceil(symbols / 3),
        )
    ]
    objects += [
        Outgoing(
            toi=bundle.toi,
            location=f"bundle/{bundle.toi}",
            content_type=BUNDLE_TYPE,
            size=bundle.size,
            load=_Loader(bundle, read),
            on_demand=bundle.toi in edition.on_demand,
        )
        for bundle in edition.manifest.bundles
    ]
    return objects


@dataclass(frozen=True)
class _Loader:
    bundle: Bundle
    read: ReadBlob

    def __call__(self) -> bytes:
        return read_bundle(self.bundle.pieces, self.read)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
