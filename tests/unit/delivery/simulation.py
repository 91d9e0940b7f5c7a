"""A multicast group in simulated time: one sender, receivers, losses, delays, reports on the way back."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.announcement import BUNDLE_TYPE, MANIFEST_TYPE, manifest_location
from delivery.bundles import plan_bundles, read_bundle
from delivery.events import (
    BlobReceived,
    ManifestReceived,
    PieceReceived,
    Rejected,
    RepairNeeded,
    SiteComplete,
)
from delivery.manifest import Bundle, FileEntry, Manifest
from delivery.receiver import Receiver
from delivery.sender import Outgoing, Sender
from delivery.signing import sign_manifest
from edge_node.catch_up import RepairWatch

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TSI = 1


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Site:
    """A published site: its content by digest, the manifest, its signed bytes and the objects to send."""

    blobs: Mapping[str, bytes]
    manifest: Manifest
    signed: bytes
    objects: tuple[Outgoing, ...]


def make_site(
    contents: list[bytes], *, version: int = 1, first_toi: int = 1, bundle_bytes: int = 2 << 20
) -> Site:
    blobs = {sha256(content): content for content in contents}
    files = tuple(FileEntry(f"file {i}", len(c), sha256(c), "text/plain") for i, c in enumerate(contents))
    plans = plan_bundles([(name, len(c)) for name, c in blobs.items()], first_toi + 1, bundle_bytes)
    data = {
        plan.toi: read_bundle(plan.pieces, lambda name, at, length: blobs[name][at : at + length])
        for plan in plans
    }
    bundles = tuple(Bundle(plan.toi, plan.size, sha256(data[plan.toi]), plan.pieces) for plan in plans)
    manifest = Manifest("test", version, files, bundles)
    signed = sign_manifest(manifest, KEY)
    objects = [Outgoing(first_toi, manifest_location(version), MANIFEST_TYPE, len(signed), lambda: signed)]
    objects += [
        Outgoing(b.toi, f"bundle/{b.toi}", BUNDLE_TYPE, b.size, lambda toi=b.toi: data[toi])  # type: ignore[misc]
        for b in bundles
    ]
    return Site(blobs, manifest, signed, tuple(objects))


def all_datagrams(sender: Sender, now: float = 0.0) -> list[bytes]:
    """Everything the sender has to send, whenever it is due."""
    datagrams: list[bytes] = []
    while (deadline := sender.next_deadline()) is not None:
        now = max(now, deadline)
        datagrams += sender.poll(now)
    return datagrams


class Edge:
    """A receiver with a store; `restart` forgets everything but the store and the newest manifest."""

    def __init__(self, name: str, seed: int, **options: float) -> None:
        self.name = name
        self.seed = seed
        self.options = {
            "fixed_back_off_s": 0.05,
            "random_back_off_s": 0.05,
            "reception_timeout_s": 0.5,
        } | options
        self.store: dict[str, bytes] = {}
        self.pieces: dict[str, dict[int, bytes]] = {}
        self.signed: bytes | None = None
        self.version = 0
        self.complete: dict[int, float] = {}
        self.rejected: list[str] = []
        self.reports: list[RepairNeeded] = []
        self.report_times: list[float] = []
        self.up = True
        self.receiver = self._receiver()

    def _receiver(self) -> Receiver:
        return Receiver(
            TSI,
            KEY.public_key(),
            self.store.__contains__,
            seed=self.seed,
            current_version=self.version,
            has_piece=lambda name, offset: offset in self.pieces.get(name, ()),
            **self.options,  # type: ignore[arg-type]
        )

    def restart(self, now: float) -> None:
        self.receiver = self._receiver()
        if self.signed is not None:
            self.receiver.manifest_available(self.signed, now)

    def drain(self, now: float) -> list[RepairNeeded]:
        wanted = []
        for event in self.receiver.events():
            match event:
                case ManifestReceived(manifest, signed):
                    self.signed, self.version = signed, manifest.version
                case BlobReceived(name, content):
                    assert sha256(content) == name
                    self.store[name] = content
                case PieceReceived(name, size, offset, content):
                    self._keep_piece(name, size, offset, content)
                case RepairNeeded():
                    wanted.append(event)
                    self.reports.append(event)
                    self.report_times.append(now)
                case SiteComplete(version):
                    self.complete[version] = now
                case Rejected(reason):
                    self.rejected.append(reason)
        return wanted

    def _keep_piece(self, name: str, size: int, offset: int, content: bytes) -> None:
        pieces = self.pieces.setdefault(name, {})
        assert offset not in pieces, "a piece is handed out once"
        pieces[offset] = content
        if sum(map(len, pieces.values())) == size:
            whole = b"".join(pieces[at] for at in sorted(pieces))
            assert sha256(whole) == name
            self.store[name] = whole
            del self.pieces[name]


@dataclass
class Group:
    """Runs the machines; `alter(edge, datagram, random)` gives the copies (delay in s, bytes) that arrive.

    Of `unicast` edges fetch what repair in vain has not brought, as `edge_node.receiver` does.
    """

    sender: Sender
    edges: list[Edge]
    seed: int = 0
    delay_s: float = 0.005
    loss: float = 0.0
    report_loss: float = 0.0
    alter: Callable[[Edge, bytes, random.Random], list[tuple[float, bytes]]] | None = None
    unicast: Site | None = None
    now: float = 0.0
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._watching = {edge.name: RepairWatch() for edge in self.edges}

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (time, self._number, action))

    def run(self, until: float = 60.0) -> None:
        """Until nothing is left to do or the time is up."""
        while True:
            times = [self._agenda[0][0]] if self._agenda else []
            deadlines = [
                self.sender.next_deadline(),
                *(e.receiver.next_deadline() for e in self.edges if e.up),
            ]
            times += [deadline for deadline in deadlines if deadline is not None]
            if not times or min(times) > until:
                return
            self.now = max(self.now, min(times))
            self._step()

    def _step(self) -> None:
        now = self.now
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        deadline = self.sender.next_deadline()
        if deadline is not None and deadline <= now:
            for datagram in self.sender.poll(now):
                self.sent.append(datagram)
                for edge in self.edges:
                    self._deliver(edge, datagram)
        for edge in self.edges:
            deadline = edge.receiver.next_deadline()
            if edge.up and deadline is not None and deadline <= now:
                edge.receiver.handle_timeout(now)
                self._after(edge)

    def _deliver(self, edge: Edge, datagram: bytes) -> None:
        if self._random.random() < self.loss:
            return
        copies = self.alter(edge, datagram, self._random) if self.alter else [(0.0, datagram)]
        for extra_s, copy in copies:
            self.at(self.now + self.delay_s + extra_s, lambda copy=copy: self._arrive(edge, copy))  # type: ignore[misc]

    def _arrive(self, edge: Edge, datagram: bytes) -> None:
        if edge.up:
            edge.receiver.datagram_received(datagram, self.now)
            self._after(edge)

    def _after(self, edge: Edge) -> None:
        for report in edge.drain(self.now):
            if self._random.random() >= self.report_loss:
                self.at(self.now + self.delay_s, lambda report=report: self._report(edge, report))  # type: ignore[misc]

    def _report(self, edge: Edge, report: RepairNeeded) -> None:
        if self.unicast is not None and self._watching[edge.name].asked(report.version, report.missing):
            for name, content in self.unicast.blobs.items():
                edge.store[name] = content
                edge.receiver.blob_available(name, self.now)
            edge.drain(self.now)
            return
        for toi, symbols in report.missing.items():
            self.sender.request_repair(toi, symbols, self.now, edge.name)
