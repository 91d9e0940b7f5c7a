"""Unicast from the real origin server: manifest, missing blobs, reports; and what goes wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.asgi import listen, serve
from delivery.manifest import Manifest
from delivery.rollcall import Report
from delivery.session_api import Offer, SessionApp
from delivery.signing import sign_manifest
from edge_node.blobs import StoreFullError
from edge_node.catch_up import RepairWatch, fetch_manifest, fetch_missing
from edge_node.journal import Journal
from edge_node.origin_client import OriginError
from edge_node.reports import Reporter
from edge_node.store import Store
from edge_node.writer import Writer
from origin.catalogue import read_catalogue

FILES = {"index.html": b"home", "big.bin": bytes(range(256)) * 5000, "empty": b"", "late": b"later"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@contextlib.asynccontextmanager
async def origin(
    site: Path, key: Ed25519PrivateKey, reports: list[Report], port: int = 0
) -> AsyncIterator[str]:
    """The origin's HTTP API over `site`; its URL."""
    catalogue = read_catalogue(site)
    manifest = Manifest("test", 3, catalogue.files, ())
    listener = listen("::1", port)
    stop, started = asyncio.Event(), asyncio.Event()
    offer = Offer(sign_manifest(manifest, key), catalogue.sizes, catalogue.read)
    app = SessionApp(reports.append, offer)
    task = asyncio.create_task(serve(app, sockets=[listener], stop=stop, started=started.set))
    await started.wait()
    try:
        yield f"http://[::1]:{listener.getsockname()[1]}"
    finally:
        stop.set()
        await task


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_everything_is_fetched_once(site: Path, tmp_path: Path, private_key: Ed25519PrivateKey) -> None:
    async def test() -> None:
        store = Store(tmp_path / "store", private_key.public_key())
        settled: list[bool] = []
        writer = Writer(store, lambda: settled.append(store.complete))
        async with origin(site, private_key, []) as url:
            await fetch_manifest(url, writer, private_key.public_key())
            assert (store.version, store.complete) == (3, False)
            fetched = await fetch_missing(url, writer)
            assert sorted(fetched) == sorted(store.manifest.blobs if store.manifest else [])
            assert store.complete
            assert settled[-1]
            assert await fetch_missing(url, writer) == []
        for name, content in FILES.items():
            found = store.resolve(f"/{name}", 0)
            assert found is not None
            assert store.path(found.entry.sha256).read_bytes() == content
        await writer.close()

    run(test)


def test_content_that_is_not_what_was_signed(
    site: Path, tmp_path: Path, private_key: Ed25519PrivateKey
) -> None:
    async def test() -> None:
        store = Store(tmp_path / "store", private_key.public_key())
        writer = Writer(store, lambda: None)
        async with origin(site, private_key, []) as url:
            await fetch_manifest(url, writer, private_key.public_key())
            (site / "late").write_bytes(b"LATER")
            with pytest.raises(Exception, match="has another digest"):
                await fetch_missing(url, writer)
        late, index = store.resolve("/late", 0), store.resolve("/index.html", 0)
        assert [found is not None and found.is_here for found in (late, index)] == [False, True]
        assert late is not None
        assert list((store.root / "tmp").iterdir()) == []
        await writer.close()

    run(test)


def test_a_forged_manifest_and_no_origin(site: Path, tmp_path: Path, private_key: Ed25519PrivateKey) -> None:
    async def test() -> None:
        store = Store(tmp_path / "store", private_key.public_key())
        writer = Writer(store, lambda: None)
        async with origin(site, Ed25519PrivateKey.generate(), []) as url:
            with pytest.raises(OriginError, match="refused: manifest signature does not verify"):
                await fetch_manifest(url, writer, private_key.public_key())
        with pytest.raises(OriginError, match=r"the origin at \[::1\]:\d+: Connect call failed"):
            await fetch_manifest(url, writer, private_key.public_key())
        assert store.version == 0

    run(test)


def test_a_full_store_takes_what_fits_and_the_rest_when_there_is_room(
    site: Path, tmp_path: Path, private_key: Ed25519PrivateKey
) -> None:
    async def attempt(max_bytes: int) -> list[str]:
        store = Store(tmp_path / "store", private_key.public_key(), max_bytes=max_bytes)
        writer = Writer(store, lambda: None)
        try:
            async with origin(site, private_key, []) as url:
                await fetch_manifest(url, writer, private_key.public_key())
                return await fetch_missing(url, writer)
        finally:
            await writer.close()
            store.close()

    async def test() -> None:
        with pytest.raises(StoreFullError, match="of 1000 bytes used"):
            await attempt(1000)
        assert len(await attempt(2_000_000)) == 1

    run(test)


def test_reports_arrive_though_the_origin_was_away(
    site: Path, tmp_path: Path, private_key: Ed25519PrivateKey, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        reports: list[Report] = []
        async with origin(site, private_key, reports) as url:
            pass
        reporter = Reporter(url, "edge1", 1, Journal("edge1", None, as_json=False))
        reporter.report(3, complete=False, missing={2: 7, 0: 1})
        await asyncio.sleep(0.05)
        assert reports == []
        async with origin(site, private_key, reports, int(url.rpartition(":")[2])):
            while not reports:
                await asyncio.sleep(0.02)
            assert reports == [Report("edge1", 3, False, {2: 7, 0: 1})]
            reporter.report(3, complete=True)
            while len(reports) < 2:
                await asyncio.sleep(0.02)
        assert reports[1] == Report("edge1", 3, True, {})
        await reporter.close()

    run(test)
    assert capsys.readouterr().err == ""


def test_reports_that_wait_are_sent_as_one(
    site: Path, tmp_path: Path, private_key: Ed25519PrivateKey
) -> None:
    async def test() -> None:
        reports: list[Report] = []
        async with origin(site, private_key, reports) as url:
            reporter = Reporter(url, "edge1", 1, Journal("edge1", None, as_json=False))
            for missing in ({1: 5}, {2: 7}, {3: 2, 2: 6}):
                reporter.report(3, complete=False, missing=missing)
            while sum(len(report.missing) for report in reports) < 3:
                await asyncio.sleep(0.02)
            await reporter.close()
        merged = {toi: count for report in reports for toi, count in report.missing.items()}
        assert merged == {1: 5, 2: 6, 3: 2}
        assert len(reports) <= 2

    run(test)


def test_unicast_helps_after_three_fruitless_repairs() -> None:
    watch = RepairWatch(limit=3)
    steps: list[tuple[int, Mapping[int, int]]] = [
        (1, {1: 10}), (1, {1: 9, 2: 9}), (1, {1: 18}), (1, {1: 17}), (1, {1: 17}), (1, {1: 17}), (1, {1: 17}),
        (2, {5: 99}), (2, {5: 99}),
    ]  # fmt: skip
    assert [watch.asked(*step) for step in steps] == [False] * 6 + [True] + [False] * 2
    without_manifest = RepairWatch(limit=2)
    assert [without_manifest.asked(0, {0: 1}) for _ in range(4)] == [False, False, True, True]
