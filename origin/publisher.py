"""Publishing a folder: one multicast transmission, repair for all, until every expected edge is complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from delivery.asgi import listen, serve
from delivery.keys import load_private_key
from delivery.manifest import ManifestError
from delivery.sender import HEADERS_BYTES, Sender
from delivery.signing import sign_manifest
from origin.catalogue import Catalogue, read_catalogue
from origin.edition import make_edition, outgoing
from origin.errors import OriginError
from origin.rollcall import Report, RollCall
from origin.server import OriginApp
from origin.state import OriginState, load_state, save_state
from origin.stream import Stream, open_group

TSI = 1
ANNOUNCE_INTERVAL_S = 1.0
"""How often the description of everything is sent while edges are incomplete and nothing else is sent."""
_FDT_INSTANCES_RESERVED = 1 << 14


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """The command line of `python -m origin publish`."""

    folder: Path
    source: str
    interface: str
    key: Path
    state: Path
    site: str
    group: str
    port: int
    http_port: int
    rate_mbps: float
    edges: tuple[str, ...]
    expect: int
    timeout_s: float
    overhead_percent: float
    mtu_bytes: int = 1500


@dataclass(frozen=True)
class PublishSummary:
    """What a publication came to. `wire_bytes` are Ethernet frames sent, `seconds` until the last edge."""

    site: str
    version: int
    files: int
    bytes: int
    bundles: int
    new_bytes: int
    datagrams: int
    wire_bytes: int
    source_symbols: int
    repair_symbols: int
    seconds: float
    complete: bool
    edges: dict[str, float]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data; `edges` maps names to completion times in seconds."""
        return asdict(self)


class Publisher:
    """One run of `publish`. Make it in the event loop, then `prepare`, `run`, and `serve_on` to stay."""

    def __init__(self, options: PublishOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._done = asyncio.Event()
        self._problem: Exception | None = None
        self._began_at = 0.0
        self.on_progress: Callable[[RollCall], None] = lambda _: None

    def prepare(self) -> Catalogue:
        """Read the folder, sign the manifest and open the sockets. Raises OriginError."""
        options = self._options
        key = load_private_key(options.key)
        self.catalogue = read_catalogue(options.folder)
        state = load_state(options.state)
        self._edition = make_edition(
            options.site,
            state.version + 1,
            self.catalogue.files,
            self.catalogue.read,
            first_toi=state.next_toi,
            known=state.blobs,
        )
        try:
            self._signed = sign_manifest(self._edition.manifest, key)
        except ManifestError as error:
            raise OriginError(f"{options.folder}: {error}") from None
        self._roll_call = RollCall(self._edition.manifest.version, options.edges, options.expect)
        try:
            self._listener = listen(options.source, options.http_port)
        except OSError as error:
            raise OriginError(
                f"cannot listen on [{options.source}]:{options.http_port}: {error.strerror}; "
                "check --source and --http-port"
            ) from None
        self._socket = open_group(options.source, options.interface, options.group, options.port)
        # Written before anything is sent: after a crash no number is used twice.
        self._state = OriginState(
            self._edition.manifest.version,
            self._edition.next_toi,
            state.next_fdt_instance + _FDT_INSTANCES_RESERVED,
            self.catalogue.sizes,
        )
        save_state(options.state, self._state)
        self._sender = Sender(
            TSI,
            rate_mbps=options.rate_mbps,
            overhead_percent=options.overhead_percent,
            unix_offset_s=time.time() - self._loop.time(),
            first_fdt_instance=state.next_fdt_instance,
            symbol_bytes=options.mtu_bytes - HEADERS_BYTES,
        )
        return self.catalogue

    async def run(self) -> PublishSummary:
        """Send, repair and wait for the edges, at most for the timeout. Raises OriginError."""
        app = OriginApp(self._signed, self.catalogue, self._take_report)
        self._stream = Stream(self._sender, self._socket, self._fail)
        self._server = asyncio.create_task(serve(app, sockets=[self._listener], stop=self._stop))
        self._began_at = self._loop.time()
        objects = outgoing(
            self._edition, self._signed, self.catalogue.read, self._options.mtu_bytes - HEADERS_BYTES
        )
        self._sender.publish(objects, self._began_at)
        self._stream.wake()
        announcing = asyncio.create_task(self._announce())
        if self._roll_call.is_complete:
            self._done.set()
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._done.wait()
        except TimeoutError:
            pass
        finally:
            announcing.cancel()
        if self._problem is not None:
            raise OriginError(str(self._problem))
        return self._summary()

    async def stay(self) -> None:
        """Go on serving and repairing until `stop` is called."""
        await self._stop.wait()
        if self._problem is not None:
            raise OriginError(str(self._problem))

    def stop(self) -> None:
        """End `run` or `stay` (from a signal handler)."""
        self._done.set()
        self._stop.set()

    async def close(self) -> None:
        """Close everything and remember the numbers used."""
        self.stop()
        await self._server
        self._stream.close()
        save_state(
            self._options.state, replace(self._state, next_fdt_instance=self._sender.next_fdt_instance)
        )

    @property
    def shortfall(self) -> str:
        """Which edges did not complete, in words."""
        return self._roll_call.shortfall()

    def _take_report(self, report: Report) -> None:
        now = self._loop.time()
        self._roll_call.note(report, now - self._began_at)
        if not report.complete:
            for toi, symbols in report.missing.items():
                self._sender.request_repair(toi, symbols, now)
            self._stream.wake()
        self.on_progress(self._roll_call)
        if self._roll_call.is_complete:
            self._done.set()

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE_INTERVAL_S)
            if self._sender.idle:
                self._sender.announce(self._loop.time())
                self._stream.wake()

    def _fail(self, problem: Exception) -> None:
        self._problem = problem
        self.stop()

    def _summary(self) -> PublishSummary:
        counters = self._sender.counters
        completed = self._roll_call.completed_s
        elapsed_s = self._loop.time() - self._began_at
        return PublishSummary(
            site=self._options.site,
            version=self._edition.manifest.version,
            files=len(self.catalogue.files),
            bytes=self.catalogue.total_bytes,
            bundles=len(self._edition.manifest.bundles) - len(self._edition.on_demand),
            new_bytes=self._edition.content_bytes,
            datagrams=counters.datagrams,
            wire_bytes=counters.wire_bytes,
            source_symbols=counters.source_symbols,
            repair_symbols=counters.repair_symbols,
            seconds=round(max(completed.values(), default=elapsed_s), 6),
            complete=self._roll_call.is_complete,
            edges={name: round(seconds, 6) for name, seconds in completed.items()},
            missing=self._roll_call.missing,
        )
