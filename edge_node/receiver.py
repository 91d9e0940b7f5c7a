"""Reception of one session: the group's socket and `delivery.receiver`'s machine, joined to store and origin.

The machine decides; this shell feeds it datagrams and the time, keeps one timer, and carries out its events.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from delivery.datagrams import BATCH, Inbox
from delivery.events import (
    BlobReceived,
    Event,
    KeyNeeded,
    ManifestReceived,
    PieceReceived,
    Rejected,
    RepairNeeded,
)
from delivery.manifest import Manifest, class_of
from delivery.receiver import Receiver
from delivery.sessions import Session
from delivery.signing import Verifier
from edge_node.blobs import StoreError
from edge_node.catch_up import RepairWatch, fetch_manifest, fetch_missing, is_hopeless
from edge_node.epoch_keys import EpochKeys
from edge_node.journal import Journal
from edge_node.origin_client import OriginError
from edge_node.reports import Reporter, back_off_s
from edge_node.writer import Job, NewBlob, NewManifest, NewPiece, Writer

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
_TOI, _FDT_TOI = slice(10, 12), b"\0\0"
"""Where our sender's LCT headers have the TOI (RFC 5651, 16 bits each for TSI and TOI)."""


@dataclass(frozen=True)
class Surroundings:
    """What all receptions of an edge share. `keys` are epoch keys; without them nothing sealed is read."""

    edge: str
    writer: Writer
    journal: Journal
    seed: int
    keys: EpochKeys | None = None


@dataclass(slots=True)
class Tally:
    """What a reception has come to, for status and metrics."""

    datagrams: int = 0
    bytes: int = 0
    blobs_by_multicast: int = 0
    blobs_by_unicast: int = 0
    repair_requests: int = 0
    symbols_asked_for: int = 0
    times_away: int = 0


class Reception:
    """Receives a session from what `join` gives (see `edge_node.multicast.join`) into the writer's store.

    `verifier` tells whose manifests are believed. With `only_new` content that is there when it begins is
    left to be fetched when somebody asks for it: for channels. `accepted` is told of every manifest that is
    news.
    """

    def __init__(
        self,
        session: Session,
        join: Callable[[], socket.socket],
        verifier: Verifier,
        surroundings: Surroundings,
        reporter: Reporter | None,
        *,
        only_new: bool = False,
        accepted: Callable[[Manifest], None] = lambda _manifest: None,
    ) -> None:
        self.session, self.tally = session, Tally()
        self._join, self._verifier, self._reporter = join, verifier, reporter
        self._writer, self._journal = surroundings.writer, surroundings.journal
        self._keys, self._only_new, self._accepted = surroundings.keys, only_new, accepted
        self._site = self._writer.store.site(session.prefix)
        who = f"{surroundings.edge} {surroundings.seed} {session.name}"
        self._random = random.Random(f"catch-up {who}")
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._inbox: Inbox | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._symbols_heard = 0
        """Datagrams with content: descriptions are repeated for those who are behind."""
        self._watch = RepairWatch()
        self._accepted_version = self._site.version
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._machine = Receiver(
            session.tsi,
            verifier,
            self._is_here,
            seed=random.Random(f"receiver {who}").getrandbits(64),
            fixed_back_off_s=FIXED_BACK_OFF_S,
            random_back_off_s=RANDOM_BACK_OFF_S,
            reception_timeout_s=RECEPTION_TIMEOUT_S,
            current_version=self._site.version,
            unix_offset_s=time.time() - self._loop.time(),
            has_piece=self._writer.has_piece,
            epoch_keys=self._keys,
            region=session.region,
        )

    def start(self) -> None:
        """Listen, and find out what was missed while the edge was away."""
        self.listen()
        self._run("start", self._begin)

    def listen(self) -> None:
        """Join the group. Raises MulticastError."""
        if self._listener is None:
            self._listener = self._join()
            self._inbox = Inbox(self._listener)
            self._loop.add_reader(self._listener.fileno(), self._readable)

    async def catch_manifest(self) -> bool:
        """Ask for the newest manifest by unicast; whether it was news. Raises OriginError, StoreError."""
        if not await fetch_manifest(self.session.url, self._writer, self._verifier, self.session.prefix):
            return False
        if self._only_new and self._site.manifest is not None:
            self._site.excuse(self._site.manifest.blobs)
        self._told(self._site.manifest)
        return True

    def tell_machine(self) -> None:
        """Hand the stored manifest to the machine, which then asks the group for what is missing."""
        signed = self._site.signed_manifest
        if signed is not None:
            self._accepted_version = max(self._accepted_version, self._site.version)
            self._machine.manifest_available(signed, self._loop.time())
            self._pump()

    def mend(self) -> None:
        """Something that was here is not any more: fetch it again."""
        self._catch_up()

    async def close(self) -> None:
        """Leave the group and give up what is under way."""
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_here(self, sha256: str) -> bool:
        return self._writer.has(sha256) or self._site.is_excused(sha256)

    def _missing(self) -> list[str]:
        """What this stream has yet to bring."""
        manifest = self._site.manifest
        if manifest is None:
            return []
        wanted = class_of(self.session.region)
        own = {entry.sha256 for entry in manifest.files if entry.delivery == wanted}
        return [sha256 for sha256 in self._site.missing() if sha256 in own]

    def _stop_listening(self) -> None:
        listener, self._listener, self._inbox = self._listener, None, None
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if listener is not None:
            self._loop.remove_reader(listener.fileno())
            listener.close()

    async def _begin(self) -> None:
        """Learn the newest version; where content is missing and the group is silent, fetch it by unicast."""
        if self.session.url:
            try:
                await self.catch_manifest()
            except (OriginError, StoreError) as error:
                self._journal.write("no_catch_up", reason=str(error))
            else:
                self.tell_machine()
                if self._missing():
                    before = self._symbols_heard
                    await asyncio.sleep(QUIET_S)
                    if self._symbols_heard == before:
                        self._catch_up()
                return
        self.tell_machine()

    def _readable(self) -> None:
        """Let a few milliseconds of datagrams gather: each wake-up costs more than many datagrams."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._gathering = self._loop.call_later(GATHER_S, self._take)

    def _take(self) -> None:
        self._gathering = None
        for _ in range(MAX_BATCHES):
            if self._inbox is None:
                return
            datagrams = self._inbox.receive()
            self.tally.datagrams += len(datagrams)
            now = self._loop.time()
            for datagram in datagrams:
                self.tally.bytes += len(datagram)
                self._symbols_heard += datagram[_TOI] != _FDT_TOI
                self._machine.datagram_received(datagram, now)
            if len(datagrams) < BATCH:
                break
        if self._listener is not None:
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
                    self._store(NewManifest(manifest, signed, self.session.prefix))
                    self._told(manifest)
            case BlobReceived(sha256, content):
                self.tally.blobs_by_multicast += 1
                self._store(NewBlob(sha256, content))
            case PieceReceived(sha256, size, offset, content):
                self._store(NewPiece(sha256, size, offset, content))
            case RepairNeeded(version, missing, of):
                self._repair(version, missing, of)
            case KeyNeeded():
                self._run("keys", self._fetch_keys)
            case Rejected(reason):
                self._journal.reject(reason)

    def _told(self, manifest: Manifest | None) -> None:
        if manifest is not None:
            self._accepted(manifest)

    def _repair(self, version: int, missing: Mapping[int, int], of: Mapping[int, int]) -> None:
        if "catch-up" in self._tasks or "start" in self._tasks:
            return  # all of it is coming by unicast, or may have to
        self.tally.repair_requests += 1
        self.tally.symbols_asked_for += sum(missing.values())
        missing_by_toi = {str(toi): symbols for toi, symbols in missing.items()}
        self._journal.write("repair", session=self.session.name, version=version, missing=missing_by_toi)
        if self.session.url and is_hopeless(missing, of):
            self._step_aside()
            return
        if self._reporter is not None:
            self._reporter.report(version, complete=False, missing=missing)
        if self._watch.asked(version, missing):
            self._catch_up()

    def _step_aside(self) -> None:
        """The link is too slow for the session, and what does come through only keeps unicast from coming:
        leave the group until everything has been fetched."""
        if "catch-up" not in self._tasks:
            self.tally.times_away += 1
            self._journal.write("away", session=self.session.name)
            self._stop_listening()
            self._catch_up()

    def _store(self, job: Job) -> None:
        """Store without waiting; what finds no room is fetched later, when there is."""

        def stored(future: asyncio.Future[None]) -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                self._catch_up(str(error))

        self._writer.submit(job).add_done_callback(stored)

    def _catch_up(self, problem: str = "") -> None:
        if "catch-up" in self._tasks:
            return
        if problem:
            self._journal.problem(problem)
        if self.session.url:
            self._run("catch-up", lambda: self._fetch_rest(problem))

    async def _fetch_rest(self, problem: str) -> None:
        """Fetch the newest manifest, then what is missing of it, ever more patiently until all is here."""
        waits = back_off_s(self._random, first_s=1.0, most_s=60.0)
        asked = False
        while not asked or self._missing():
            if problem:
                await asyncio.sleep(next(waits))
            try:
                if not asked:
                    await self.catch_manifest()
                    asked = True
                fetched = await fetch_missing(
                    self.session.url, self._writer, self.session.prefix, self._missing()
                )
            except (OriginError, StoreError) as error:
                if str(error) != problem:
                    problem = str(error)
                    self._journal.problem(f"{problem}; trying again")
                continue
            if not fetched:
                await self._writer.drained()  # the group has brought the rest; it is being written
                continue
            self.tally.blobs_by_unicast += len(fetched)
            self._journal.write("fetched", session=self.session.name, blobs=len(fetched))
            for sha256 in fetched:
                self._machine.blob_available(sha256, self._loop.time())
        self.listen()
        self.tell_machine()

    async def _fetch_keys(self) -> None:
        if self._keys is None:
            self._journal.problem("the stream is sealed, and this edge has no --member-key")
            return
        try:
            await self._keys.fetch()
        except OriginError as error:
            self._journal.problem(str(error))
            return
        self._machine.keys_available(self._loop.time())
        self._pump()

    def _run(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """One task of each name at a time."""
        if name not in self._tasks:
            task = self._loop.create_task(work())
            self._tasks[name] = task
            task.add_done_callback(lambda _task: self._tasks.pop(name, None))
