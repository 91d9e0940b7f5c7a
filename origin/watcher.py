"""Watching a folder: a new version whenever it has changed, something expires, or the settings change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from delivery.edition import Edition
from delivery.errors import DeliveryError
from delivery.keys import KeyFileError
from origin.catalogue import Catalogue, Signature, read_catalogue, read_signatures, signature
from origin.options import PublishOptions
from origin.rules import Rule, load_rules
from origin.service import Service
from origin.signer import Stage

T = TypeVar("T")


class Settling(Generic[T]):
    """Says when something that is looked at again and again has changed and then stayed the same. Pure."""

    def __init__(self) -> None:
        self._last: T | None = None
        self._taken: T | None = None

    def offer(self, current: T) -> bool:
        """Whether `current` is what was seen the last time, but not what was taken."""
        is_settled = current == self._last and current != self._taken
        self._last = current
        return is_settled

    def take(self) -> None:
        """What was seen last is dealt with."""
        self._taken = self._last


class Watcher:
    """One run of `watch`. Make it in the event loop, then `open`, `run`, `close`.

    Problems while it runs are told to `on_warning`, once each; it goes on with what it has.
    """

    def __init__(self, options: PublishOptions) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._settling: Settling[Mapping[str, Signature]] = Settling()
        self._settings: Mapping[Path, Signature | None] = {}
        self._rules: tuple[Rule, ...] = ()
        self._catalogue: Catalogue | None = None
        self._published: tuple[object, ...] = ()
        self._told = ""
        self.on_version: Callable[[Edition], None] = lambda _: None
        self.on_warning: Callable[[str], None] = lambda _: None

    def open(self) -> None:
        """Open the sockets and read the settings. Raises DeliveryError and KeyFileError."""
        options = self._options
        self._rules = load_rules(options.rules) if options.rules else ()
        read_signatures(options.folder)
        self.service = Service(options, self._note)
        self._settings = self._settings_now()

    async def run(self) -> None:
        """Publish until `stop` is called."""
        self.service.start()
        while not self._stop.is_set():
            try:
                await self._look()
            except (DeliveryError, KeyFileError) as error:
                self._warn(str(error))
            try:
                async with asyncio.timeout(self._options.interval_s):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End `run` (from a signal handler)."""
        self._stop.set()

    async def close(self) -> None:
        """Close everything and remember the numbers used."""
        await self.service.close()

    async def _look(self) -> None:
        """Look once, and publish when there is something new. Raises DeliveryError, KeyFileError."""
        self._refresh_settings()
        signatures = await asyncio.to_thread(read_signatures, self._options.folder)
        is_settled = self._settling.offer(signatures)
        if not is_settled and not (self._published and self._is_due()):
            return
        now = time.time()
        self._catalogue = await asyncio.to_thread(
            read_catalogue,
            self._options.folder,
            self._rules,
            unix_s=now,
            before=self._catalogue,
            may_be_empty=True,
        )
        for warning in self._catalogue.warnings:
            self._warn(warning)
        await self._publish(self._catalogue)
        self._settling.take()
        self._told = ""

    async def _publish(self, catalogue: Catalogue) -> None:
        """Send a version, unless it would be the one before. Raises DeliveryError, KeyFileError."""
        service = self.service
        service.signer.refresh()
        site = service.site
        content = (catalogue.files, service.sessions, site.epoch_key)
        if content == self._published and not self._may_rotate():
            return
        draft = await asyncio.to_thread(service.draft, catalogue)
        service.send(draft)
        self._published = content
        self.on_version(draft.edition)

    def _is_due(self) -> bool:
        """Whether there is a new version in the folder as it is."""
        catalogue, service = self._catalogue, self.service
        expires_unix_s = catalogue.expires_unix_s if catalogue else 0
        service.signer.refresh()
        return (
            0 < expires_unix_s <= time.time()
            or self._published[1:] != (service.sessions, service.site.epoch_key)
            or self._may_rotate()
        )

    def _may_rotate(self) -> bool:
        """A key's rotation needs two versions. The second waits until every edge has the first."""
        stage = self.service.signer.stage
        roll_call = self.service.site.roll_call
        is_known = bool(roll_call.completed_s) and not roll_call.behind
        return stage is Stage.ASKED or (stage is Stage.NAMED and is_known)

    def _refresh_settings(self) -> None:
        """Read rules, members and peers again when their files have changed. Raises OriginError."""
        settings = self._settings_now()
        if settings == self._settings:
            return
        # Taken as read even when they are wrong, which is told; they are read again when they change again.
        self._settings = settings
        if self._options.rules:
            self._rules = load_rules(self._options.rules)
            self._settling = Settling()
        if self.service.members is not None and self.service.members.refresh():
            self.service.seal()
        self.service.refresh_peers()

    def _settings_now(self) -> dict[Path, Signature | None]:
        options = self._options
        files = (options.rules, options.members, *options.peers)
        return {path: _signature(path) for path in files if path is not None}

    def _note(self, session: str, event: str, facts: Mapping[str, Any]) -> None:
        if event == "problem":
            self._warn(f"{session}: {facts['problem']}")

    def _warn(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.on_warning(text)


def _signature(path: Path) -> Signature | None:
    try:
        return signature(path)
    except OSError:
        return None
