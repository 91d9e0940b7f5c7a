"""Both ends of a session in one event loop: versions that overtake each other, losses, seals.

The kernel is left out: what the publication sends, the receivers get, but for what they lose.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
from collections.abc import Sequence

import pytest

from delivery import stream as stream_module
from delivery.coding import EpochKey
from delivery.events import BlobReceived, PieceReceived, Rejected, RepairNeeded, SiteComplete
from delivery.manifest import FileEntry
from delivery.publication import Numbers, Publication, StreamOptions
from delivery.receiver import Receiver
from delivery.signing import sign_manifest
from tests.unit.delivery.asgi_client import ask
from tests.unit.delivery.simulation import KEY

CONTENTS = [b"text that compresses " * 9000, *(random.Random(n).randbytes(150_000) for n in range(3))]
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}
NAMES = list(BLOBS)
EPOCH = EpochKey(1, bytes(range(32)))


class Edge:
    """A receiver that loses a share of the datagrams, and reports."""

    def __init__(self, name: str, publication: Publication, loss: float) -> None:
        self.name, self.publication, self.loss = name, publication, loss
        self.random = random.Random(name)
        self.loop = asyncio.get_running_loop()
        self.store: dict[str, bytes] = {}
        self.rejected: list[str] = []
        self.asked: set[int] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[object]] = set()
        self.receiver = Receiver(
            1,
            KEY.public_key(),
            lambda sha256: sha256 in self.store,
            seed=1,
            fixed_back_off_s=0.06,
            random_back_off_s=0.03,
            reception_timeout_s=0.3,
            epoch_keys={EPOCH.epoch: EPOCH.key},
        )

    def feed(self, datagram: bytes) -> None:
        if self.random.random() >= self.loss:
            self.receiver.datagram_received(datagram, self.loop.time())
            self.pump()

    def pump(self) -> None:
        for event in self.receiver.events():
            match event:
                case BlobReceived(sha256, content):
                    self.store[sha256] = content
                case PieceReceived():
                    raise AssertionError("nothing here is cut")
                case Rejected(reason):
                    self.rejected.append(reason)
                case RepairNeeded(version, missing):
                    self.asked |= set(missing)
                    self.report(version, False, {str(toi): count for toi, count in missing.items()})
                case SiteComplete(version):
                    self.report(version, True, {})
        if self.timer is not None:
            self.timer.cancel()
        deadline = self.receiver.next_deadline()
        self.timer = None if deadline is None else self.loop.call_at(deadline, self.due)

    def due(self) -> None:
        self.receiver.handle_timeout(self.loop.time())
        self.pump()

    def report(self, version: int, complete: bool, missing: dict[str, int]) -> None:
        document = {"edge": self.name, "version": version, "complete": complete, "missing": missing}
        task = self.loop.create_task(
            ask(self.publication.app, "POST", "/reports", json.dumps(document).encode())
        )
        self.tasks.add(task)


def read(sha256: str, offset: int, length: int) -> bytes:
    return BLOBS[sha256][offset : offset + length]


def publish(publication: Publication, *numbers: int) -> None:
    files = tuple(FileEntry(f"f{n}", len(CONTENTS[n]), NAMES[n], "") for n in numbers)
    publication.publish(files, read, {entry.sha256: entry.size for entry in files})


@pytest.mark.parametrize("key", [None, EPOCH])
@pytest.mark.parametrize("by_blob", [False, True])
def test_edges_end_with_the_newest_version_whatever_was_under_way(
    monkeypatch: pytest.MonkeyPatch, key: EpochKey | None, by_blob: bool
) -> None:
    """The second version comes while the first goes out, the third when losses of the second are open."""
    edges: list[Edge] = []

    def send(_socket: socket.socket, datagrams: Sequence[bytes]) -> int:
        for datagram in datagrams:
            for edge in edges:
                edge.feed(datagram)
        return len(datagrams)

    monkeypatch.setattr(stream_module, "send", send)

    async def test() -> None:
        names = ("edge1", "edge2", "edge3")
        publication = Publication(
            "s",
            1,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
            lambda manifest: sign_manifest(manifest, KEY),
            Numbers(),
            lambda _: None,
            options=StreamOptions(rate_mbps=50.0, edges=names, by_blob=by_blob, spares=by_blob),
        )
        publication.epoch_key = key
        edges.extend(Edge(name, publication, 0.1) for name in names)
        publish(publication, 0, 1)
        await asyncio.sleep(0.01)
        publish(publication, 0, 1, 2)
        await asyncio.sleep(0.1)
        publish(publication, 0, 1, 2, 3)
        edition = publication.edition
        assert edition is not None
        assert edition.kept
        while not publication.roll_call.is_complete:
            await asyncio.sleep(0.01)
        await publication.close()
        for edge in edges:
            assert edge.store == BLOBS
            assert edge.rejected == []
        assert set.union(*(edge.asked for edge in edges)) & edition.kept
        for edge in edges:
            if edge.timer is not None:
                edge.timer.cancel()

    asyncio.run(asyncio.wait_for(test(), 40))
