"""Content of one region: its head takes it from the origin by unicast, once, and sends it on to the others.

The stream stays in the region because its group is admin-local (ff34::/96, RFC 7346) and its source, the
head, lies within: no router lets it out. The site's manifest describes the bundles; the head makes the same
bytes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from delivery.announcement import BUNDLE_TYPE, FDT_INSTANCES
from delivery.bundles import read_bundle
from delivery.coding import EpochKey, code_bundle
from delivery.manifest import Bundle, FileEntry, Manifest, class_of
from delivery.rollcall import Report
from delivery.sender import Outgoing, Sender
from delivery.session_api import Offer, SessionApp
from delivery.sessions import Session
from delivery.stream import Stream, open_group
from edge_node.blobs import StoreError
from edge_node.journal import Journal
from edge_node.origin_client import OriginError
from edge_node.reports import back_off_s
from edge_node.store import Store

Fetch = Callable[[FileEntry], Awaitable[None]]


def region_session(manifest: Manifest | None, region: str) -> Session | None:
    """The session that carries a region's content, None when there is none."""
    sessions = manifest.sessions if manifest else ()
    return next((session for session in sessions if region and session.region == region), None)


class RegionHead:
    """The sending end of a region's stream, at the edge that the session names as its source."""

    def __init__(
        self,
        session: Session,
        interface: str,
        store: Store,
        fetch: Fetch,
        keys: Mapping[int, bytes],
        journal: Journal,
        *,
        rate_mbps: float,
        mtu_bytes: int,
    ) -> None:
        """`fetch` brings a file's content from the origin. Raises DeliveryError."""
        self.session = session
        self.app = SessionApp(self._take_report, base=f"/{session.name}")
        self._store, self._fetch, self._keys, self._journal = store, fetch, keys, journal
        self._loop = asyncio.get_running_loop()
        self._sender = Sender(
            session.tsi,
            rate_mbps=rate_mbps,
            mtu_bytes=mtu_bytes,
            unix_offset_s=time.time() - self._loop.time(),
            first_fdt_instance=int(time.time()) % FDT_INSTANCES,
        )
        sock = open_group(session.source, interface, session.group, session.port)
        self._stream = Stream(self._sender, sock, lambda error: journal.problem(str(error)))
        self._sent: set[int] = set()
        self._version = 0
        self._task: asyncio.Task[None] | None = None

    def take_up(self, manifest: Manifest, signed: bytes) -> None:
        """A version of the site is here: see to its content of the region, and send what is new of it."""
        if manifest.version > self._version:
            self._version = manifest.version
            if self._task is not None:
                self._task.cancel()
            self._task = self._loop.create_task(self._relay(manifest, signed))

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._stream.close()

    async def _relay(self, manifest: Manifest, signed: bytes) -> None:
        wanted = class_of(self.session.region)
        entries = [entry for entry in manifest.files if entry.delivery == wanted]
        waits = back_off_s(random.Random(self.session.source), first_s=1.0, most_s=60.0)
        for entry in entries:
            while not self._store.has(entry.sha256):
                try:
                    await self._fetch(entry)
                except (OriginError, StoreError) as error:
                    self._journal.problem(f"{error}; trying again")
                    await asyncio.sleep(next(waits))
        sizes = {entry.sha256: entry.size for entry in entries}
        self.app.offer = Offer(signed, sizes, self._store.read)
        bundles = [bundle for bundle in manifest.bundles if bundle.region == self.session.region]
        self._sender.retain({bundle.toi for bundle in bundles})
        new = [bundle for bundle in bundles if bundle.toi not in self._sent]
        self._sent |= {bundle.toi for bundle in new}
        if new:
            self._sender.publish([self._outgoing(bundle) for bundle in new], self._loop.time())
            self._stream.wake()
            self._journal.write("relayed", session=self.session.name, bundles=len(new))

    def _outgoing(self, bundle: Bundle) -> Outgoing:
        def load() -> bytes:
            content = read_bundle(bundle.pieces, self._store.read)
            key = EpochKey(bundle.epoch, self._keys[bundle.epoch]) if bundle.epoch else None
            return code_bundle(content, self.session.tsi, bundle.toi, key)[1]

        location = f"bundle/{bundle.toi}"
        return Outgoing(bundle.toi, location, BUNDLE_TYPE, bundle.transfer_length, load)

    def _take_report(self, report: Report) -> None:
        now = self._loop.time()
        self._sender.hear(report.edge)
        for toi, symbols in report.missing.items():
            self._sender.request_repair(toi, symbols, now, report.edge)
        self._stream.wake()
