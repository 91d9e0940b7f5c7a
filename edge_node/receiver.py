"""Multicast reception: the group's socket and `delivery.receiver`'s machine, joined to store and origin.

The machine decides; this shell feeds it datagrams and the time, keeps one timer, and carries out its events.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import TYPE_CHECKING

from delivery.datagrams import BATCH, Inbox
from delivery.events import BlobReceived, Event, ManifestReceived, Rejected, RepairNeeded
from delivery.receiver import Receiver
from edge_node.blobs import StoreError
from edge_node.catch_up import RepairWatch, fetch_manifest, fetch_missing
from edge_node.journal import Journal
from edge_node.origin_client import OriginError
from edge_node.reports import Reporter, back_off_s
from edge_node.writer import NewBlob, NewManifest, Writer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TSI = 1
GATHER_S = 0.004
MAX_BATCHES = 8
"""Batches taken at once before other work of the event loop has its turn."""
QUIET_S = 1.5
"""An edge that starts listens first: only when it hears nothing for so long does it fetch by unicast."""
FIXED_BACK_OFF_S = 0.05
RANDOM_BACK_OFF_S = 0.05
RECEPTION_TIMEOUT_S = 0.5
"""Repair parameters in the manner of ETSI TS 103 769 clause 10.2: when an object counts as interrupted,
and how long to wait before asking, so that one answer serves many."""


class Reception:
    """Receives a site from `listener` (see `edge_node.multicast.join`) into the writer's store."""

    def __init__(
        self,
        edge: str,
        listener: socket.socket,
        writer: Writer,
        public_key: Ed25519PublicKey,
        journal: Journal,
        origin_url: str | None,
        reporter: Reporter | None,
        *,
        seed: int,
    ) -> None:
        self._listener, self._writer, self._journal = listener, writer, journal
        self._origin_url, self._reporter, self._public_key = origin_url, reporter, public_key
        self._random = random.Random(f"catch-up {edge} {seed}")
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(listener)
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch = RepairWatch()
        self._heard = 0
        self._accepted_version = writer.store.version
        self._catching_up: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._machine = Receiver(
            TSI,
            public_key,
            writer.has,
            seed=random.Random(f"receiver {edge} {seed}").getrandbits(64),
            fixed_back_off_s=FIXED_BACK_OFF_S,
            random_back_off_s=RANDOM_BACK_OFF_S,
            reception_timeout_s=RECEPTION_TIMEOUT_S,
            current_version=writer.store.version,
            unix_offset_s=time.time() - self._loop.time(),
        )

    def start(self) -> None:
        """Listen, and find out what was missed while the edge was away."""
        self._loop.add_reader(self._listener.fileno(), self._readable)
        self._starting = self._loop.create_task(self._begin())

    async def close(self) -> None:
        """Leave the group and give up what is under way."""
        self._loop.remove_reader(self._listener.fileno())
        if self._gathering is not None:
            self._gathering.cancel()
        self._listener.close()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._starting, self._catching_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Learn the newest version; where content is missing and the group is silent, fetch it by unicast."""
        store = self._writer.store
        if self._origin_url is not None:
            try:
                await fetch_manifest(self._origin_url, self._writer, self._public_key)
            except (OriginError, StoreError) as error:
                self._journal.write("no_catch_up", reason=str(error))
            else:
                if store.missing():
                    before = self._heard
                    await asyncio.sleep(QUIET_S)
                    if self._heard == before:
                        self._catch_up()
                        return
        self._tell_machine()

    def _tell_machine(self) -> None:
        """Hand the stored manifest to the machine, which then asks the group for what is missing."""
        signed = self._writer.store.signed_manifest
        if signed is not None:
            self._accepted_version = max(self._accepted_version, self._writer.store.version)
            self._machine.manifest_available(signed, self._loop.time())
            self._pump()

    def _readable(self) -> None:
        """Let a few milliseconds of datagrams gather: each wake-up costs more than many datagrams."""
        self._loop.remove_reader(self._listener.fileno())
        self._gathering = self._loop.call_later(GATHER_S, self._take)

    def _take(self) -> None:
        for _ in range(MAX_BATCHES):
            datagrams = self._inbox.receive()
            self._heard += len(datagrams)
            now = self._loop.time()
            for datagram in datagrams:
                self._machine.datagram_received(datagram, now)
            if len(datagrams) < BATCH:
                break
        self._gathering = None
        self._loop.add_reader(self._listener.fileno(), self._readable)
        self._pump()

    def _timed_out(self) -> None:
        self._timer = None
        self._machine.handle_timeout(self._loop.time())
        self._pump()

    def _pump(self) -> None:
        for event in self._machine.events():
            self._handle(event)
        deadline = self._machine.next_deadline()
        if self._timer is not None and (deadline is None or self._timer.when() > deadline):
            self._timer.cancel()
            self._timer = None
        # A timer that is too early costs one wake-up, less than moving it with every datagram.
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._timed_out)

    def _handle(self, event: Event) -> None:
        match event:
            case ManifestReceived(manifest, signed):
                if manifest.version > self._accepted_version:
                    self._accepted_version = manifest.version
                    self._store(NewManifest(manifest, signed))
            case BlobReceived(sha256, content):
                self._store(NewBlob(sha256, content))
            case RepairNeeded(version, missing):
                missing_by_toi = {str(toi): symbols for toi, symbols in missing.items()}
                self._journal.write("repair", version=version, missing=missing_by_toi)
                if self._reporter is not None:
                    self._reporter.report(version, complete=False, missing=missing)
                if self._watch.asked(version, missing):
                    self._catch_up()
            case Rejected(reason):
                self._journal.rejected[reason] += 1

    def _store(self, job: NewBlob | NewManifest) -> None:
        """Store without waiting; what finds no room is fetched later, when there is."""

        def stored(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                self._catch_up(str(error))

        self._writer.submit(job).add_done_callback(stored)

    def _catch_up(self, problem: str = "") -> None:
        if self._catching_up is not None:
            return
        if problem:
            self._journal.problem(problem)
        if self._origin_url is not None:
            self._catching_up = self._loop.create_task(self._fetch_rest(self._origin_url, problem))

    async def _fetch_rest(self, url: str, problem: str) -> None:
        """Fetch the newest manifest, then what is missing of it, ever more patiently until all is here."""
        waits = back_off_s(self._random, first_s=1.0, most_s=60.0)
        asked = False
        try:
            while not asked or self._writer.store.missing():
                if problem:
                    await asyncio.sleep(next(waits))
                try:
                    if not asked:
                        await fetch_manifest(url, self._writer, self._public_key)
                        asked = True
                    fetched = await fetch_missing(url, self._writer)
                except (OriginError, StoreError) as error:
                    if str(error) != problem:
                        problem = str(error)
                        self._journal.problem(f"{problem}; trying again")
                    continue
                if not fetched:
                    await self._writer.drained()  # the group has brought the rest; it is being written
                    continue
                self._journal.write("fetched", blobs=len(fetched))
                for sha256 in fetched:
                    self._machine.blob_available(sha256, self._loop.time())
        finally:
            self._catching_up = None
        self._tell_machine()
