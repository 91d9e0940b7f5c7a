"""One session at its sending end: version after version of a site, repair for all, and its unicast API.

Runs in an event loop; `delivery.edition` decides what is sent, `delivery.sender` when.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from delivery.announcement import FDT_INSTANCES
from delivery.coding import EpochKey
from delivery.edition import Edition, Packing, ReadBlob, carried_blobs, make_edition, outgoing
from delivery.errors import DeliveryError
from delivery.manifest import FileEntry, Manifest, ManifestError
from delivery.rollcall import Listener, Report, RollCall
from delivery.sender import DEFAULT_MTU_BYTES, Sender
from delivery.session_api import Offer, SessionApp
from delivery.sessions import Session
from delivery.stream import Stream

ANNOUNCE_INTERVAL_S = 1.0
"""How often the description of everything is sent while edges are incomplete and nothing else is sent."""
PATIENCE_S = 120.0
"""After so long without a new version or a report descriptions come more rarely, every `RARELY_S` seconds."""
RARELY_S = 30.0
_FDT_INSTANCES_RESERVED = 1 << 14
_FAREWELL_S = 0.1


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a session must remember so that nothing is ever numbered twice.

    The last version with the blobs that it brought (SHA-256 to size in bytes), and the first unused numbers.
    """

    version: int = 0
    next_toi: int = 1
    next_fdt_instance: int = 0
    blobs: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Numbers:
        """From what `dataclasses.asdict` gave. Raises ValueError, KeyError or TypeError for anything else."""
        numbers = (int(data["version"]), int(data["next_toi"]), int(data["next_fdt_instance"]))
        return cls(*numbers, dict(data["blobs"]))


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a session is sent, and for whom: `edges` by name or any `expect` of them are waited for.

    Rates count whole frames. With `by_blob` every file has bundles of its own, and with `spares` small ones
    go with a few repair symbols: for content that changes all the time. With `only_to_listeners` nothing is
    sent to the group while no edge has said that it listens.
    """

    rate_mbps: float = 100.0
    mtu_bytes: int = DEFAULT_MTU_BYTES
    overhead_percent: float = 0.0
    carousel_mbps: float = 0.0
    by_blob: bool = False
    spares: bool = False
    only_to_listeners: bool = False
    edges: tuple[str, ...] = ()
    expect: int = 0


@dataclass(frozen=True)
class Draft:
    """A version that is ready to be sent: what `Publication.draft` makes and `Publication.send` takes."""

    edition: Edition
    signed: bytes
    read: ReadBlob
    sizes: Mapping[str, int]
    packing: Packing


OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Told what happens, and facts: `published`, `report`, `listener`, `edge-complete`, `repair-answered` or
`problem`."""


def _nothing(_name: str, _facts: Mapping[str, Any]) -> None:
    pass


class Publication:
    """Make it in the event loop. It owns the socket it is given (`delivery.stream.open_group`).

    `sign` gives a manifest's signed bytes. `remember` is called with the numbers before anything that uses
    them is sent, and what it raises leaves the method that was called. `base` is the path of its unicast API.
    """

    def __init__(
        self,
        site: str,
        tsi: int,
        sock: socket.socket,
        sign: Callable[[Manifest], bytes],
        numbers: Numbers,
        remember: Callable[[Numbers], None],
        *,
        options: StreamOptions | None = None,
        base: str = "",
        on_event: OnEvent = _nothing,
    ) -> None:
        self.site, self.tsi = site, tsi
        self.options = options or StreamOptions()
        self.roll_call = RollCall(self.options.edges, self.options.expect)
        self.edition: Edition | None = None
        """The newest version; None until the first of this process."""
        self.numbers = numbers
        """As last remembered; its next FDT instance is the end of those reserved."""
        self.epoch_key: EpochKey | None = None
        """What new bundles and manifests are sealed with; set it before `publish`."""
        self._sign, self._remember, self._on_event = sign, remember, on_event
        self._loop = asyncio.get_running_loop()
        self._sender = Sender(
            tsi,
            rate_mbps=self.options.rate_mbps,
            mtu_bytes=self.options.mtu_bytes,
            overhead_percent=self.options.overhead_percent,
            carousel_mbps=self.options.carousel_mbps,
            unix_offset_s=time.time() - self._loop.time(),
            first_fdt_instance=numbers.next_fdt_instance,
        )
        for edge in self.options.edges:
            self._sender.hear(edge)
        self._stream = Stream(self._sender, sock, self._fail, self._polled)
        self._app = SessionApp(self._take_report, base=base, on_listener=self._take_listener)
        self._timer: asyncio.TimerHandle | None = None
        self._listening_until: dict[str, float] = {}
        self._active_at = self._loop.time()
        self._rounds_told = 0
        self._objects = 0
        self._symbols = 0

    @property
    def app(self) -> SessionApp:
        """The ASGI application of its part of the unicast API."""
        return self._app

    def publish(
        self,
        files: tuple[FileEntry, ...],
        read: ReadBlob,
        sizes: Mapping[str, int],
        *,
        sessions: Sequence[Session] = (),
        keys: Sequence[str] = (),
    ) -> Edition:
        """Make the next version and send it. `sizes` are those of the blobs that unicast may fetch.

        Raises DeliveryError when `read` does or the manifest is not sound.
        """
        return self.send(self.draft(files, read, sizes, sessions=sessions, keys=keys))

    def draft(
        self,
        files: tuple[FileEntry, ...],
        read: ReadBlob,
        sizes: Mapping[str, int],
        *,
        sessions: Sequence[Session] = (),
        keys: Sequence[str] = (),
    ) -> Draft:
        """The first half of `publish`: reads and codes everything that is new, so let another thread do it
        when that is much. One draft at a time, and each is to be sent before the next is made."""
        packing = Packing(
            self.tsi, self.epoch_key, self.options.by_blob, self.options.spares, self.options.mtu_bytes
        )
        manifest = Manifest(self.site, self.numbers.version + 1, files, (), tuple(sessions), tuple(keys))
        edition = make_edition(
            manifest,
            read,
            packing,
            first_toi=self.numbers.next_toi,
            known=self.numbers.blobs,
            before=self.edition.manifest.bundles if self.edition else (),
        )
        try:
            signed = self._sign(edition.manifest)
        except ManifestError as error:
            raise DeliveryError(str(error)) from None
        return Draft(edition, signed, read, sizes, packing)

    def send(self, draft: Draft) -> Edition:
        """The second half of `publish`."""
        edition = draft.edition
        manifest = edition.manifest
        sent = {sha256: manifest.blobs[sha256] for sha256 in _sent_blobs(manifest)}
        self._set_numbers(
            replace(self.numbers, version=manifest.version, next_toi=edition.next_toi, blobs=sent),
            len(manifest.bundles) + 1,
        )
        now = self._loop.time()
        # Content that changes all the time may have changed since an edge read the manifest.
        before = replace(self._app.offer, before=None) if self._app.offer and self.options.by_blob else None
        self._app.offer = Offer(draft.signed, draft.sizes, draft.read, before)
        self.edition = edition
        self.roll_call.begin(manifest.version, now)
        self._sender.retain(edition.kept)
        objects = outgoing(edition, draft.signed, self._read, draft.packing)
        if not self.listeners and self.options.only_to_listeners:
            objects = [replace(each, on_demand=True) for each in objects]
        self._sender.publish(objects, now)
        self._objects += sum(not each.on_demand for each in objects)
        self._symbols = sum(draft.packing.symbols(bundle.transfer_length) for bundle in manifest.bundles)
        self._active_at = now
        self._stream.wake()
        self._beacon()
        facts = {"version": manifest.version, "files": len(manifest.files), "bundles": len(edition.fresh)}
        self._on_event("published", {**facts, "new_bytes": edition.content_bytes})
        return edition

    def announce(self) -> None:
        """Send the description of everything again, unless something is being sent anyway."""
        if self._sender.idle and self._reserve():
            self._sender.announce(self._loop.time())
            self._stream.wake()

    @property
    def listeners(self) -> tuple[str, ...]:
        """The edges that have said that they listen."""
        now = self._loop.time()
        return tuple(edge for edge, until in self._listening_until.items() if until > now)

    @property
    def idle(self) -> bool:
        """Whether everything has gone out, and every repair that was asked for."""
        return self._sender.idle

    def status(self) -> dict[str, Any]:
        """Plain data: `site`, `tsi`, `version`, `files`, `bytes`, `bundles`, `symbols` (of all), `epoch`,
        `rate_mbps`, `idle`, the sender's counters, `send_errors`, `objects` sent, `unicast_objects` and
        `unicast_bytes` fetched, `listeners`, and `edges` (see `RollCall.status`)."""
        manifest = self.edition.manifest if self.edition else None
        return {
            "site": self.site,
            "tsi": self.tsi,
            "version": manifest.version if manifest else 0,
            "files": len(manifest.files) if manifest else 0,
            "bytes": sum(entry.size for entry in manifest.files) if manifest else 0,
            "bundles": len(manifest.bundles) if manifest else 0,
            "symbols": self._symbols,
            "epoch": self.epoch_key.epoch if self.epoch_key else 0,
            "rate_mbps": self.options.rate_mbps,
            "idle": self.idle,
            **asdict(self._sender.counters),
            "send_errors": self._stream.send_errors,
            "objects": self._objects,
            "unicast_objects": self._app.unicast_objects,
            "unicast_bytes": self._app.unicast_bytes,
            "listeners": list(self.listeners),
            "edges": self.roll_call.status(self._loop.time()),
        }

    async def close(self) -> None:
        """Say that the session ends, close the socket, remember the numbers used."""
        if self._timer is not None:
            self._timer.cancel()
        self._sender.close()
        self._stream.wake()
        deadline = self._loop.time() + _FAREWELL_S
        while not self._sender.idle and self._loop.time() < deadline:
            await asyncio.sleep(_FAREWELL_S / 10)
        self.abandon()
        self.numbers = replace(self.numbers, next_fdt_instance=self._sender.next_fdt_instance)
        self._remember(self.numbers)

    def abandon(self) -> None:
        """Close the socket and send nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._stream.close()

    def _read(self, sha256: str, offset: int, length: int) -> bytes:
        """Bundles outlive their version: what they carry is read from where it is now."""
        if self._app.offer is None or sha256 not in self._app.offer.sizes:
            raise DeliveryError(f"blob {sha256} is not published any more")
        return self._app.offer.read(sha256, offset, length)

    def _take_report(self, report: Report) -> None:
        now = self._loop.time()
        self._active_at = now
        is_first = self.roll_call.note(report, now)
        self._sender.hear(report.edge)
        facts = {"edge": report.edge, "version": report.version}
        if not report.complete and self._reserve():
            for toi, symbols in report.missing.items():
                self._sender.request_repair(toi, symbols, now, report.edge)
            self._stream.wake()
        missing = sum(report.missing.values())
        self._on_event("report", {**facts, "complete": report.complete, "missing_symbols": missing})
        if is_first:
            completed_s = round(self.roll_call.completed_s[report.edge], 6)
            self._on_event("edge-complete", {**facts, "completed_s": completed_s})
        self._beacon()

    def _take_listener(self, listener: Listener) -> None:
        if listener.listening_s:
            self._listening_until[listener.edge] = self._loop.time() + listener.listening_s
        else:
            self._listening_until.pop(listener.edge, None)
        facts = {"edge": listener.edge, "listening_s": listener.listening_s}
        self._on_event("listener", {**facts, "listeners": len(self.listeners)})

    def _beacon(self) -> None:
        """Have descriptions repeated as long as an edge is behind: it may have been away. What goes only to
        listeners changes all the time anyway."""
        if self.options.only_to_listeners:
            return
        if self._timer is None and self.roll_call.version and (self.roll_call.behind or self._is_short):
            is_patient = self._loop.time() - self._active_at < PATIENCE_S
            self._timer = self._loop.call_later(
                ANNOUNCE_INTERVAL_S if is_patient else RARELY_S, self._on_beacon
            )

    @property
    def _is_short(self) -> bool:
        return not self.roll_call.is_complete

    def _on_beacon(self) -> None:
        self._timer = None
        if self.roll_call.behind or self._is_short:
            self.announce()
        self._beacon()

    def _polled(self) -> None:
        rounds = self._sender.counters.repair_rounds
        if rounds > self._rounds_told:
            self._rounds_told = rounds
            self._on_event("repair-answered", {"repair_rounds": rounds})

    def _fail(self, problem: Exception) -> None:
        self._on_event("problem", {"problem": str(problem)})

    def _reserve(self) -> bool:
        """Whether there are numbers for descriptions, which are renewed while nothing is published."""
        bundles = len(self.edition.manifest.bundles) if self.edition else 0
        try:
            self._set_numbers(self.numbers, bundles + 1)
        except DeliveryError as error:
            self._fail(error)
            return False
        return True

    def _set_numbers(self, numbers: Numbers, descriptions: int) -> None:
        """Remember `numbers`, with FDT instances reserved for so many `descriptions` twice over."""
        wanted = 2 * descriptions
        following = self._sender.next_fdt_instance
        left = (numbers.next_fdt_instance - following) % FDT_INSTANCES
        if left < wanted:
            end = (following + max(wanted, _FDT_INSTANCES_RESERVED)) % FDT_INSTANCES
            numbers = replace(numbers, next_fdt_instance=end)
        if numbers != self.numbers:
            self._remember(numbers)
            self.numbers = numbers


def _sent_blobs(manifest: Manifest) -> list[str]:
    """The blobs that the session's own stream brings to every edge."""
    return [sha256 for sha256, region in carried_blobs(manifest.files).items() if not region]
