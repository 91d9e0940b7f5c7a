"""Any sequence of versions of any site: what every edition must keep to, whatever came before."""

from __future__ import annotations

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from delivery.coding import EpochKey, decode_bundle
from delivery.edition import Edition, Packing, carried_blobs, make_edition, outgoing
from delivery.manifest import FileEntry, Manifest, check_manifest

SIZES = (0, 1, 7, 64, 100, 255, 256, 257, 1000)
CONTENTS = [random.Random(n).randbytes(size) if n % 2 else bytes([n]) * size for n, size in enumerate(SIZES)]
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}
NAMES = list(BLOBS)
CLASSES = ("", "", "", "on-demand", "region/a", "region/b")

sites = st.lists(
    st.tuples(st.integers(0, len(NAMES) - 1), st.sampled_from(CLASSES)), max_size=12, unique_by=lambda f: f
)
histories = st.lists(st.tuples(sites, st.booleans()), min_size=1, max_size=6)


def read(sha256: str, offset: int, length: int) -> bytes:
    return BLOBS[sha256][offset : offset + length]


def check(made: Edition, before: Edition | None, known: dict[str, int], packing: Packing) -> None:
    manifest = made.manifest
    check_manifest(manifest)
    carriers = carried_blobs(manifest.files)
    brought = {piece.sha256: bundle.region for bundle in manifest.bundles for piece in bundle.pieces}
    assert brought == carriers
    older = {bundle.toi: bundle for bundle in before.manifest.bundles} if before else {}
    for bundle in manifest.bundles:
        assert {carriers[piece.sha256] for piece in bundle.pieces} == {bundle.region}
        if bundle.toi in made.kept:
            assert bundle == older[bundle.toi]
        else:
            assert bundle.toi > made.manifest_toi > max(older, default=0)
            assert bundle.epoch == (packing.key.epoch if packing.key else 0)
        if bundle.toi in made.on_demand:
            assert bundle.region == ""
            assert {piece.sha256 for piece in bundle.pieces} <= set(known)
        if packing.by_blob:
            assert len({piece.sha256 for piece in bundle.pieces}) == 1
    still_wanted = [
        bundle
        for bundle in older.values()
        if all(carriers.get(piece.sha256) == bundle.region for piece in bundle.pieces)
    ]
    assert [bundle.toi for bundle in still_wanted] == sorted(made.kept)


def check_objects(made: Edition, packing: Packing, keys: dict[int, bytes]) -> None:
    """What is sent decodes to what the manifest says, byte by byte, and is the same whenever it is made."""
    bundles = {bundle.toi: bundle for bundle in made.manifest.bundles}
    objects = outgoing(made, b"signed", read, packing)[1:]
    assert {each.toi for each in objects} == {
        toi for toi, bundle in bundles.items() if toi not in made.kept and not bundle.region
    }
    for each in objects:
        data = each.load()
        assert data == each.load()
        assert len(data) == each.size
        content = decode_bundle(bundles[each.toi], packing.tsi, data, keys)
        assert hashlib.sha256(content).hexdigest() == bundles[each.toi].sha256


@given(histories, st.sampled_from([50, 100, 256, 10_000]), st.booleans(), st.booleans())
def test_every_edition_keeps_what_it_can_and_numbers_nothing_twice(
    history: list[tuple[list[tuple[int, str]], bool]], bundle_bytes: int, by_blob: bool, is_sealed: bool
) -> None:
    before: Edition | None = None
    known: dict[str, int] = {}
    toi = 1
    keys: dict[int, bytes] = {}
    for version, (rows, restarts) in enumerate(history, 1):
        key = EpochKey(version, bytes([version]) * 32) if is_sealed else None
        if key:
            keys[version] = key.key
        packing = Packing(1, key, by_blob, bundle_bytes=bundle_bytes)
        files = tuple(
            FileEntry(f"{number}-{n}", len(BLOBS[NAMES[n]]), NAMES[n], "", kind)
            for number, (n, kind) in enumerate(rows)
        )
        if restarts:
            before = None
        made = make_edition(
            Manifest("s", version, files, ()),
            read,
            packing,
            first_toi=toi,
            known=known,
            before=before.manifest.bundles if before else (),
        )
        check(made, before, known, packing)
        check_objects(made, packing, keys)
        assert made.next_toi > toi
        toi, before = made.next_toi, made
        known = {name: len(BLOBS[name]) for name, region in carried_blobs(files).items() if not region}
