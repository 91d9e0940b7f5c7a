"""Damage: what a store makes of spoilt manifests and blobs, at start, while scrubbing and while serving."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

import pytest

from delivery.manifest import ON_DEMAND
from edge_node.app import EdgeApp
from edge_node.blobs import StoreError
from edge_node.health import Load
from edge_node.scrub import Scrubber, Step, scrub
from edge_node.store import Store
from edge_node.verify import verify
from edge_node.writer import apply
from tests.unit.edge_node.conftest import noise, sha
from tests.unit.edge_node.life import KEY
from tests.unit.edge_node.test_store_sites import content, do, version

FILES = {"a": noise(1, 100), "b": noise(2, 5000), "empty": b""}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with version 1 complete, closed."""
    store = Store(tmp_path / "store", KEY.public_key())
    do(store, version(1, dict(FILES)), *FILES.values())
    store.close()
    return store.root


def flip(path: Path, at: int = 50) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def blob(root: Path, data: bytes) -> Path:
    return root / "blobs" / sha(data)[:2] / sha(data)


@pytest.mark.parametrize("how", ["signature", "body", "cut", "empty", "gone", "link"])
def test_a_damaged_newest_manifest(root: Path, how: str) -> None:
    store = Store(root, KEY.public_key())
    do(store, version(2, {**FILES, "c": b"c"}))
    store.close()
    newest = root / "manifests/000002"
    signed = newest.read_bytes()
    match how:
        case "signature":
            flip(newest, 10)
        case "body":
            flip(newest, 90)
        case "cut" | "empty":
            newest.write_bytes(signed[: 80 if how == "cut" else 0])
        case "gone":
            newest.unlink()
        case "link":
            (root / "manifests/current").unlink()
            (root / "manifests/current").symlink_to("nowhere")
    store = Store(root, KEY.public_key())
    assert len(store.warnings) == 1
    assert (store.version, store.site().served_version) == ((2, 1) if how == "link" else (1, 1))
    assert content(store, "/b") == FILES["b"]
    if how != "link":
        do(store, version(2, {**FILES, "c": b"c"}))
    do(store, b"c")
    assert (store.complete, store.site().served_version, content(store, "/c")) == (True, 2, b"c")
    store.close()
    again = Store(root, KEY.public_key())
    assert again.complete
    assert again.warnings == ([] if how != "link" else again.warnings)


def test_the_only_manifest_is_damaged(root: Path) -> None:
    """The content stays and waits; an older manifest is not taken for it."""
    flip(root / "manifests/000001", 90)
    store = Store(root, KEY.public_key())
    assert "000001: " in store.warnings[0]
    assert (store.version, store.manifest, content(store, "/a")) == (0, None, None)
    assert store.has(sha(FILES["b"]))
    do(store, version(1, dict(FILES)))
    assert (store.complete, content(store, "/b")) == (True, FILES["b"])
    do(store, version(9, dict(FILES)))
    store.close()
    flip(root / "manifests/000009", 90)
    store = Store(root, KEY.public_key())
    (outcome,) = apply(store, [version(8, dict(FILES))])
    assert "version 8 is not newer than version 8 held" in str(outcome)
    do(store, version(9, dict(FILES)))
    assert store.complete


def test_half_a_version_is_not_shown_though_the_other_is_damaged(root: Path) -> None:
    store = Store(root, KEY.public_key())
    do(store, version(2, {"a": b"a2", "b": FILES["b"], "c": b"c2"}), b"a2")
    store.close()
    blob(root, FILES["a"]).write_bytes(b"short")
    store = Store(root, KEY.public_key())
    assert store.site().served_version == 1
    assert [content(store, path) for path in ("/a", "/b", "/c")] == [None, FILES["b"], None]
    found = store.resolve("/a", 0)
    assert found is not None
    assert not found.is_here
    do(store, b"c2")
    assert content(store, "/a") == b"a2"


def test_a_blob_of_another_size_is_not_believed(root: Path) -> None:
    blob(root, FILES["b"]).write_bytes(FILES["b"][:-1])
    (root / "blobs/ab").mkdir(exist_ok=True)
    strange = [root / "blobs/ab/readme", root / "blobs/ab" / ("cd" * 32), root / "tmp/left"]
    for path in strange:
        path.write_bytes(b"?")
    (root / "tmp/folder").mkdir()
    store = Store(root, KEY.public_key())
    assert store.missing() == [sha(FILES["b"])]
    assert not any(path.exists() for path in strange)
    do(store, FILES["b"])
    assert store.complete


def test_scrubbing_finds_what_is_damaged_and_it_is_healed(root: Path) -> None:
    store = Store(root, KEY.public_key())
    scrubber = Scrubber(store, step_bytes=1000)
    healthy = rounds(scrubber)
    assert [step.damaged for step in healthy] == [()] * len(healthy)
    assert sum(step.bytes for step in healthy) == 5100
    assert max(step.bytes for step in healthy) <= 1000
    flip(blob(root, FILES["b"]), 4999)
    blob(root, FILES["a"]).unlink()
    found = [name for step in rounds(scrubber) for name in step.damaged]
    assert sorted(found) == sorted([sha(FILES["a"]), sha(FILES["b"])])
    assert sorted(store.missing()) == sorted(found)
    assert not store.complete
    assert store.site().served_version == 1
    do(store, FILES["a"], FILES["b"])
    assert store.complete
    assert [name for step in rounds(scrubber) for name in step.damaged] == []


def rounds(scrubber: Scrubber) -> list[Step]:
    """The steps of one round."""
    steps = [scrubber.step()]
    while not steps[-1].ends_round:
        steps.append(scrubber.step())
    return steps


def test_blobs_come_and_go_while_they_are_scrubbed(root: Path) -> None:
    store = Store(root, KEY.public_key())
    do(store, version(2, {**FILES, "rare": (noise(3, 9000), ON_DEMAND)}), noise(3, 9000))
    scrubber = Scrubber(store, step_bytes=10)
    for removed in (b"", *FILES.values(), noise(3, 9000)):
        scrubber.step()
        store.blobs.remove(sha(removed))
    assert [name for step in rounds(scrubber) for name in step.damaged] == []
    do(store, *FILES.values())
    # A damaged file that was replaced while it was read is not held against its successor.
    flip(blob(root, FILES["b"]))
    while scrubber._name != sha(FILES["b"]):
        scrubber.step()
    store.blobs.remove(sha(FILES["b"]))
    do(store, FILES["b"])
    assert [name for step in rounds(scrubber) for name in step.damaged] == []
    assert store.complete


def test_one_blob_can_be_checked_at_once(root: Path) -> None:
    store = Store(root, KEY.public_key())
    assert store.check(sha(FILES["a"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_node.blobs.file_sha256", _no_descriptors)
        assert store.check(sha(FILES["a"])), "that says nothing about the disk"
    flip(blob(root, FILES["a"]))
    assert not store.check(sha(FILES["a"]))
    assert not store.has(sha(FILES["a"]))
    assert not store.check(sha(FILES["a"]))


def _no_descriptors(path: Path) -> str:
    raise OSError(errno.EMFILE, "Too many open files", path)


def test_the_runner_keeps_to_its_rate(root: Path) -> None:
    async def test() -> None:
        slept: list[float] = []
        found: list[str] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 12:
                raise asyncio.CancelledError

        flip(blob(root, FILES["b"]))
        scrubber = Scrubber(Store(root, KEY.public_key()), step_bytes=1000)
        with pytest.raises(asyncio.CancelledError):
            await scrub(scrubber, 2000.0, found.append, pause_s=77.0, sleep=sleep)
        assert found == [sha(FILES["b"])]
        assert slept.count(0.5) >= 5
        assert 77.0 in slept

    asyncio.run(test())


def test_a_small_file_is_checked_before_it_is_served(root: Path) -> None:
    """A damaged blob is found missing instead of being sent; its successor is sent."""

    async def get(app: EdgeApp, path: str) -> tuple[int, bytes, dict[bytes, bytes]]:
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        async def receive() -> dict[str, object]:
            await asyncio.sleep(3600)
            return {}

        fields = [(b"host", b"x")]
        scope = {"method": "GET", "raw_path": path.encode(), "query_string": b"", "http_version": "1.1"}
        await app({**scope, "headers": fields}, receive, send)
        start, body = sent[0], b"".join(message["body"] for message in sent[1:])
        return start["status"], body, dict(start["headers"])

    async def test() -> None:
        store = Store(root, KEY.public_key())
        app = EdgeApp("edge1", store, Load(10))
        flip(blob(root, FILES["a"]))
        status, body, _ = await get(app, "/a")
        assert status != 200
        assert FILES["a"][:10] not in body
        assert store.missing() == [sha(FILES["a"])]
        do(store, FILES["a"])
        status, body, fields = await get(app, "/a")
        assert (status, body, fields[b"nearcast-version"]) == (200, FILES["a"], b"1")

    asyncio.run(test())


def test_verify_says_what_is_served(root: Path) -> None:
    key = KEY.public_key()
    verdict = verify(root, key)
    assert (verdict.version, verdict.served, verdict.complete, verdict.identical) == (1, 1, True, True)
    store = Store(root, key)
    do(store, version(2, {"a": b"new", "rare": (b"rare", ON_DEMAND)}))
    verdict = verify(root, key)
    assert (verdict.version, verdict.served, verdict.complete) == (2, 1, False)
    assert verdict.differences == ("a: its content is missing",)
    do(store, b"new")
    verdict = verify(root, key)
    assert (verdict.version, verdict.served, verdict.complete, verdict.identical) == (2, 2, True, True)
    flip(blob(root, b"new"), 1)
    assert not verify(root, key).complete
    (root / "manifests/000002").write_bytes(b"")
    with pytest.raises(StoreError, match="nothing to verify"):
        verify(root, key)


def test_a_clock_that_jumps_harms_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for now in (0.0, 4e9, 1.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        store = Store(root, KEY.public_key())
        assert content(store, "/b") == FILES["b"]
        store.close()
