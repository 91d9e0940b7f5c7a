"""Editions: what is sent, what is only offered, and what stays as it was."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

import pytest

from delivery import bundles as bundles_module
from delivery.announcement import manifest_version
from delivery.coding import EpochKey, decode_bundle, unseal_manifest
from delivery.edition import Edition, Packing, carried_blobs, make_edition, outgoing
from delivery.errors import DeliveryError
from delivery.manifest import Bundle, FileEntry, Manifest, check_manifest

MIB = 1 << 20
CONTENTS = [random.Random(number).randbytes(3 * MIB) for number in range(4)]
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}
FILES = tuple(FileEntry(f"f{n}", len(c), name, "text/plain") for n, (name, c) in enumerate(BLOBS.items()))
CLEAR = Packing(1)


def read(sha256: str, offset: int, length: int) -> bytes:
    return BLOBS[sha256][offset : offset + length]


def edition(
    files: Sequence[FileEntry],
    first_toi: int = 1,
    known: Mapping[str, int] | None = None,
    before: Sequence[Bundle] = (),
    packing: Packing = CLEAR,
    version: int = 1,
) -> Edition:
    made = make_edition(
        Manifest("s", version, tuple(files), ()),
        read,
        packing,
        first_toi=first_toi,
        known=known or {},
        before=before,
    )
    check_manifest(made.manifest)
    return made


def sizes(files: Sequence[FileEntry]) -> dict[str, int]:
    return {entry.sha256: entry.size for entry in files}


def test_first_edition_sends_everything() -> None:
    made = edition(FILES)
    assert [bundle.toi for bundle in made.manifest.bundles] == [2, 3]
    assert made.next_toi == 4
    assert made.content_bytes == 12 * MIB
    objects = outgoing(made, b"signed", read, CLEAR)
    assert b"".join(each.load() for each in objects[1:]) == b"".join(CONTENTS)
    assert manifest_version(objects[0].location) == 1
    assert objects[0].spare_symbols == 3
    assert not any(each.on_demand for each in objects)


def test_next_edition_sends_what_is_new_and_offers_the_rest() -> None:
    made = edition(FILES, 50, sizes(FILES[:3]), version=2)
    sent = [each.toi for each in outgoing(made, b"signed", read, CLEAR) if not each.on_demand]
    assert sent == [50, 53]
    assert made.on_demand == {51, 52}
    assert made.content_bytes == 3 * MIB
    assert {piece.sha256 for piece in made.manifest.bundles[-1].pieces} == {FILES[3].sha256}


def test_edition_without_content_still_uses_a_number() -> None:
    made = edition((FileEntry("e", 0, hashlib.sha256(b"").hexdigest(), ""),), 9)
    assert (made.manifest.bundles, made.next_toi) == ((), 10)


def test_bundles_stay_while_all_that_they_carry_is_listed() -> None:
    first = edition(FILES)
    again = edition(FILES, first.next_toi, sizes(FILES), first.manifest.bundles, version=2)
    assert again.manifest.bundles == first.manifest.bundles
    assert again.kept == {2, 3}
    assert [each.toi for each in outgoing(again, b"signed", read, CLEAR)] == [4]


def test_of_a_bundle_that_fits_no_more_only_the_rest_is_planned_anew() -> None:
    """The third file is cut: 2 MiB in the first bundle, which stays, 1 MiB in the second, which does not."""
    first = edition(FILES)
    files = FILES[:3]
    second = edition(files, first.next_toi, sizes(FILES), first.manifest.bundles, version=2)
    assert second.manifest.bundles[0] == first.manifest.bundles[0]
    (rest,) = second.manifest.bundles[1:]
    assert [(piece.sha256, piece.offset, piece.length) for piece in rest.pieces] == [
        (FILES[2].sha256, 2 * MIB, MIB)
    ]
    assert second.on_demand == {rest.toi}


def test_what_changes_piece_by_piece_shares_no_bundles() -> None:
    packing = Packing(1, by_blob=True, spares=True)
    first = edition(FILES, packing=packing)
    assert [len({piece.sha256 for piece in bundle.pieces}) for bundle in first.manifest.bundles] == [1] * 4
    second = edition(FILES[1:], first.next_toi, sizes(FILES), first.manifest.bundles, packing, version=2)
    assert second.manifest.bundles == first.manifest.bundles[1:]
    assert all(each.spare_symbols for each in outgoing(first, b"signed", read, packing))


def test_compressible_content_is_carried_compressed() -> None:
    text = b"all work and no play " * 5000
    blob = hashlib.sha256(text).hexdigest()
    made = make_edition(
        Manifest("s", 1, (FileEntry("t", len(text), blob, ""),), ()),
        lambda _, offset, length: text[offset : offset + length],
        CLEAR,
        first_toi=1,
        known={},
    )
    (bundle,) = made.manifest.bundles
    assert (bundle.encoding, bundle.size) == ("zstd", len(text))
    assert 0 < bundle.coded_bytes < 1000
    sent = outgoing(made, b"", lambda _, offset, length: text[offset : offset + length], CLEAR)[1]
    data = sent.load()
    assert len(data) == sent.size == bundle.transfer_length
    assert decode_bundle(bundle, 1, data, {}) == text


def test_sealed_editions_open_with_the_key_of_their_epoch() -> None:
    key = EpochKey(7, bytes(32))
    packing = Packing(3, key)
    made = edition(FILES[:1], packing=packing)
    (bundle,) = made.manifest.bundles
    manifest, content = outgoing(made, b"signed", read, packing)
    assert (bundle.epoch, bundle.coded_bytes) == (7, 3 * MIB + 16)
    assert b"signed" not in manifest.load()
    assert unseal_manifest(manifest.load(), 3, made.manifest_toi, {7: key.key}) == b"signed"
    assert decode_bundle(bundle, 3, content.load(), {7: key.key}) == CONTENTS[0]
    assert content.load() == content.load()


def test_on_demand_files_are_in_no_bundle_and_regional_ones_are_not_sent() -> None:
    files = (
        FILES[0],
        FileEntry("d", FILES[1].size, FILES[1].sha256, "", "on-demand"),
        FileEntry("r", FILES[2].size, FILES[2].sha256, "", "region/north"),
    )
    made = edition(files)
    assert [(bundle.toi, bundle.region) for bundle in made.manifest.bundles] == [(2, ""), (3, "north")]
    assert [each.toi for each in outgoing(made, b"signed", read, CLEAR)] == [1, 2]
    assert made.content_bytes == 3 * MIB


@pytest.mark.parametrize(
    ("classes", "region"),
    [
        (["on-demand"], None),
        (["on-demand", ""], ""),
        (["on-demand", "region/a"], "a"),
        (["region/a", "region/a"], "a"),
        (["region/a", "region/b"], ""),
        (["region/a", ""], ""),
        (["", "region/a"], ""),
    ],
)
def test_a_blob_of_several_files_goes_to_all_who_want_it(classes: list[str], region: str | None) -> None:
    files = [FileEntry(str(n), 1, "a" * 64, "", kind) for n, kind in enumerate(classes)]
    assert carried_blobs(files).get("a" * 64) == region


def test_a_file_that_leaves_its_region_is_sent_to_all() -> None:
    regional = (FileEntry("r", FILES[0].size, FILES[0].sha256, "", "region/north"),)
    first = edition(regional)
    second = edition(FILES[:1], first.next_toi, {}, first.manifest.bundles, version=2)
    assert [(bundle.toi, bundle.region) for bundle in second.fresh] == [(first.next_toi + 1, "")]


def test_content_that_changes_under_way_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = outgoing(edition(FILES[:1]), b"signed", read, CLEAR)
    monkeypatch.setitem(BLOBS, FILES[0].sha256, bytes(3 * MIB))
    with pytest.raises(DeliveryError, match="changed while it was being published"):
        objects[1].load()


def test_default_bundles_hold_what_this_test_assumes() -> None:
    assert bundles_module.DEFAULT_BUNDLE_BYTES == 8 * MIB
