"""`publish` with real sockets over ::1: a real receiver, real HTTP, the command line's exit status."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.errors import DeliveryError
from delivery.keys import load_private_key
from delivery.signing import open_manifest
from origin.options import PublishOptions
from origin.publisher import Publisher, PublishSummary
from origin.state import load_state
from tests.unit.origin.publishing import Edge, make_options, request


@pytest.fixture
def options(tmp_path: Path) -> PublishOptions:
    return make_options(tmp_path)


async def publish(
    options: PublishOptions, edge: Callable[[], Edge] | None, during: Callable[[], None] | None = None
) -> PublishSummary:
    publisher = Publisher(options)
    publisher.prepare()
    loop = asyncio.get_running_loop()
    transport = None
    if edge is not None:
        transport, _ = await loop.create_datagram_endpoint(
            edge, local_addr=("::1", options.port), family=socket.AF_INET6
        )
    try:
        summary = await publisher.run()
        if during is not None:
            await loop.run_in_executor(None, during)
        return summary
    finally:
        await publisher.close()
        if transport is not None:
            transport.close()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_an_edge_receives_the_site_and_then_only_what_changes(options: PublishOptions, loss: float) -> None:
    edges: list[Edge] = []

    def edge() -> Edge:
        edges.append(Edge("edge1", options, loss, edges[-1].store if edges else None))
        return edges[-1]

    first = asyncio.run(publish(options, edge))
    assert first.complete
    assert set(first.edges) == {"edge1"}
    assert (first.files, first.bytes, first.version) == (3, 400_008, 1)
    assert first.source_symbols == 281
    if loss:
        assert first.repair_symbols > 5
    (options.folder / "new").write_bytes(b"new")
    second = asyncio.run(publish(options, edge))
    assert second.complete
    assert (second.version, second.bundles, second.new_bytes, second.source_symbols) == (2, 1, 3, 2)
    manifest = edges[-1].manifest
    assert manifest is not None
    received = {entry.path: edges[-1].store[entry.sha256] for entry in manifest.files}
    assert received == content(options.folder)
    state = load_state(options.state)
    assert state.version == 2
    assert 0 < state.next_fdt_instance < 100


def test_edges_that_do_not_complete_are_named(options: PublishOptions) -> None:
    short = replace(options, timeout_s=3.0, edges=("edge1", "edge2"))
    summary = asyncio.run(publish(short, lambda: Edge("edge1", short, 0.0)))
    assert not summary.complete
    assert summary.missing == ("edge2",)


def test_the_api_is_served_over_http(options: PublishOptions) -> None:
    film = (options.folder / "film.mp4").read_bytes()

    def during() -> None:
        status, fields, signed = request(options, "GET", "/manifest")
        assert (status, fields["content-length"]) == (200, str(len(signed)))
        manifest = open_manifest(signed, load_private_key(options.key).public_key())
        digest = next(entry.sha256 for entry in manifest.files if entry.path == "film.mp4")
        assert request(options, "GET", f"/blobs/{digest}")[::2] == (200, film)
        assert request(options, "GET", f"/blobs/{digest}", range="bytes=10-19")[::2] == (206, film[10:20])
        status, _, body = request(options, "GET", "/status")
        row = json.loads(body)["sessions"][0]
        assert (status, row["version"], row["unicast_objects"]) == (200, 1, 2)
        assert request(options, "POST", "/reports", b"{}")[0] == 400

    asyncio.run(publish(replace(options, edges=(), expect=0), None, during))


def test_content_that_changes_under_way_ends_the_publication(options: PublishOptions) -> None:
    async def run() -> None:
        publisher = Publisher(options)
        publisher.prepare()
        (options.folder / "film.mp4").write_bytes(b"shorter")
        try:
            with pytest.raises(DeliveryError, match="changed while it was being published"):
                await publisher.run()
        finally:
            await publisher.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interface": "nosuch0"}, "there is no interface nosuch0"),
        ({"source": "2001:db8::77"}, "cannot listen on"),
        ({"folder": Path("nowhere")}, "no such folder"),
    ],
)
def test_problems_are_told_in_one_line(
    options: PublishOptions, change: dict[str, object], message: str
) -> None:
    async def run() -> None:
        Publisher(replace(options, **change)).prepare()  # type: ignore[arg-type]

    with pytest.raises(DeliveryError, match=message) as caught:
        asyncio.run(run())
    assert "\n" not in str(caught.value)
