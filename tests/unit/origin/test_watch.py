"""`watch` with real sockets over ::1: when a new version goes out, and when not; channels; encryption."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from delivery import stream
from delivery.coding import unwrap_keys
from delivery.edition import Edition
from delivery.errors import DeliveryError
from delivery.keys import generate_key, load_private_key, to_hex
from delivery.manifest import Manifest
from delivery.signing import open_manifest
from origin import channels, watcher
from origin.options import PublishOptions
from origin.signer import rotate_key
from origin.watcher import Settling, Watcher
from tests.unit.origin.publishing import make_options, request

INTERVAL_S = 0.03


@pytest.fixture
def options(tmp_path: Path) -> PublishOptions:
    return replace(make_options(tmp_path), edges=(), interval_s=INTERVAL_S)


class Observer:
    """Collects versions and warnings of a running watcher."""

    def __init__(self, options: PublishOptions) -> None:
        self.watcher = Watcher(options)
        self.editions: asyncio.Queue[Edition] = asyncio.Queue()
        self.warnings: asyncio.Queue[str] = asyncio.Queue()
        self.watcher.on_version = self.editions.put_nowait
        self.watcher.on_warning = self.warnings.put_nowait

    async def next(self) -> Edition:
        return await asyncio.wait_for(self.editions.get(), 20)

    async def settle(self) -> None:
        """Let the watcher look often enough to notice whatever there is."""
        looked = 0
        look = self.watcher._look

        async def counting() -> None:
            nonlocal looked
            await look()
            looked += 1

        self.watcher._look = counting  # type: ignore[method-assign]
        while looked < 4:
            await asyncio.sleep(INTERVAL_S)
        self.watcher._look = look  # type: ignore[method-assign]


@asynccontextmanager
async def watching(options: PublishOptions) -> AsyncIterator[Observer]:
    observer = Observer(options)
    observer.watcher.open()
    task = asyncio.create_task(observer.watcher.run())
    try:
        yield observer
    finally:
        observer.watcher.stop()
        await task
        await observer.watcher.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def get(options: PublishOptions, path: str, method: str = "GET", body: bytes = b"") -> bytes:
    status, _, answer = await asyncio.to_thread(request, options, method, path, body)
    assert status == 200, answer
    return answer


def names(edition: Edition) -> list[str]:
    return [entry.path for entry in edition.manifest.files]


def test_settling_waits_until_two_looks_agree() -> None:
    settling: Settling[int] = Settling()
    offers = [settling.offer(value) for value in (1, 2, 2, 2)]
    assert offers == [False, False, True, True]
    settling.take()
    assert [settling.offer(value) for value in (2, 3, 3)] == [False, False, True]
    settling.take()
    assert [settling.offer(value) for value in (4, 3, 3)] == [False, False, False]


def test_a_version_for_every_change_and_only_for_changes(options: PublishOptions) -> None:
    async def test() -> None:
        async with watching(options) as observer:
            first = await observer.next()
            assert (first.manifest.version, names(first)) == (1, ["a page.html", "empty", "film.mp4"])
            (options.folder / "new").write_bytes(b"new")
            second = await observer.next()
            assert (second.content_bytes, second.kept) == (3, {2})
            (options.folder / "film.mp4").unlink()
            third = await observer.next()
            assert names(third) == ["a page.html", "empty", "new"]
            assert third.content_bytes == 0
            os.utime(options.folder / "new")
            await observer.settle()
            assert observer.editions.empty()
            assert observer.warnings.empty()

    run(test)


def test_the_last_file_may_go(options: PublishOptions) -> None:
    async def test() -> None:
        async with watching(options) as observer:
            await observer.next()
            for path in options.folder.iterdir():
                path.unlink()
            assert names(await observer.next()) == []

    run(test)


def test_what_expires_is_withdrawn_in_time(options: PublishOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1798761000.0
    monkeypatch.setattr(watcher.time, "time", lambda: now)
    rules = options.folder.parent / "rules.yaml"
    rules.write_text("- {match: film.mp4, expires: '2027-01-01T00:00:00Z'}")

    async def test() -> None:
        nonlocal now
        async with watching(replace(options, rules=rules)) as observer:
            first = await observer.next()
            assert first.manifest.files[2].expires_unix_s == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
            await observer.settle()
            assert observer.editions.empty()
            now = 1798761600.0
            assert names(await observer.next()) == ["a page.html", "empty"]
            rules.write_text("- {match: empty, class: on-demand}")
            third = await observer.next()
            assert [entry.delivery for entry in third.manifest.files] == ["", "on-demand", ""]
            rules.write_text("- {match: empty, class: nonsense}")
            assert "class: 'nonsense'" in await asyncio.wait_for(observer.warnings.get(), 20)
            (options.folder / "new").write_bytes(b"new")
            assert (await observer.next()).manifest.files[1].delivery == "on-demand"

    run(test)


def test_a_key_is_rotated_while_the_origin_runs(options: PublishOptions) -> None:
    new_key = options.key.with_name("new key")
    generate_key(new_key)
    public = [to_hex(load_private_key(key).public_key()) for key in (options.key, new_key)]

    async def test() -> None:
        async with watching(options) as observer:
            await observer.next()
            await asyncio.to_thread(rotate_key, options.state, options.key, new_key)
            assert (await observer.next()).manifest.keys == tuple(public)
            await observer.settle()
            assert observer.editions.empty()
            report = json.dumps({"edge": "edge1", "version": 2, "complete": True}).encode()
            status, _, _ = await asyncio.to_thread(request, options, "POST", "/reports", report)
            assert status == 204
            assert (await observer.next()).manifest.keys == (public[1],)
            open_manifest(await get(options, "/manifest"), load_private_key(new_key).public_key())

    run(test)


def test_a_change_of_members_begins_an_epoch(options: PublishOptions) -> None:
    edges = [X25519PrivateKey.generate() for _ in range(2)]
    members = options.folder.parent / "members.json"

    def write(count: int) -> None:
        rows = {
            f"edge{n}": edge.public_key().public_bytes_raw().hex() for n, edge in enumerate(edges[:count])
        }
        members.write_text(json.dumps(rows))

    write(2)

    async def test() -> None:
        sealed = replace(options, encrypt=True, members=members)
        async with watching(sealed) as observer:
            first = await observer.next()
            assert [bundle.epoch for bundle in first.manifest.bundles] == [1]
            keys = unwrap_keys(await get(options, "/keys", "POST", b'{"edge": "edge1"}'), edges[1])
            assert list(keys) == [1]
            write(1)
            assert (await observer.next()).kept == {2}
            status, _, _ = await asyncio.to_thread(request, options, "POST", "/keys", b'{"edge": "edge1"}')
            assert status == 403
            keys = unwrap_keys(await get(options, "/keys", "POST", b'{"edge": "edge0"}'), edges[0])
            assert list(keys) == [1, 2]
            (options.folder / "new").write_bytes(b"new")
            assert [bundle.epoch for bundle in (await observer.next()).manifest.bundles] == [1, 2]

    run(test)


def test_a_session_that_counts_anew_gets_a_new_key(options: PublishOptions) -> None:
    members = options.folder.parent / "members.json"
    members.write_text("{}")
    epochs = []

    async def start() -> None:
        async with watching(replace(options, encrypt=True, members=members)) as observer:
            epochs.extend(bundle.epoch for bundle in (await observer.next()).manifest.bundles)

    run(start)
    run(start)
    (options.state / "origin.json").unlink()
    run(start)
    assert epochs == [1, 1, 2]


def test_channels_are_sessions_of_their_own(options: PublishOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_unicast(source: str, interface: str, _group: str, port: int) -> Any:
        return stream.open_group(source, interface, "::1", port)

    monkeypatch.setattr(channels, "open_group", open_unicast)
    folder = options.folder.parent / "news"
    folder.mkdir()

    def write(*segments: str) -> None:
        for segment in segments:
            (folder / segment).write_bytes(segment.encode() * 500)
        (folder / "aside").write_text("#EXTM3U\n" + "".join(f"#EXTINF:2,\n{name}\n" for name in segments))
        (folder / "aside").replace(folder / "index.m3u8")

    async def channel_at(version: int) -> Manifest:
        while True:
            status = json.loads(await get(options, "/status"))
            if status["sessions"][1]["version"] >= version:
                key = load_private_key(options.key).public_key()
                return open_manifest(await get(options, "/live/news/manifest"), key)
            await asyncio.sleep(0.05)

    async def test() -> None:
        live = replace(options, channels=(("news", folder),))
        async with watching(live) as observer:
            (session,) = (await observer.next()).manifest.sessions
            assert (session.prefix, session.group, session.tsi) == ("live/news", "ff35::8001:0", 2)
            assert session.url == f"http://[::1]:{options.http_port}/live/news"
            write("1.ts", "2.ts")
            first = await channel_at(1)
            assert [entry.path for entry in first.files] == ["1.ts", "2.ts", "index.m3u8"]
            assert len(first.bundles) == 3
            write("2.ts", "3.ts")
            second = await channel_at(2)
            shared = {bundle.toi: bundle for bundle in second.bundles}
            kept = [bundle for bundle in first.bundles if shared.get(bundle.toi) == bundle]
            assert [kept[0].pieces[0].sha256] == [second.files[0].sha256]
            playlist = await get(options, f"/live/news/blobs/{second.files[2].sha256}")
            assert playlist == (folder / "index.m3u8").read_bytes()
            (folder / "index.m3u8").write_text("oops")
            assert "live/news: " in await asyncio.wait_for(observer.warnings.get(), 20)
            assert observer.editions.empty()

    run(test)
    assert json.loads((options.state / "live-news.json").read_text())["version"] == 2


def test_events_are_logged_as_json_lines(options: PublishOptions) -> None:
    log = options.state / "events.jsonl"
    options.state.mkdir()

    async def test() -> None:
        async with watching(replace(options, json_log=log)) as observer:
            await observer.next()
            report = json.dumps({"edge": "edge1", "version": 1, "complete": True}).encode()
            await asyncio.to_thread(request, options, "POST", "/reports", report)

    run(test)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["published", "report", "edge-complete"]
    assert {event["session"] for event in events} == {"site"}
    assert (events[0]["version"], events[0]["files"], events[2]["edge"]) == (1, 3, "edge1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": Path("nowhere")}, "no such folder"),
        ({"rules": Path("nowhere")}, "cannot read the rules"),
        ({"peers": (Path("nowhere"),)}, "check --peer"),
        ({"channels": (("news", Path("nowhere")),)}, "check --channel"),
        ({"encrypt": True}, "--encrypt needs --members"),
        ({"json_log": Path("nowhere/log")}, "check --json-log"),
    ],
)
def test_problems_at_the_start_end_it(options: PublishOptions, change: dict[str, Any], message: str) -> None:
    async def test() -> None:
        Watcher(replace(options, **change)).open()

    with pytest.raises(DeliveryError, match=message):
        run(test)

    # Whatever had been opened is closed again: the same port can be had at once.
    async def again() -> None:
        opened = Watcher(options)
        opened.open()
        opened.service.abandon()

    run(again)
