"""Room: what is evicted for what, and large blobs that are put together piece by piece."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from delivery.manifest import ON_DEMAND
from edge_node.blobs import DamagedError, StoreError, StoreFullError
from edge_node.eviction import Candidates, Pins
from edge_node.parts import Parts
from edge_node.store import Store
from edge_node.writer import NewBlob, NewPiece, Writer, apply
from tests.unit.edge_node.conftest import noise, sha
from tests.unit.edge_node.life import KEY, LIVE
from tests.unit.edge_node.test_store_sites import content, do, version


def bounded(tmp_path: Path, max_bytes: int) -> Store:
    return Store(tmp_path / "store", KEY.public_key(), max_bytes=max_bytes)


def test_victims_are_the_least_recently_used_that_nobody_pins() -> None:
    candidates = Candidates()
    candidates.repin(Pins(frozenset({"never"}), frozenset({"last"})), {"never": 5})
    for name in ("last", "never", "a", "empty", "b"):
        candidates.add(name, 0 if name == "empty" else 5)
    assert candidates.total_bytes == 15
    assert candidates.victims(5) == ["a"]
    candidates.touch("a")
    assert candidates.victims(5) == ["b"]
    assert candidates.victims(6) == ["b", "a"]
    assert candidates.victims(11) == ["b", "a", "last"]
    assert candidates.victims(16) == [], "nothing in vain"
    candidates.repin(Pins(frozenset({"b"})), {"never": 5, "last": 5, "a": 5, "b": 5})
    assert candidates.victims(11) == ["last", "a", "never"]
    candidates.remove("a")
    assert candidates.victims(11) == []


def test_a_cache_makes_room_and_what_is_wanted_stays(tmp_path: Path) -> None:
    store = bounded(tmp_path, 1000)
    rare = [noise(number, 200) for number in range(4)]
    files = {f"r{number}": (data, ON_DEMAND) for number, data in enumerate(rare)}
    do(store, version(1, {"page": bytes(400), **files}), bytes(400), *rare[:3])
    store.resolve("/r0", 0)
    store.touch(sha(rare[2]))
    do(store, rare[3])
    assert [content(store, f"/r{number}") is not None for number in range(4)] == [True, False, True, True]
    with open(store.path(sha(rare[0])), "rb") as reader:
        do(store, version(2, {"page": bytes(400), "news": bytes(500), **files}), bytes(500))
        assert reader.read() == rare[0], "who reads it goes on reading"
    assert store.complete
    assert [store.has(sha(data)) for data in rare] == [False] * 4
    assert store.blobs.used_bytes == 900
    (outcome,) = apply(store, [NewBlob(sha(rare[0]), rare[0])])
    assert isinstance(outcome, StoreFullError)
    assert content(store, "/news") == bytes(500)


def test_an_update_needs_room_for_both_versions(tmp_path: Path) -> None:
    store = bounded(tmp_path, 1000)
    do(store, version(1, {"a": bytes(300), "b": b"b" * 300}), bytes(300), b"b" * 300)
    update = version(2, {"a": b"a" * 250, "b": b"B" * 250})
    outcomes = apply(
        store, [update, NewBlob(sha(b"a" * 250), b"a" * 250), NewBlob(sha(b"B" * 250), b"B" * 250)]
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), StoreFullError]
    assert (content(store, "/a"), content(store, "/b")) == (bytes(300), b"b" * 300)
    assert (store.version, store.site().served_version) == (2, 1)
    store.close()
    store = bounded(tmp_path, 1100)
    assert content(store, "/a") == bytes(300)
    do(store, b"B" * 250)
    assert (content(store, "/a"), store.blobs.used_bytes) == (b"a" * 250, 500)


def test_channels_give_way_to_the_site(tmp_path: Path) -> None:
    store = bounded(tmp_path, 1000)
    do(store, version(1, {"1.ts": bytes(400), "2.ts": b"2" * 400}, LIVE), bytes(400), b"2" * 400)
    store.resolve("/live/news/1.ts", 0)
    do(store, version(1, {"page": b"p" * 300}), b"p" * 300)
    assert (content(store, "/live/news/1.ts"), content(store, "/live/news/2.ts")) == (bytes(400), None)
    assert store.site(LIVE).missing() == [sha(b"2" * 400)]
    store.close()
    smaller = bounded(tmp_path, 100)
    assert smaller.complete, "what is pinned stays, also above the limit"


def test_a_lower_limit_is_kept_to_as_far_as_possible(tmp_path: Path) -> None:
    store = bounded(tmp_path, 1000)
    do(store, version(1, {"a": b"a" * 100, "r": (b"r" * 300, ON_DEMAND)}), b"a" * 100, b"r" * 300)
    store.close()
    store = bounded(tmp_path, 200)
    assert (store.complete, store.has(sha(b"r" * 300)), store.blobs.used_bytes) == (True, False, 100)


def test_pieces_in_any_order(tmp_path: Path) -> None:
    for seed in range(8):
        chance = random.Random(seed)
        data = noise(seed, 5000)
        store = Store(tmp_path / f"store{seed}", KEY.public_key())
        do(store, version(1, {"large": data}))
        cuts = sorted({0, 5000, *(chance.randrange(5000) for _ in range(6))})
        jobs = [
            NewPiece(sha(data), 5000, start, data[start:stop]) for start, stop in itertools.pairwise(cuts)
        ]
        jobs += [NewPiece(sha(data), 5000, 1000, data[1000:3000])]
        chance.shuffle(jobs)
        here = bytearray(5000)
        for job in jobs:
            assert apply(store, [job]) == [None]
            here[job.offset : job.offset + len(job.data)] = b"\1" * len(job.data)
            if not store.complete:
                gaps = store.parts.gaps(sha(data), 5000)
                assert [
                    bool(any(start <= at < stop for start, stop in gaps)) for at in range(0, 5000, 7)
                ] == [not here[at] for at in range(0, 5000, 7)]
                assert store.blobs.used_bytes == sum(here), "holes take no room"
        assert content(store, "/large") == data
        assert (store.blobs.used_bytes, list((store.root / "tmp").iterdir())) == (5000, [])
        store.close()


def test_pieces_that_make_up_something_else(tmp_path: Path) -> None:
    store = bounded(tmp_path, 10_000)
    data = noise(1, 3000)
    do(store, version(1, {"large": data}))
    first, wrong = NewPiece(sha(data), 3000, 0, data[:2000]), NewPiece(sha(data), 3000, 2000, bytes(1000))
    good, damaged = apply(store, [first, wrong])
    assert (good, type(damaged)) == (None, DamagedError)
    assert store.parts.gaps(sha(data), 3000) == [(0, 3000)]
    assert (store.blobs.used_bytes, list((store.root / "tmp").iterdir())) == (0, [])
    store.blobs.check_room(10_000)
    outside = NewPiece(sha(data), 3000, 2500, bytes(501))
    other_size = NewPiece(sha(data), 2999, 2000, data[2000:2999])
    assert [type(outcome) for outcome in apply(store, [first, outside, other_size])] == [
        type(None),
        StoreError,
        StoreError,
    ]
    assert apply(store, [NewPiece(sha(data), 3000, 2000, data[2000:])] * 2) == [None, None]
    assert content(store, "/large") == data


def test_room_for_a_whole_blob_is_kept_from_the_first_piece_on(tmp_path: Path) -> None:
    store = bounded(tmp_path, 1000)
    data, other = noise(1, 800), noise(2, 300)
    do(store, version(1, {"large": data, "other": other}))
    do(store, NewPiece(sha(data), 800, 700, data[700:]))
    assert store.blobs.used_bytes == 100
    with pytest.raises(StoreFullError, match="100 of 1000 bytes used, 700 promised"):
        store.blobs.check_room(201)
    assert isinstance(apply(store, [NewBlob(sha(other), other)])[0], StoreFullError)
    do(store, version(2, {"other": other}), other)
    assert store.blobs.used_bytes == 300, "pieces of what nobody lists any more are gone"
    store.blobs.check_room(700)
    store.parts.discard("no such blob")


def test_a_blob_larger_than_memory_should_be(tmp_path: Path) -> None:
    """A hole of a terabyte costs nothing."""
    store = Store(tmp_path / "store", KEY.public_key())
    parts = Parts(store.blobs, tmp_path / "store/tmp")
    with pytest.raises(StoreFullError, match="No space left on device"):
        parts.write("f" * 64, 1 << 50, 1 << 49, b"x")
    space = os.statvfs(tmp_path)
    size = space.f_bavail * space.f_frsize // 2
    parts.write("e" * 64, size, size - 1, b"x")
    assert parts.gaps("e" * 64, size) == [(0, size - 1)]
    assert store.blobs.used_bytes == 1
    parts.discard("e" * 64)
    assert store.blobs.used_bytes == 0


def test_the_writer_knows_what_is_on_its_way(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "store", KEY.public_key())
        writer = Writer(store, lambda: None)
        data = noise(1, 3000)
        await writer.submit(version(1, {"large": data}))
        pieces = [NewPiece(sha(data), 3000, start, data[start : start + 1000]) for start in (0, 1000, 2000)]
        future = writer.submit(pieces[1])
        assert [writer.has_piece(sha(data), start) for start in (0, 1000, 2000)] == [False, True, False]
        await future
        assert [writer.has_piece(sha(data), start) for start in (0, 1000, 2000)] == [False, True, False]
        assert not writer.has(sha(data))
        await asyncio.gather(writer.submit(pieces[0]), writer.submit(pieces[2]))
        assert [writer.has_piece(sha(data), start) for start in (0, 1000, 2000)] == [True] * 3
        assert store.complete
        await writer.close()

    asyncio.run(test())


def test_evicting_beside_readers_and_writers(tmp_path: Path) -> None:
    """Three threads on a full store: index, disk and count agree, and no reader sees a wrong byte."""
    store = bounded(tmp_path, 2000)
    rare = [noise(number, 300) for number in range(20)]
    do(store, version(1, {f"r{number}": (data, ON_DEMAND) for number, data in enumerate(rare)}))

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            data = chance.choice(rare)
            assert all(
                not isinstance(outcome, DamagedError) for outcome in apply(store, [NewBlob(sha(data), data)])
            )
            staging = store.blobs.stage()
            with contextlib.suppress(StoreFullError):
                staging.write(bytes(100))
            staging.abandon()

    def read() -> None:
        chance = random.Random(0)
        for _ in range(600):
            number = chance.randrange(20)
            with contextlib.suppress(FileNotFoundError):
                assert content(store, f"/r{number}") in (None, rare[number])
            store.check(chance.choice(store.blobs.names() or [""]))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(write, 1), pool.submit(write, 2), pool.submit(read)]:
            future.result()
    on_disk = {path.name: path.read_bytes() for path in store.root.glob("blobs/*/*")}
    assert sorted(on_disk) == store.blobs.names()
    assert all(sha(data) == name for name, data in on_disk.items())
    assert store.blobs.used_bytes == 300 * len(on_disk) <= 2000


_FULL_DISK = """
import subprocess, sys
from pathlib import Path
from delivery.manifest import ON_DEMAND
from edge_node.store import Store
from edge_node.writer import NewBlob, NewPiece, apply
from tests.unit.edge_node.conftest import sha
from tests.unit.edge_node.life import KEY
from tests.unit.edge_node.test_store_sites import content, do, version
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k,nr_inodes=40", "tmpfs", disk], check=True)
store = Store(disk / "store", KEY.public_key())
rare = {f"r{n}": (bytes([n]) * 100_000, ON_DEMAND) for n in range(4)}
do(store, version(1, {"a": b"a" * 100_000, **rare}), b"a" * 100_000, *(data for data, _ in rare.values()))
large = b"l" * 200_000
do(store, version(2, {"a": b"a" * 100_000, "large": large, **rare}))
pieces = [NewPiece(sha(large), len(large), at, large[at : at + 50_000]) for at in range(0, 200_000, 50_000)]
do(store, *pieces)
print(content(store, "/a") == b"a" * 100_000, content(store, "/large") == large)
print([content(store, f"/r{n}") is not None for n in range(4)])
big = b"b" * 500_000
outcomes = apply(store, [version(3, {"big": big}), NewBlob(sha(big), big)])
print([type(outcome).__name__ for outcome in outcomes])
print(content(store, "/large") == large, store.site().served_version, list((disk / "store/tmp").iterdir()))
try:
    for n in range(99):
        (disk / f"inode{n}").touch()
except OSError as error:
    print(error.strerror)
print([type(outcome).__name__ for outcome in apply(store, [version(4, {"a": b"a" * 100_000})])])
(disk / "inode0").unlink(), (disk / "inode1").unlink(), (disk / "inode2").unlink()
do(store, version(4, {"a": b"a" * 100_000}))
print(store.site().served_version, store.complete)
"""


def test_a_full_disk_evicts_and_keeps_what_is_wanted(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-c", _FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "True True",
        "[False, False, True, True]",
        "['NoneType', 'StoreFullError']",
        "True 2 []",
        "No space left on device",
        "['StoreFullError']",
        "4 True",
    ], done.stdout + done.stderr
