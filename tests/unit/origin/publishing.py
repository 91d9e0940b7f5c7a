"""Real sockets over ::1 for the tests of publishing: a receiver with HTTP reports, options, requests.

The loopback interface has no multicast, so the stream goes to a unicast address here; the network tests have
the real group.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
from pathlib import Path

from delivery.asgi import listen
from delivery.events import BlobReceived, ManifestReceived, PieceReceived, RepairNeeded, SiteComplete
from delivery.keys import generate_key, load_private_key
from delivery.manifest import Manifest
from delivery.receiver import Receiver
from origin.options import PublishOptions


def free_port() -> int:
    with listen("::1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port


class Edge(asyncio.DatagramProtocol):
    """A receiver on a UDP port of ::1 that drops a share of what comes and reports over HTTP."""

    def __init__(
        self, name: str, options: PublishOptions, loss: float, have: dict[str, bytes] | None = None
    ) -> None:
        self.name, self.options, self.loss = name, options, loss
        self.random = random.Random(name)
        self.store = dict(have or {})
        self.manifest: Manifest | None = None
        self.parts: dict[str, bytearray] = {}
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
                case PieceReceived(name, size, offset, content):
                    self.parts.setdefault(name, bytearray(size))[offset : offset + len(content)] = content
                    self.store[name] = bytes(self.parts[name])
                case RepairNeeded(version, missing, _):
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


def make_options(tmp_path: Path) -> PublishOptions:
    """A small site with a key, to be published for edge1."""
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
