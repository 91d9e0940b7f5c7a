"""Manifests: what is signed comes back, and nothing else is believed."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.bundles import plan_bundles, read_bundle
from delivery.keys import KeyFileError, generate_key, load_private_key, load_public_key, save_public_key
from delivery.manifest import (
    EMPTY_SHA256,
    MAX_BLOB_BYTES,
    MAX_BUNDLE_BYTES,
    Bundle,
    FileEntry,
    Manifest,
    ManifestError,
    Piece,
)
from delivery.signing import MAX_JSON_BYTES, MAX_SIGNED_BYTES, open_manifest, sign_manifest

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
A, B = "a" * 64, "b" * 64
MANIFEST = Manifest(
    "site",
    3,
    (
        FileEntry("index.html", 10, A, "text/html"),
        FileEntry("bilder/straße 1.jpg", 20, B, "image/jpeg"),
        FileEntry("copy", 10, A, "text/html"),
        FileEntry("empty", 0, EMPTY_SHA256, "text/plain"),
    ),
    (Bundle(5, 25, A, (Piece(A, 0, 10), Piece(B, 0, 15))), Bundle(6, 5, B, (Piece(B, 15, 5),))),
)


def signed_json(document: Any) -> bytes:
    """A manifest with a good signature over any JSON."""
    return signed_body(zlib.compress(json.dumps(document).encode()))


def signed_body(body: bytes) -> bytes:
    return b"NCM1" + KEY.sign(b"nearcast manifest 1\0" + body) + body


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(zlib.decompress(sign_manifest(MANIFEST, KEY)[68:]))
    return loaded


def test_round_trip() -> None:
    signed = sign_manifest(MANIFEST, KEY)
    assert open_manifest(signed, KEY.public_key()) == MANIFEST
    assert signed == sign_manifest(MANIFEST, KEY)
    assert dict(MANIFEST.blobs) == {A: 10, B: 20, EMPTY_SHA256: 0}


def test_every_single_damaged_octet_is_noticed() -> None:
    signed = sign_manifest(MANIFEST, KEY)
    for at in range(len(signed)):
        with pytest.raises(ManifestError):
            open_manifest(signed[:at] + bytes((signed[at] ^ 1,)) + signed[at + 1 :], KEY.public_key())
    for end in range(len(signed)):
        with pytest.raises(ManifestError):
            open_manifest(signed[:end], KEY.public_key())
    with pytest.raises(ManifestError):
        open_manifest(signed + b"\0", KEY.public_key())


def test_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1")
    with pytest.raises(ManifestError, match="signature"):
        open_manifest(sign_manifest(MANIFEST, other), KEY.public_key())


def test_decompression_bomb_is_refused() -> None:
    compressor = zlib.compressobj(9)
    body = b"".join(compressor.compress(bytes(1 << 20)) for _ in range((MAX_JSON_BYTES >> 20) + 1))
    with pytest.raises(ManifestError, match="larger than"):
        open_manifest(signed_body(body + compressor.flush()), KEY.public_key())
    with pytest.raises(ManifestError, match="more than"):
        open_manifest(bytes(MAX_SIGNED_BYTES + 1), KEY.public_key())


@pytest.mark.parametrize(
    "body",
    [b"", b"no zlib", zlib.compress(b"no json"), zlib.compress(b"[" * 100_000), zlib.compress(b"{}") + b"x"],
)
def test_signed_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestError):
        open_manifest(signed_body(body), KEY.public_key())


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "a/", "./a", ".", "a\0b", "x" * 4097, "\ud800"],
)
def test_dangerous_paths_are_refused_at_both_ends(path: str) -> None:
    files = (replace(MANIFEST.files[0], path=path), *MANIFEST.files[1:])
    with pytest.raises(ManifestError, match="path"):
        sign_manifest(replace(MANIFEST, files=files), KEY)
    forged = document()
    forged["files"][0][0] = path
    with pytest.raises(ManifestError, match="path"):
        open_manifest(signed_json(forged), KEY.public_key())


@pytest.mark.parametrize("path", ["a b", "ümlaut", "..a", "a..", "...", "a\\b", "日本/語", "new\nline"])
def test_unusual_paths_are_allowed(path: str) -> None:
    manifest = replace(MANIFEST, files=(replace(MANIFEST.files[0], path=path), *MANIFEST.files[1:]))
    assert open_manifest(sign_manifest(manifest, KEY), KEY.public_key()) == manifest


def bundle(**changes: Any) -> dict[str, Any]:
    return {"bundles": (replace(MANIFEST.bundles[0], **changes), MANIFEST.bundles[1])}


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"site": ""},
        {"files": MANIFEST.files + MANIFEST.files[:1]},
        {"files": (*MANIFEST.files, FileEntry("other size", 11, A, ""))},
        {"files": (*MANIFEST.files, FileEntry("digest", 1, "A" * 64, ""))},
        {"files": (*MANIFEST.files, FileEntry("digest", 1, "a" * 63, ""))},
        {"files": (*MANIFEST.files, FileEntry("empty?", 0, "c" * 64, ""))},
        {"files": (*MANIFEST.files, FileEntry("large", MAX_BLOB_BYTES + 1, "c" * 64, ""))},
        {"files": (*MANIFEST.files, FileEntry("type", 1, "c" * 64, "text/html\r\nx: y"))},
        {"bundles": MANIFEST.bundles + MANIFEST.bundles[:1]},
        {"bundles": MANIFEST.bundles[:1]},
        bundle(toi=0),
        bundle(size=24),
        bundle(sha256="x"),
        bundle(pieces=(Piece("c" * 64, 0, 25),)),
        bundle(pieces=(Piece(A, 0, 10), Piece(B, 1, 15))),
        bundle(pieces=(Piece(A, 0, 10), Piece(B, 0, 16)), size=26),
        bundle(pieces=(Piece(A, 0, 10), Piece(B, 0, 15), Piece(B, 15, 0))),
        bundle(pieces=(Piece(A, 0, 10), Piece(B, -1, 15))),
        bundle(pieces=(), size=0),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        sign_manifest(replace(MANIFEST, **changes), KEY)


def test_bundle_too_large_is_refused() -> None:
    size = MAX_BUNDLE_BYTES + 1
    manifest = Manifest("s", 1, (FileEntry("f", size, A, ""),), (Bundle(2, size, A, (Piece(A, 0, size),)),))
    with pytest.raises(ManifestError, match="allowed are 1 to"):
        sign_manifest(manifest, KEY)


@pytest.mark.parametrize(
    "forge",
    [
        lambda d: d.pop("files"),
        lambda d: d.update(version="3"),
        lambda d: d.update(version=True),
        lambda d: d.update(site=7),
        lambda d: d["files"][0].append(1),
        lambda d: d["files"][0].__setitem__(1, 99),
        lambda d: d["files"][0].__setitem__(1, -1),
        lambda d: d["files"][0].__setitem__(0, None),
        lambda d: d["blobs"][0].__setitem__(1, 10.0),
        lambda d: d["bundles"][0].__setitem__(3, [[0, 0]]),
        lambda d: d.update(bundles=None),
    ],
)
def test_signed_documents_of_another_shape_are_refused(forge: Any) -> None:
    forged = document()
    forge(forged)
    with pytest.raises(ManifestError):
        open_manifest(signed_json(forged), KEY.public_key())


def test_keys_go_to_files_and_back(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key")
    save_public_key(tmp_path / "public", key.public_key())
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    signed = sign_manifest(MANIFEST, load_private_key(tmp_path / "key"))
    assert open_manifest(signed, load_public_key(tmp_path / "public")) == MANIFEST
    with pytest.raises(KeyFileError, match="exists"):
        generate_key(tmp_path / "key")
    with pytest.raises(KeyFileError, match="cannot create"):
        generate_key(tmp_path / "no" / "key")
    with pytest.raises(KeyFileError, match="cannot read"):
        load_public_key(tmp_path / "nothing")
    for load in (load_public_key, load_private_key):
        (tmp_path / "junk").write_text("junk")
        with pytest.raises(KeyFileError, match="PEM"):
            load(tmp_path / "junk")


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    (tmp_path / "private").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "public").write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(KeyFileError, match="not an Ed25519"):
        load_private_key(tmp_path / "private")
    with pytest.raises(KeyFileError, match="not an Ed25519"):
        load_public_key(tmp_path / "public")


def test_bundles_are_full_and_cut_large_blobs() -> None:
    plans = plan_bundles([(A, 10), (EMPTY_SHA256, 0), (B, 25), ("c" * 64, 5)], 7, max_bytes=12)
    assert [(plan.toi, plan.size) for plan in plans] == [(7, 12), (8, 12), (9, 12), (10, 4)]
    assert plans[0].pieces == (Piece(A, 0, 10), Piece(B, 0, 2))
    content = {A: b"a" * 10, B: bytes(range(25)), "c" * 64: b"ccccc"}
    joined = b"".join(read_bundle(p.pieces, lambda name, at, n: content[name][at : at + n]) for p in plans)
    assert joined == b"".join(content.values())
    assert plan_bundles([], 1) == ()
    with pytest.raises(ValueError, match="hold nothing"):
        plan_bundles([(A, 1)], 1, max_bytes=0)
