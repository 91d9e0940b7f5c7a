"""A store's life for crash tests: what it goes through, what it acknowledges, and what must hold after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.manifest import EVERYWHERE, ON_DEMAND, FileEntry, Manifest
from delivery.signing import sign_manifest
from edge_node.store import Store
from edge_node.writer import DropSite, Job, NewBlob, NewManifest, NewPiece, apply
from tests.unit.edge_node.conftest import noise, sha

KEY, OWN = (Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in (1, 2))
LOCAL, LIVE = "local/edge1", "live/news"
LARGE, NORTH, SOUTH, RARE = noise(1, 3000), noise(2, 300), noise(3, 300), noise(4, 400)
SITES: Mapping[tuple[str, int], Mapping[str, tuple[bytes, str]]] = {
    ("", 1): {
        "a": (b"a1", EVERYWHERE),
        "b": (b"b", EVERYWHERE),
        "empty": (b"", EVERYWHERE),
        "large": (LARGE, EVERYWHERE),
        "north": (NORTH, "region/north"),
        "south": (SOUTH, "region/south"),
        "rare": (RARE, ON_DEMAND),
    },
    ("", 2): {"a": (b"a2", EVERYWHERE), "large": (LARGE[::-1], EVERYWHERE), "rare": (RARE, ON_DEMAND)},
    ("", 3): {"a": (b"a3", EVERYWHERE), "c": (b"c3", EVERYWHERE), "large": (LARGE, EVERYWHERE)},
    ("", 4): {"a": (b"a4", EVERYWHERE), "c": (b"c3", EVERYWHERE)},
    (LOCAL, 1): {"mine": (b"mine 1", EVERYWHERE)},
    (LOCAL, 2): {"mine": (b"mine 2", EVERYWHERE), "more": (b"more", EVERYWHERE)},
    (LIVE, 1): {"list": (b"live 1", EVERYWHERE), "1.ts": (b"segment 1", EVERYWHERE)},
}
CONTENTS = {sha(content): content for site in SITES.values() for content, _ in site.values()}
JOBS: dict[tuple[str, int], NewManifest] = {}
for (prefix_, version_), files_ in SITES.items():
    manifest_ = Manifest(
        "test",
        version_,
        tuple(
            FileEntry(path, len(content), sha(content), "text/plain", delivery)
            for path, (content, delivery) in files_.items()
        ),
        (),
    )
    JOBS[prefix_, version_] = NewManifest(
        manifest_, sign_manifest(manifest_, OWN if prefix_ == LOCAL else KEY), prefix_
    )


@dataclass(frozen=True)
class Ack:
    """Something that was acknowledged: a manifest accepted or served, or (prefix "blob") a blob stored."""

    kind: str
    name: str
    version: int = 0


def opened(root: Path) -> Store:
    permanent = {LOCAL: OWN.public_key()}
    return Store(root, KEY.public_key(), region="north", permanent=permanent)


def blobs(*contents: bytes) -> list[Job]:
    return [NewBlob(sha(content), content) for content in contents]


def pieces(content: bytes, *starts: int) -> list[Job]:
    return [NewPiece(sha(content), len(content), start, content[start : start + 1000]) for start in starts]


BATCHES: list[list[Job]] = [
    [JOBS["", 1]],
    [*blobs(b"a1", b"b", b""), *pieces(LARGE, 2000)],
    pieces(LARGE, 0),
    [*blobs(NORTH), *pieces(LARGE, 1000)],
    blobs(RARE),
    [*blobs(b"mine 1"), JOBS[LOCAL, 1]],
    [JOBS[LIVE, 1], *blobs(b"live 1", b"segment 1")],
    [JOBS["", 2], *blobs(b"a2"), *pieces(LARGE[::-1], 0)],
    [*blobs(b"mine 2", b"more"), JOBS[LOCAL, 2]],
    [JOBS["", 3], *blobs(b"a3", LARGE)],
    [DropSite(LIVE)],
    blobs(b"c3"),
]
LAST: list[list[Job]] = [[JOBS["", 4]], blobs(b"a4", b"c3")]


def live(root: Path, acknowledge: Callable[[Ack], None], batches: list[list[Job]]) -> Store:
    """Open a store and go through `batches`, acknowledging what an edge would."""
    store = opened(root)
    for batch in batches:
        for job, outcome in zip(batch, apply(store, batch), strict=True):
            assert outcome is None, outcome
            match job:
                case NewBlob(sha256):
                    acknowledge(Ack("blob", sha256))
                case NewManifest(manifest, _, prefix) if prefix != LIVE:
                    acknowledge(Ack("manifest", prefix, manifest.version))
        for prefix in ("", LOCAL):
            if version := store.site(prefix).served_version:
                acknowledge(Ack("served", prefix, version))
    return store


def whole_life(root: Path, acknowledge: Callable[[Ack], None]) -> None:
    """Two processes' time: everything that changes the disk happens."""
    live(root, acknowledge, BATCHES).close()
    live(root, acknowledge, LAST).close()


def check(root: Path, acknowledged: list[Ack]) -> None:
    """What must hold of a store that is opened after whatever befell it. Leaves it closed."""
    store = opened(root)
    assert store.warnings == []
    assert list((root / "tmp").iterdir()) == []
    on_disk = {path.name: path.read_bytes() for path in root.glob("blobs/*/*")}
    assert sorted(on_disk) == store.blobs.names()
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in on_disk.items())
    assert store.blobs.used_bytes == sum(map(len, on_disk.values()))
    held: dict[str, bool] = {}
    for prefix in ("", LOCAL):
        site = store.site(prefix)
        for ack in acknowledged:
            assert ack.name != prefix or ack.kind != "manifest" or site.version >= ack.version
            assert ack.name != prefix or ack.kind != "served" or site.served_version >= ack.version
        for version in {site.version, site.served_version} - {0}:
            held |= {sha(content): True for content, _ in SITES[prefix, version].values()}
        _check_view(store, prefix)
        for version in (site.version, site.served_version):
            number = f"{version:06d}"
            folder = root / "manifests" / ("@local%2Fedge1" if prefix else "")
            assert not version or (folder / number).read_bytes() == JOBS[prefix, version].signed
    assert store.site(LIVE).manifest is None
    for ack in acknowledged:
        if ack.kind == "blob" and ack.name in held:
            assert store.has(ack.name), "an acknowledged blob is lost"
    store.close()


def _check_view(store: Store, prefix: str) -> None:
    """Users see one version, all of it if one was ever complete, and no wrong byte."""
    site = store.site(prefix)
    shown = site.served_version or site.version
    files = SITES[prefix, shown] if shown else {}
    for path in {path for of_site in SITES.values() for path in of_site}:
        found = store.resolve(f"/{prefix}/{path}" if prefix else f"/{path}", 0)
        if path not in files:
            assert found is None
            continue
        content, delivery = files[path]
        assert found is not None
        assert (found.version, found.prefix, found.entry.sha256) == (shown, prefix, sha(content))
        if site.served_version and delivery in (EVERYWHERE, "region/north"):
            assert found.is_here
        if found.is_here:
            assert store.path(found.entry.sha256).read_bytes() == content
