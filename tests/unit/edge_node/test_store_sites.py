"""Several sites in one store: prefixes, classes of files, whole versions, what is kept and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.manifest import EVERYWHERE, ON_DEMAND, FileEntry, Manifest
from delivery.signing import sign_manifest
from edge_node.blobs import StoreError
from edge_node.sites import Resolved
from edge_node.store import Store
from edge_node.writer import DropSite, NewBlob, NewManifest, apply
from tests.unit.edge_node.conftest import sha
from tests.unit.edge_node.life import KEY, LIVE, LOCAL, OWN, opened

Files = dict[str, bytes | tuple[bytes, str] | tuple[bytes, str, int]]


def version(number: int, files: Files, prefix: str = "", key: Ed25519PrivateKey = KEY) -> NewManifest:
    """A signed version of a site; a file is its content, with its class and expiry where they matter."""
    entries = []
    for path, told in files.items():
        content, *rest = told if isinstance(told, tuple) else (told,)
        entries.append(FileEntry(path, len(content), sha(content), "text/plain", *rest))
    manifest = Manifest("test", number, tuple(entries), ())
    return NewManifest(manifest, sign_manifest(manifest, key), prefix)


def do(store: Store, *jobs: NewManifest | DropSite | bytes) -> None:
    """Carry out one batch, in which everything has to succeed."""
    batch = [NewBlob(sha(job), job) if isinstance(job, bytes) else job for job in jobs]
    assert apply(store, list(batch)) == [None] * len(batch)


def content(store: Store, url_path: str, now_unix_s: int = 0) -> bytes | None:
    """What users get there."""
    found = store.resolve(url_path, now_unix_s)
    return store.path(found.entry.sha256).read_bytes() if found and found.is_here else None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path / "store")


def test_users_never_see_half_of_an_update(store: Store) -> None:
    do(store, version(1, {"a": b"a1", "b": b"b1", "gone": b"gone"}), b"a1")
    assert [content(store, path) for path in ("/a", "/b")] == [b"a1", None], "before any version is whole"
    do(store, b"b1", b"gone")
    do(store, version(2, {"a": b"a2", "b": b"b2", "new": b"new"}), b"a2", b"new")
    do(store, version(3, {"a": b"a3", "b": b"b3"}), b"a3")
    assert [content(store, path) for path in ("/a", "/b", "/gone", "/new")] == [b"a1", b"b1", b"gone", None]
    site = store.site()
    assert (site.version, site.served_version, site.complete, site.missing()) == (3, 1, False, [sha(b"b3")])
    assert not store.has(sha(b"a2")), "nobody will need it"
    do(store, b"b3")
    assert [content(store, path) for path in ("/a", "/b", "/gone")] == [b"a3", b"b3", None]
    assert store.blobs.names() == sorted([sha(b"a3"), sha(b"b3")])


def test_what_is_wanted_here_and_what_is_not(store: Store) -> None:
    files: Files = {
        "all": (b"all", EVERYWHERE),
        "north": (b"north", "region/north"),
        "south": (b"south", "region/south"),
        "rare": (b"rare", ON_DEMAND),
        "again": (b"all", ON_DEMAND),
    }
    new = version(1, files)
    do(store, new)
    assert store.missing() == [sha(b"all"), sha(b"north")]
    do(store, b"all", b"north")
    assert store.complete
    rare = store.resolve("/rare", 0)
    assert rare == Resolved(new.manifest.files[3], "", 1, is_here=False)
    do(store, b"rare", b"south")
    assert content(store, "/rare") == b"rare"
    assert content(store, "/south") == b"south"
    assert content(store, "/again") == b"all"
    store.close()
    elsewhere = Store(store.root, KEY.public_key())
    assert elsewhere.complete, "an edge without a region wants none"


def test_each_site_has_its_paths(store: Store) -> None:
    do(store, version(1, {"x": b"x", "live/news/list": b"old page"}), b"x", b"old page")
    assert content(store, "/live/news/list") == b"old page"
    do(store, version(7, {"list": b"list 7", "a/b": b"ab", "index.html": b"i"}, LIVE), b"list 7", b"ab", b"i")
    assert content(store, "/live/news/list") == b"list 7"
    assert content(store, "/live/news/a/b") == b"ab"
    assert content(store, "/live/news/") == b"i"
    assert store.resolve("/live/news", 0) is None
    assert store.resolve("/live/news/x", 0) is None
    found = store.resolve("/live/news/list", 0)
    assert found is not None
    assert (found.prefix, found.version) == (LIVE, 7)
    do(store, version(1, {"list": b"inner"}, f"{LIVE}/a"), b"inner")
    assert content(store, "/live/news/a/list") == b"inner", "the longest prefix counts"
    assert (store.site(LIVE).version, store.version) == (7, 1)


def test_a_dropped_site_takes_its_content_along(store: Store) -> None:
    do(store, version(1, {"x": b"shared"}), b"shared")
    do(store, version(1, {"y": b"shared", "z": b"own"}, LIVE), b"own")
    assert store.site(LIVE).complete
    do(store, DropSite(LIVE), DropSite("live/never heard of"))
    assert store.resolve("/live/news/y", 0) is None
    assert (store.has(sha(b"shared")), store.has(sha(b"own"))) == (True, False)
    assert store.site(LIVE).manifest is None
    for kept in ("", LOCAL):
        with pytest.raises(StoreError, match="kept across restarts"):
            store.drop_site(kept)


def test_own_content_is_kept_and_channels_are_not(store: Store) -> None:
    do(store, version(1, {"mine": b"mine"}, LOCAL, OWN), b"mine")
    do(store, version(1, {"list": b"live"}, LIVE), b"live")
    store.close()
    again = opened(store.root)
    assert (again.site(LOCAL).served_version, again.site(LIVE).version) == (1, 0)
    assert content(again, "/local/edge1/mine") == b"mine"
    assert again.blobs.names() == [sha(b"mine")]
    again.close()
    other = Store(store.root, KEY.public_key(), permanent={"local/edge2": OWN.public_key()})
    assert sorted(path.name for path in (store.root / "manifests").iterdir()) == ["@local%2Fedge2"]
    assert other.blobs.names() == []


def test_each_site_has_its_versions(store: Store) -> None:
    do(store, version(5, {"x": b"x"}), b"x")
    do(store, version(2, {"x": b"x"}, LIVE))
    late = version(2, {"x": b"x"}, LIVE)
    (outcome,) = apply(store, [late])
    assert "version 2 is not newer than version 2 held" in str(outcome)


def test_only_expiry_depends_on_the_clock(store: Store) -> None:
    """Jumps of years in both directions."""
    do(
        store,
        version(1, {"a": b"a", "b": (b"b", EVERYWHERE, 1000), "c": (b"c", ON_DEMAND, 5000)}),
        b"a",
        b"b",
    )
    for now, shown in (
        (999, True),
        (1000, False),
        (10**10, False),
        (0, True),
        (-(10**9), True),
        (1001, False),
    ):
        assert content(store, "/a", now) == b"a"
        assert content(store, "/b", now) == (b"b" if shown else None)
        assert (store.complete, store.missing()) == (True, [])
    found = store.resolve("/c", 4999)
    assert found is not None
    assert not found.is_here
    assert store.resolve("/c", 5000) is None
    do(store, version(2, {"a": b"a", "b": (b"b", EVERYWHERE, 9000)}))
    assert content(store, "/b", 1001) == b"b"


def test_the_store_reads_no_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_life_in: Callable[[Path], None]
) -> None:
    def forbidden(*_: object) -> float:
        raise AssertionError("somebody asked for the time")

    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "localtime", "gmtime"):
        monkeypatch.setattr(f"time.{name}", forbidden)
    whole_life_in(tmp_path / "store")


@pytest.fixture
def whole_life_in() -> Callable[[Path], None]:
    from tests.unit.edge_node.life import check, whole_life

    def run(root: Path) -> None:
        whole_life(root, lambda ack: None)
        check(root, [])

    return run
