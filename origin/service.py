"""Everything that runs while the origin publishes: the site's session, the channels, the HTTP API."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from delivery.asgi import listen, serve
from delivery.publication import Draft, OnEvent, Publication, StreamOptions
from delivery.stream import open_group
from origin.api import OriginApi
from origin.catalogue import Catalogue
from origin.channels import POLL_S, number_channels, open_channel
from origin.errors import OriginError
from origin.event_log import EventLog
from origin.members import Members
from origin.options import PublishOptions
from origin.peers import check_all, load_peers
from origin.signer import Signer
from origin.state import load_state, save_state

TSI = 1
SITE_SESSION = "site"
"""What the site's own session is called in events and status."""


class Service:
    """Make it in the event loop: it opens the sockets and reads keys, state, members and peers.

    `on_event` is told what happens, as (session, event, facts). Raises DeliveryError and KeyFileError.
    """

    def __init__(
        self,
        options: PublishOptions,
        on_event: Callable[[str, str, Mapping[str, Any]], None] = lambda *_: None,
    ) -> None:
        self.options = options
        self._on_event = on_event
        self._stop = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._began_at = time.monotonic()
        self.signer = Signer(options.state, options.key)
        self._log = EventLog(options.json_log)
        with ExitStack() as undo:
            undo.callback(self._log.close)
            self._open(undo)
            self.refresh_peers()
            self.members = self._load_members()
            self._opened = undo.pop_all()
        self.seal()

    def _load_members(self) -> Members | None:
        options = self.options
        if not options.encrypt:
            return None
        if options.members is None:
            raise OriginError("--encrypt needs --members FILE, the edges that are to have the key")
        # No key may seal two objects with one number: a session that counts from the start needs a new one.
        is_new = any(publication.numbers.next_toi == 1 for publication in self._publications)
        return Members(options.state, options.members, new_epoch=options.new_epoch or is_new)

    @property
    def _publications(self) -> tuple[Publication, ...]:
        return (self.site, *(channel.publication for channel in self.channels))

    def _open(self, undo: ExitStack) -> None:
        options = self.options
        try:
            self._listener = listen(options.source, options.http_port)
        except OSError as error:
            raise OriginError(
                f"cannot listen on [{options.source}]:{options.http_port}: {error.strerror}; "
                "check --source and --http-port"
            ) from None
        undo.callback(self._listener.close)
        self.http_port: int = self._listener.getsockname()[1]
        self.site = self._open_site(undo)
        numbers = number_channels(options.state, [name for name, _ in options.channels])
        self.channels = tuple(
            open_channel(
                options,
                name,
                folder,
                numbers[name],
                self.http_port,
                self.signer,
                self._teller(f"live/{name}"),
                lambda sock: _later(undo, sock.close),
            )
            for name, folder in options.channels
        )

    def _open_site(self, undo: ExitStack) -> Publication:
        options = self.options
        sock: socket.socket = open_group(options.source, options.interface, options.group, options.port)
        undo.callback(sock.close)
        return Publication(
            options.site,
            TSI,
            sock,
            self.signer.sign,
            load_state(options.state),
            partial(save_state, options.state),
            options=StreamOptions(
                options.rate_mbps,
                options.mtu_bytes,
                options.overhead_percent,
                options.carousel_mbps,
                edges=options.edges,
                expect=options.expect,
            ),
            on_event=self._teller(SITE_SESSION),
        )

    def refresh_peers(self) -> None:
        """Read again which sessions of others the site's next version describes. Raises OriginError."""
        peers = load_peers(self.options.peers)
        self.sessions = check_all((*(channel.session for channel in self.channels), *peers))

    def seal(self) -> None:
        """Have everything that is new from now on sealed with the key of the members' epoch."""
        if self.members is not None:
            for publication in self._publications:
                publication.epoch_key = self.members.current

    def draft(self, catalogue: Catalogue) -> Draft:
        """The site's next version, ready to be sent; may run in another thread. Raises DeliveryError."""
        keys = self.signer.next_keys()
        return self.site.draft(
            catalogue.files, catalogue.read, catalogue.sizes, sessions=self.sessions, keys=keys
        )

    def send(self, draft: Draft) -> None:
        """Send the site's next version. Raises DeliveryError."""
        self.site.send(draft)
        self.signer.published()

    def start(self) -> None:
        """Serve the API and feed the channels."""
        apps = [channel.publication.app for channel in self.channels]
        api = OriginApi(self.site.app, apps, self.status, self.members)
        self._server = asyncio.create_task(serve(api, sockets=[self._listener], stop=self._stop))
        if self.channels:
            self._feeding = asyncio.create_task(self._feed_channels())

    def status(self) -> dict[str, Any]:
        """Plain data: `site`, `version`, `uptime_s`, `epoch`, `members`, `peers`, and `sessions`, each with
        its `name`, `group` and what `Publication.status` gives; the site's own comes first."""
        rows = [{"name": SITE_SESSION, "group": self.options.group, **self.site.status()}]
        rows += [
            {"name": channel.session.name, "group": channel.session.group, **channel.publication.status()}
            for channel in self.channels
        ]
        return {
            "site": self.options.site,
            "version": rows[0]["version"],
            "uptime_s": round(time.monotonic() - self._began_at, 3),
            "epoch": rows[0]["epoch"],
            "members": list(self.members.names) if self.members else [],
            "peers": [session.name for session in self.sessions[len(self.channels) :]],
            "sessions": rows,
        }

    async def close(self) -> None:
        """Close everything and remember the numbers used."""
        if self._feeding is not None:
            self._feeding.cancel()
        self._stop.set()
        if self._server is not None:
            await self._server
        for publication in reversed(self._publications):
            await publication.close()
        self._opened.close()

    def abandon(self) -> None:
        """Close what was opened, before `start`."""
        self._opened.close()

    async def _feed_channels(self) -> None:
        while True:
            for channel in self.channels:
                channel.poll(self._teller(channel.session.name))
            await asyncio.sleep(POLL_S)

    def _teller(self, session: str) -> OnEvent:
        def tell(event: str, facts: Mapping[str, Any]) -> None:
            self._log.write(session, event, facts)
            self._on_event(session, event, facts)

        return tell


def _later(undo: ExitStack, close: Callable[[], object]) -> None:
    undo.callback(close)
