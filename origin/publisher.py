"""Publishing a folder: one multicast transmission, repair for all, until every expected edge is complete."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from delivery.rollcall import RollCall
from origin.catalogue import Catalogue, read_catalogue
from origin.errors import OriginError
from origin.options import PublishOptions
from origin.rules import load_rules
from origin.service import SITE_SESSION, Service


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
    repair_rounds: int
    seconds: float
    complete: bool
    edges: dict[str, float]
    missing: tuple[str, ...]
    channels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data; `edges` maps names to completion times in seconds."""
        return asdict(self)


class Publisher:
    """One run of `publish`. Make it in the event loop, then `prepare`, `run`, `stay` if wanted, `close`."""

    def __init__(self, options: PublishOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._done = asyncio.Event()
        self._problem = ""
        self.on_warning: Callable[[str], None] = lambda _: None

    def prepare(self) -> Catalogue:
        """Open the sockets, read the folder, sign the manifest. Raises DeliveryError and KeyFileError."""
        options = self._options
        self._service = Service(options, self._note)
        try:
            rules = load_rules(options.rules) if options.rules else ()
            self.catalogue = read_catalogue(options.folder, rules, unix_s=time.time())
            self._draft = self._service.draft(self.catalogue)
        except BaseException:
            self._service.abandon()
            raise
        return self.catalogue

    @property
    def service(self) -> Service:
        """What runs; there once `prepare` has succeeded."""
        return self._service

    async def run(self) -> PublishSummary:
        """Send, repair and wait for the edges, at most for the timeout. Raises DeliveryError."""
        self._service.start()
        self._began_at = self._loop.time()
        self._service.send(self._draft)
        if self._roll_call.is_complete:
            self._done.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.timeout_s):
                await self._done.wait()
        self._check()
        return self._summary()

    async def stay(self) -> None:
        """Go on serving and repairing until `stop` is called. Raises OriginError."""
        await self._stop.wait()
        self._check()

    def stop(self) -> None:
        """End `run` or `stay` (from a signal handler)."""
        self._done.set()
        self._stop.set()

    async def close(self) -> None:
        """Close everything and remember the numbers used."""
        self.stop()
        await self._service.close()

    @property
    def shortfall(self) -> str:
        """Which edges did not complete, in words."""
        return self._roll_call.shortfall()

    @property
    def _roll_call(self) -> RollCall:
        return self._service.site.roll_call

    def _check(self) -> None:
        if self._problem:
            raise OriginError(self._problem)

    def _note(self, session: str, event: str, facts: Mapping[str, Any]) -> None:
        if event == "problem":
            if session == SITE_SESSION:
                self._problem = facts["problem"]
                self.stop()
            else:
                self.on_warning(f"{session}: {facts['problem']}")
        elif event == "report" and session == SITE_SESSION and self._roll_call.is_complete:
            self._done.set()

    def _summary(self) -> PublishSummary:
        status = self._service.site.status()
        completed = self._roll_call.completed_s
        elapsed_s = self._loop.time() - self._began_at
        edition = self._draft.edition
        return PublishSummary(
            site=self._options.site,
            version=edition.manifest.version,
            files=len(self.catalogue.files),
            bytes=self.catalogue.total_bytes,
            bundles=len(edition.fresh),
            new_bytes=edition.content_bytes,
            datagrams=status["datagrams"],
            wire_bytes=status["wire_bytes"],
            source_symbols=status["source_symbols"],
            repair_symbols=status["repair_symbols"],
            repair_rounds=status["repair_rounds"],
            seconds=round(max(completed.values(), default=elapsed_s), 6),
            complete=self._roll_call.is_complete,
            edges={name: round(seconds, 6) for name, seconds in completed.items()},
            missing=self._roll_call.missing,
            channels=tuple(channel.session.name for channel in self._service.channels),
        )
