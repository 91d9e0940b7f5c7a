"""`publish` with real sockets over ::1: a real receiver, real HTTP, the command line's exit status.

The loopback interface has no multicast, so the stream goes to a unicast address here; the network tests have
the real group.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from delivery.asgi import listen
from delivery.events import BlobReceived, ManifestReceived, RepairNeeded, SiteComplete
from delivery.keys import generate_key
from delivery.manifest import Manifest
from delivery.receiver import Receiver
from delivery.signing import open_manifest
from origin.errors import OriginError
from origin.publisher import Publisher, PublishOptions, PublishSummary
from origin.state import load_state


def free_port() -> int:
    with listen("::1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port


class Edge(asyncio.DatagramProtocol):
    """A receiver on a UDP port of ::1 that drops a share of what comes and reports over HTTP."""

    def __init__(
        self, name: str, options: PublishOptions, loss: float, have: dict[str, bytes] | None = None
    ) -> None:
        from delivery.keys import load_private_key

        self.name, self.options, self.loss = name, options, loss
        self.random = random.Random(name)
        self.store = dict(have or {})
        self.manifest: Manifest | None = None
        self.reports = 0
        self.receiver = Receiver(
            1,
            load_private_key(options.key).public_key(),
            lambda name: name in self.store,
            seed=1,
            fixed_back_off_s=0.1,
            random_back_off_s=0.05,
            reception_timeout_s=0.3,
            unix_offset_s=0.0,
        )
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.random.random() >= self.loss:
            self.receiver.datagram_received(data, self.loop.time())
            self.pump()

    def pump(self) -> None:
        for event in self.receiver.events():
            match event:
                case ManifestReceived(manifest):
                    self.manifest = manifest
                case BlobReceived(name, content):
                    self.store[name] = content
                case RepairNeeded(version, missing):
                    self.reports += 1
                    self.report(version, False, {str(toi): count for toi, count in missing.items()})
                case SiteComplete(version):
                    self.report(version, True, {})
        if self.timer is not None:
            self.timer.cancel()
        deadline = self.receiver.next_deadline()
        self.timer = None if deadline is None else self.loop.call_at(deadline, self.timeout)

    def timeout(self) -> None:
        self.receiver.handle_timeout(self.loop.time())
        self.pump()

    def report(self, version: int, complete: bool, missing: dict[str, int]) -> None:
        document = {"edge": self.name, "version": version, "complete": complete, "missing": missing}
        self.loop.run_in_executor(None, self.post, json.dumps(document))

    def post(self, body: str) -> None:
        status, _, _ = request(self.options, "POST", "/reports", body.encode())
        assert status == 204


def request(
    options: PublishOptions, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("::1", options.http_port, timeout=10)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, fields)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.fixture
def options(tmp_path: Path) -> PublishOptions:
    site = tmp_path / "site"
    site.mkdir()
    (site / "film.mp4").write_bytes(random.Random(1).randbytes(400_000))
    (site / "a page.html").write_bytes(b"<p>hello")
    (site / "empty").write_bytes(b"")
    generate_key(tmp_path / "key")
    return PublishOptions(
        folder=site, source="::1", interface="lo", key=tmp_path / "key", state=tmp_path / "state",
        site="test", group="::1", port=free_port(), http_port=free_port(), rate_mbps=200.0,
        edges=("edge1",), expect=0, timeout_s=15.0, overhead_percent=0.0,
    )  # fmt: skip


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
    assert first.source_symbols == 287
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


def test_http_api(options: PublishOptions) -> None:
    from delivery.keys import load_private_key

    options = replace(options, edges=(), expect=0)
    film = (options.folder / "film.mp4").read_bytes()

    def during() -> None:
        status, fields, signed = request(options, "GET", "/manifest")
        assert status == 200
        manifest = open_manifest(signed, load_private_key(options.key).public_key())
        status, head, body = request(options, "HEAD", "/manifest")
        assert (status, head["content-length"], body) == (200, str(len(signed)), b"")
        digest = next(entry.sha256 for entry in manifest.files if entry.path == "film.mp4")
        path = f"/blobs/{digest}"
        status, fields, body = request(options, "GET", path)
        assert (status, body, fields["etag"]) == (200, film, f'"{digest}"')
        for value, span in (
            ("bytes=0-0", (0, 1)), ("bytes=10-19", (10, 20)), ("bytes=399990-", (399990, 400000)),
            ("bytes=-5", (399995, 400000)), ("bytes=5-999999999", (5, 400000)),
            ("bytes=-999999999", (0, 400000)),
        ):  # fmt: skip
            status, fields, body = request(options, "GET", path, range=value)
            assert (status, body) == (206, film[span[0] : span[1]])
            assert fields["content-range"] == f"bytes {span[0]}-{span[1] - 1}/400000"
        for value in ("bytes=400000-", "bytes=-0"):
            status, fields, _ = request(options, "GET", path, range=value)
            assert (status, fields["content-range"]) == (416, "bytes */400000")
        for value in ("bytes=5-4", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,5-6"):
            assert request(options, "GET", path, range=value)[::2] == (200, film)
        assert request(options, "GET", path, range="bytes=0-1", if_range='"other"')[0] == 200
        assert request(options, "GET", path, range="bytes=0-1", if_range=f'"{digest}"')[0] == 206
        status, fields, body = request(options, "HEAD", path, range="bytes=0-1")
        assert (status, fields["content-length"], body) == (200, "400000", b"")
        assert request(options, "GET", "/blobs/" + "0" * 64)[0] == 404
        assert request(options, "GET", "/other")[0] == 404
        assert request(options, "PUT", path, b"x")[:2][0] == 405
        assert request(options, "GET", "/reports")[0] == 405
        assert request(options, "POST", "/reports", b"no json")[0] == 400
        assert request(options, "POST", "/reports", b"{}")[0] == 400
        assert request(options, "POST", "/reports", b"x" * (1 << 20 | 1))[0] == 413

    asyncio.run(publish(options, None, during))


def test_content_that_changes_under_way_ends_the_publication(options: PublishOptions) -> None:
    async def run() -> None:
        publisher = Publisher(options)
        publisher.prepare()
        (options.folder / "film.mp4").write_bytes(b"shorter")
        try:
            with pytest.raises(OriginError, match="changed while it was being published"):
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

    with pytest.raises(OriginError, match=message) as caught:
        asyncio.run(run())
    assert "\n" not in str(caught.value)
