"""The store: nothing visible before it is whole, nothing lost once it was acknowledged."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.manifest import FileEntry
from edge_node.blobs import DamagedError, StoreError, StoreFullError
from edge_node.store import Store

Make = Callable[[int, Mapping[str, bytes]], Any]


@pytest.fixture
def opened(tmp_path: Path, private_key: Ed25519PrivateKey) -> Callable[..., Store]:
    def open_store(**options: int) -> Store:
        return Store(tmp_path / "store", private_key.public_key(), **options)

    return open_store


def shown(store: Store, url_path: str) -> FileEntry | None:
    """What users get there, None when nothing."""
    found = store.resolve(url_path, now_unix_s=0)
    return found.entry if found and found.is_here else None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_shows_once_its_content_is_there(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(1, {"index.html": b"home", "a b/ü.txt": b"text"})
    store.accept_manifest(site.signed, site.manifest)
    assert shown(store, "/") is None
    first, second = site.blobs.items()
    assert store.put([first]) == [None]
    assert shown(store, "/") == site.manifest.files[0]
    assert shown(store, "/a%20b/%C3%BC.txt") is None
    assert (store.complete, store.missing()) == (False, [second[0]])
    assert store.put([second]) == [None]
    assert shown(store, "/a%20b/%C3%BC.txt") == site.manifest.files[1]
    assert store.path(second[0]).read_bytes() == b"text"
    assert store.complete


def test_only_names_of_the_manifest_are_served(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(1, {"a/b": b"x"})
    store.accept_manifest(site.signed, site.manifest)
    store.put(list(site.blobs.items()))
    assert shown(store, "/a/b") is not None
    for path in (
        "/",
        "/a",
        "/a/",
        "/../a/b",
        "/manifests/current",
        "/a/b/",
        "/a//b",
        "/%61%2fb",
        "/origin.pem",
    ):
        assert shown(store, path) is None


def test_damaged_content_is_thrown_away(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(1, {"a": b"right", "b": b"fine"})
    store.accept_manifest(site.signed, site.manifest)
    (right, _), fine = site.blobs.items()
    damaged, kept = store.put([(right, b"wrong"), fine])
    assert isinstance(damaged, DamagedError)
    assert kept is None
    assert (shown(store, "/a"), store.has(right), store.has(fine[0])) == (None, False, True)
    assert names(store.root / "tmp") == []
    assert store.blobs.used_bytes == len(b"fine")


def test_an_update_shows_no_gap_and_leaves_nothing_behind(
    opened: Callable[..., Store], release: Make
) -> None:
    store = opened()
    old, new = (
        release(1, {"a": b"old", "b": b"same", "gone": b"gone"}),
        release(2, {"a": b"new", "b": b"same"}),
    )
    store.accept_manifest(old.signed, old.manifest)
    store.put(list(old.blobs.items()))
    store.accept_manifest(new.signed, new.manifest)
    assert shown(store, "/a") == old.manifest.files[0]
    assert shown(store, "/gone") == old.manifest.files[2], "it goes with all the rest"
    store.close()
    store = opened()
    assert shown(store, "/a") == old.manifest.files[0]
    store.put(list(new.blobs.items()))
    store.settle()
    assert shown(store, "/a") == new.manifest.files[0]
    assert shown(store, "/gone") is None
    assert names(store.root / "blobs") == sorted(new.blobs)
    assert sorted(path.name for path in (store.root / "manifests").iterdir()) == [
        "000002",
        "current",
        "served",
    ]
    assert store.blobs.used_bytes == len(b"new" + b"same")


def test_older_manifests_are_refused(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(2, {"a": b"a"})
    store.accept_manifest(site.signed, site.manifest)
    for version in (1, 2):
        stale = release(version, {"a": b"z"})
        with pytest.raises(StoreError, match="not newer"):
            store.accept_manifest(stale.signed, stale.manifest)
    assert store.manifest == site.manifest


def test_all_is_there_after_a_restart(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(7, {"a": b"a", "empty": b""})
    store.accept_manifest(site.signed, site.manifest)
    store.put(list(site.blobs.items()))
    store.blobs.stage().write(b"half of something")
    store.close()
    again = opened()
    assert again.complete
    assert (again.version, again.signed_manifest) == (7, site.signed)
    assert again.blobs.used_bytes == 1
    assert names(again.root / "tmp") == []


def test_another_key_stops_the_store(opened: Callable[..., Store], release: Make) -> None:
    store, site = opened(), release(1, {"a": b"a"})
    store.accept_manifest(site.signed, site.manifest)
    store.close()
    with pytest.raises(StoreError, match="signature does not verify; give the origin's --public-key"):
        Store(store.root, Ed25519PrivateKey.generate().public_key())
    opened()


def test_one_process_at_a_time(opened: Callable[..., Store]) -> None:
    opened()
    with pytest.raises(StoreError, match="another process uses this store"):
        opened()


def test_a_full_store_keeps_what_it_has_and_goes_on_when_there_is_room(
    opened: Callable[..., Store], release: Make
) -> None:
    store, site = opened(max_bytes=10), release(1, {"a": b"12345", "b": b"1234567", "c": b"123"})
    store.accept_manifest(site.signed, site.manifest)
    outcomes = store.put(list(site.blobs.items()))
    assert [type(outcome) for outcome in outcomes] == [type(None), StoreFullError, type(None)]
    assert "store full: 5 of 10 bytes used; raise --max-bytes" in str(outcomes[1])
    assert [shown(store, path) is not None for path in ("/a", "/b", "/c")] == [True, False, True]
    assert store.blobs.used_bytes == 8
    smaller = release(2, {"b": b"1234567", "c": b"123"})
    store.accept_manifest(smaller.signed, smaller.manifest)
    store.blobs.check_room(7)
    with pytest.raises(StoreFullError):
        store.blobs.check_room(8)
    final = release(3, {"b": b"1234567"})
    store.accept_manifest(final.signed, final.manifest)
    store.close()
    roomy = opened(max_bytes=20)
    assert roomy.put(list(final.blobs.items())) == [None]
    roomy.settle()
    assert roomy.complete
    assert roomy.blobs.used_bytes == 7


_FILLER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from delivery.manifest import FileEntry, Manifest
from delivery.signing import sign_manifest
from edge_node.store import Store
import hashlib, random
key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
store = Store(Path(sys.argv[1]), key.public_key())
version = store.version
while True:
    version += 1
    contents = [random.Random(version * 100 + n).randbytes(20000) for n in range(8)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    files = tuple(FileEntry(f"f{n}", 20000, sha, "text/plain") for n, sha in enumerate(digests))
    manifest = Manifest("test", version, files, ())
    store.accept_manifest(sign_manifest(manifest, key), manifest)
    print("manifest", version, flush=True)
    for half in (slice(0, 4), slice(4, 8)):
        assert store.put(list(zip(digests[half], contents[half]))) == [None] * 4
        print("blobs", version, *digests[half], flush=True)
    store.settle()
    print("settled", version, flush=True)
"""


def test_kill_at_any_moment_loses_nothing_acknowledged(
    tmp_path: Path, private_key: Ed25519PrivateKey
) -> None:
    root = tmp_path / "store"
    moments = random.Random(5)
    was_complete = False
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", _FILLER, root], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline()]
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        acknowledged += process.communicate()[0].splitlines(keepends=True)
        lines = [line.split() for line in acknowledged if line.endswith("\n")]
        store = Store(root, private_key.public_key())
        versions = [int(line[1]) for line in lines]
        assert store.version >= max(versions)
        assert names(root / "tmp") == []
        newest = [line for line in lines if line[0] == "blobs" and int(line[1]) == store.version]
        for line in newest:
            assert all(store.has(sha256) for sha256 in line[2:])
        if store.version == max(versions) and lines[-1][0] == "settled":
            assert store.complete
        for sha256 in names(root / "blobs"):
            assert hashlib.sha256(store.path(sha256).read_bytes()).hexdigest() == sha256
        if store.complete:
            assert len(names(root / "blobs")) == 8
        served = [shown(store, f"/f{number}") for number in range(8)]
        assert all(entry is None or store.path(entry.sha256).exists() for entry in served)
        was_complete |= store.complete or any(line[0] == "settled" for line in lines)
        if was_complete:
            assert None not in served, "an update made a file vanish"
        store.close()


_FULL_DISK = """
import hashlib, subprocess, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from edge_node.store import Store
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=True)
store = Store(disk / "store", Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key())
contents = (b"a" * 100_000, b"b" * 400_000, b"c" * 9000)
blobs = [(hashlib.sha256(content).hexdigest(), content) for content in contents]
first, second, third = store.put(blobs)
print(first, third, type(second).__name__, str(second).partition(": ")[2], sep="|")
print([store.has(sha) for sha, _ in blobs], list((disk / "store/tmp").iterdir()), store.blobs.used_bytes)
try:
    store.blobs.check_room(400_000)
except Exception as error:
    print(type(error).__name__)
subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)
store.blobs.check_room(400_000)
print(store.put(blobs[1:2]), store.path(blobs[1][0]).read_bytes() == blobs[1][1])
"""


def test_a_full_disk(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-c", _FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "None|None|StoreFullError|store full: No space left on device; free space on its file system",
        "[True, False, True] [] 109000",
        "StoreFullError",
        "[None] True",
    ], done.stderr
