"""One version of the site, ready to send: manifest, bundles and the order in which they go out. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from delivery.announcement import BUNDLE_TYPE, MANIFEST_TYPE, manifest_location
from delivery.bundles import DEFAULT_BUNDLE_BYTES, BundlePlan, plan_pieces, read_bundle
from delivery.coding import EpochKey, code_bundle, seal_manifest
from delivery.errors import DeliveryError
from delivery.manifest import ON_DEMAND, REGION, Bundle, FileEntry, Manifest, Piece
from delivery.sender import DEFAULT_MTU_BYTES, Outgoing, symbol_bytes

ReadBlob = Callable[[str, int, int], bytes]
"""`read(sha256, offset, length)` gives that part of a blob, or raises DeliveryError."""


@dataclass(frozen=True)
class Edition:
    """A manifest and its bundles.

    Those in `kept` are of an earlier edition of the same session, with their numbers and bytes. Those in
    `on_demand` are new, but carry what edges have from the version before.
    """

    manifest: Manifest
    manifest_toi: int
    on_demand: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()

    @property
    def next_toi(self) -> int:
        """The first TOI the next edition may use."""
        return max([self.manifest_toi, *(bundle.toi for bundle in self.manifest.bundles)]) + 1

    @property
    def fresh(self) -> tuple[Bundle, ...]:
        """The bundles that are sent without being asked for."""
        return tuple(
            bundle
            for bundle in self.manifest.bundles
            if bundle.toi not in self.on_demand and bundle.toi not in self.kept and not bundle.region
        )

    @property
    def content_bytes(self) -> int:
        """The bytes of all bundles that are sent without being asked for, before they are coded."""
        return sum(bundle.size for bundle in self.fresh)


@dataclass(frozen=True)
class Packing:
    """How content becomes objects: for the session `tsi`, sealed with `key` (None: in clear).

    With `by_blob` no two blobs share a bundle: for content that changes piece by piece, as a live playlist
    and its segments do. `spares` sends small objects with a few repair symbols.
    """

    tsi: int
    key: EpochKey | None = None
    by_blob: bool = False
    spares: bool = False
    mtu_bytes: int = DEFAULT_MTU_BYTES
    bundle_bytes: int = DEFAULT_BUNDLE_BYTES

    def symbols(self, size: int) -> int:
        """The source symbols of an object of `size` bytes."""
        return math.ceil(size / symbol_bytes(self.mtu_bytes))


def make_edition(
    manifest: Manifest,
    read: ReadBlob,
    packing: Packing,
    *,
    first_toi: int,
    known: Mapping[str, int],
    before: Iterable[Bundle] = (),
) -> Edition:
    """Plan the bundles of `manifest`, which names none yet.

    Bundles of the edition `before` stay as they are while all they carry is still wanted. Of what they leave,
    blobs that edges `known`-ly have come first: their bundles are described but not sent, so that an edge
    that lacks them can ask for them by the same means as for anything that was lost.
    """
    carriers = carried_blobs(manifest.files)
    kept = tuple(
        bundle
        for bundle in before
        if all(carriers.get(piece.sha256) == bundle.region for piece in bundle.pieces)
    )
    left = _left_over(carriers, manifest.blobs, kept)
    bundles = list(kept)
    on_demand: list[int] = []
    next_toi = first_toi + 1
    for region in dict.fromkeys(("", *sorted(carriers.values()))):
        runs = [run for run in left if carriers[run.sha256] == region]
        for is_old in (True, False):
            chosen = [run for run in runs if (run.sha256 in known and not region) is is_old]
            plans = _plan(chosen, next_toi, packing)
            next_toi += len(plans)
            bundles += [_bundle(plan, read, packing, region) for plan in plans]
            on_demand += [plan.toi for plan in plans if is_old]
    return Edition(
        replace(manifest, bundles=tuple(bundles)),
        first_toi,
        frozenset(on_demand),
        frozenset(bundle.toi for bundle in kept),
    )


def carried_blobs(files: Iterable[FileEntry]) -> dict[str, str]:
    """The blobs that bundles carry, each with the region whose stream brings it ("": the site's own).

    What is wanted everywhere, or in more than one region, comes with the site's own; what is only on demand,
    with none.
    """
    carriers: dict[str, str] = {}
    for entry in files:
        if entry.size == 0 or entry.delivery == ON_DEMAND:
            continue
        region = entry.delivery.removeprefix(REGION)
        carriers[entry.sha256] = region if carriers.get(entry.sha256, region) == region else ""
    return carriers


def outgoing(edition: Edition, signed: bytes, read: ReadBlob, packing: Packing) -> list[Outgoing]:
    """The objects for `delivery.sender` that are new to the session, the manifest first: without it an edge
    can keep nothing, so it goes with more symbols than it needs."""
    data = signed
    if packing.key is not None:
        data = seal_manifest(signed, packing.key, packing.tsi, edition.manifest_toi)
    objects = [
        Outgoing(
            toi=edition.manifest_toi,
            location=manifest_location(edition.manifest.version),
            content_type=MANIFEST_TYPE,
            size=len(data),
            load=lambda: data,
            content_md5=_md5(data),
            spare_symbols=_manifest_spares(packing.symbols(len(data))),
        )
    ]
    objects += [
        Outgoing(
            toi=bundle.toi,
            location=f"bundle/{bundle.toi}",
            content_type=BUNDLE_TYPE,
            size=bundle.transfer_length,
            load=_Loader(bundle, read, packing),
            spare_symbols=_spares(bundle, packing) if packing.spares else 0,
            on_demand=bundle.toi in edition.on_demand,
        )
        for bundle in edition.manifest.bundles
        if bundle.toi not in edition.kept and not bundle.region
    ]
    return objects


def _left_over(carriers: Iterable[str], sizes: Mapping[str, int], kept: Iterable[Bundle]) -> list[Piece]:
    """What no kept bundle carries of the blobs, in their order."""
    held: dict[str, list[Piece]] = {}
    for bundle in kept:
        for piece in bundle.pieces:
            held.setdefault(piece.sha256, []).append(piece)
    left = []
    for sha256 in carriers:
        end = 0
        for piece in sorted(held.get(sha256, ()), key=lambda piece: piece.offset):
            if piece.offset > end:
                left.append(Piece(sha256, end, piece.offset - end))
            end = piece.offset + piece.length
        if end < sizes[sha256]:
            left.append(Piece(sha256, end, sizes[sha256] - end))
    return left


def _plan(runs: Sequence[Piece], first_toi: int, packing: Packing) -> tuple[BundlePlan, ...]:
    if not packing.by_blob:
        return plan_pieces(runs, first_toi, packing.bundle_bytes)
    plans: tuple[BundlePlan, ...] = ()
    for run in runs:
        plans += plan_pieces([run], first_toi + len(plans), packing.bundle_bytes)
    return plans


def _bundle(plan: BundlePlan, read: ReadBlob, packing: Packing, region: str) -> Bundle:
    """The bundle of a plan; its content is read, and let go again."""
    content = read_bundle(plan.pieces, read)
    encoding, data = code_bundle(content, packing.tsi, plan.toi, packing.key)
    return Bundle(
        plan.toi,
        plan.size,
        hashlib.sha256(content).hexdigest(),
        plan.pieces,
        coded_bytes=0 if len(data) == plan.size else len(data),
        encoding=encoding,
        epoch=packing.key.epoch if packing.key else 0,
        region=region,
    )


def _manifest_spares(symbols: int) -> int:
    """A third more, of large ones an eighth: enough for most edges at 5 % loss to need no repair."""
    return 2 + min(math.ceil(symbols / 3), 3 + math.ceil(symbols / 8))


def _spares(bundle: Bundle, packing: Packing) -> int:
    return min(2 + packing.symbols(bundle.transfer_length) // 32, 8)


@dataclass(frozen=True)
class _Loader:
    bundle: Bundle
    read: ReadBlob
    packing: Packing

    def __call__(self) -> bytes:
        content = read_bundle(self.bundle.pieces, self.read)
        if hashlib.sha256(content).hexdigest() != self.bundle.sha256:
            raise DeliveryError("a file changed while it was being published; publish again")
        return code_bundle(content, self.packing.tsi, self.bundle.toi, self.packing.key)[1]


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
