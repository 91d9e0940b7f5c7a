"""An edge node: its web server, its sync API and its receptions in one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from delivery.keys import KeyRing
from delivery.sessions import LOCAL, Session
from edge_node.journal import Journal
from edge_node.progress import Progress
from edge_node.store import Store
from edge_node.trust import keep_keys, own_key
from edge_node.upload_limits import UploadLimits

if TYPE_CHECKING:
    from delivery.manifest import Manifest
    from edge_node.epoch_keys import EpochKeys
    from edge_node.health import Heart
    from edge_node.local import LocalContent
    from edge_node.receiver import Reception, Surroundings
    from edge_node.reports import Reporter
    from edge_node.subscriptions import Subscriptions

GATHER_S = 0.002
"""How long pushed content gathers between two reads."""
SITE_TSI = 1


@dataclass(frozen=True, slots=True)
class Group:
    """The source-specific group to receive: `source` sends to `group`, UDP `port`, heard on `interface`."""

    group: str
    source: str
    interface: str
    port: int


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Where local content goes when another edge wants it: to `group`, at `rate_mbps`, in packets of at most
    `mtu_bytes`."""

    group: str
    rate_mbps: float
    mtu_bytes: int
    limits: UploadLimits = field(default_factory=UploadLimits)


@dataclass(frozen=True, slots=True)
class Options:
    """What `python -m edge_node serve` was asked to do. Ports are TCP, 0 picks a free one; `capacity` is the
    number of requests at once that the edge is made for; `scrub_bytes_per_s` 0 scrubs nothing."""

    name: str
    address: str
    port: int
    sync_address: str | None
    sync_port: int
    group: Group | None
    origin_url: str | None
    seed: int
    heartbeat_interface: str | None = None
    capacity: int = 1000
    idle_s: float = 30.0
    local: LocalOptions | None = None
    keys: EpochKeys | None = None
    scrub_bytes_per_s: int = 0

    @property
    def site(self) -> Session:
        """The session of the site of all edges."""
        group = self.group or Group("", "", "", 0)
        return Session("", group.source, group.group, group.port, SITE_TSI, self.origin_url or "")

    @property
    def own_prefix(self) -> str:
        """Where the local content of this edge lies."""
        return f"{LOCAL}/{self.name}"


async def run(options: Options, store: Store, keys: KeyRing, journal: Journal) -> None:
    """Serve until SIGTERM or SIGINT, then finish open responses and queued writes.

    Raises OSError when an address cannot be bound, MulticastError when the group cannot be joined,
    DeliveryError when local content cannot be sent.
    """
    from edge_node.reports import Reporter

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reporter = None
    if options.origin_url is not None:
        reporter = Reporter(options.origin_url, options.name, options.seed, journal)
    node = _Node(options, store, keys, journal, reporter)
    try:
        await node.run(stop)
    finally:
        if reporter is not None:
            await reporter.close()
    journal.write("stopped", rejected=dict(sorted(journal.rejected.items())))


class _Node:
    """The parts of a running edge, put together."""

    def __init__(
        self, options: Options, store: Store, keys: KeyRing, journal: Journal, reporter: Reporter | None
    ) -> None:
        from edge_node.fetcher import Fetcher
        from edge_node.health import Load
        from edge_node.receiver import Surroundings
        from edge_node.status import Status
        from edge_node.supply import Supply
        from edge_node.writer import Writer

        self._options, self._store, self._keys, self._journal = options, store, keys, journal
        self._reporter = reporter
        self._progress = Progress(store, journal, reporter)
        self._writer = Writer(store, self._progress.settled)
        self._load = Load(options.capacity)
        self._surroundings: Surroundings = Surroundings(
            options.name, self._writer, journal, options.seed, options.keys
        )
        self._reception: Reception | None = None
        self._subscriptions: Subscriptions | None = None
        self._local = self._make_local()
        fetcher = supply = None
        if options.group is not None:
            self._reception = self._receive_site(options.group)
            self._subscriptions = self._make_subscriptions(options.group.interface)
        if self._subscriptions is not None and options.origin_url is not None:
            subscriptions, origin_url = self._subscriptions, options.origin_url
            fetcher = Fetcher(
                self._writer, lambda prefix: subscriptions.url_of(prefix) if prefix else origin_url
            )
            supply = Supply(store, subscriptions, fetcher, options.own_prefix)
        self._fetcher, self._supply = fetcher, supply
        receptions = (self._reception,) if self._reception else ()
        self._status = Status(
            options.name,
            store,
            self._load,
            journal,
            lambda: receptions,
            self._subscriptions,
            fetcher,
            self._local,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; then end everything in the order in which it depends on each other."""
        from delivery.asgi import Application, listen, serve
        from edge_node.app import EdgeApp
        from edge_node.sync import SyncApp

        options = self._options
        app = EdgeApp(options.name, self._store, self._load, self._supply, self._local)
        listener = listen(options.address, options.port)
        servers: list[tuple[Application, socket.socket, float]] = [(app, listener, 0.0)]
        addresses = {"address": options.address, "port": listener.getsockname()[1]}
        if options.sync_address is not None:
            listener = listen(options.sync_address, options.sync_port)
            local_app = self._local.publication.app if self._local else None
            sync = SyncApp(self._writer, self._keys, self._status.to_json, self._status.metrics, local_app)
            servers.append((sync, listener, GATHER_S))
            addresses |= {"sync_address": options.sync_address, "sync_port": listener.getsockname()[1]}
        starting = len(servers)

        def started() -> None:
            nonlocal starting
            starting -= 1
            if not starting:
                self._journal.write("ready", **addresses)
                if heart is not None:
                    heart.start()

        heart = self._make_heart()
        async with asyncio.TaskGroup() as group:
            for application, listener, gather_s in servers:
                serving = serve(
                    application, sockets=[listener], stop=stop, started=started, gather_s=gather_s
                )
                group.create_task(serving)
            await self._begin()
            await stop.wait()
            if heart is not None:
                heart.stop()
            await self._end()
        await self._writer.close()

    async def _begin(self) -> None:
        self._progress.settled()
        if self._local is not None:
            await self._local.start()
        if self._reception is not None:
            self._reception.start()

    async def _end(self) -> None:
        if self._subscriptions is not None:
            await self._subscriptions.close()
        if self._reception is not None:
            await self._reception.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        if self._local is not None:
            await self._local.close()

    def _receive_site(self, group: Group) -> Reception:
        from edge_node.multicast import join
        from edge_node.receiver import Reception

        return Reception(
            self._options.site,
            lambda: join(group.group, group.source, group.interface, group.port),
            self._keys,
            self._surroundings,
            self._reporter,
            accepted=self._accepted,
        )

    def _accepted(self, manifest: Manifest) -> None:
        """A new manifest of the site may rotate the keys."""
        if self._keys.rotate(manifest.keys):
            keep_keys(self._store.root, self._keys)
            self._journal.write("keys", keys=list(manifest.keys))

    def _make_subscriptions(self, interface: str) -> Subscriptions:
        from delivery.keys import from_hex
        from edge_node.multicast import join
        from edge_node.receiver import Reception
        from edge_node.reports import Reporter
        from edge_node.subscriptions import Subscriptions

        options = self._options

        def sessions() -> tuple[Session, ...]:
            return self._store.manifest.sessions if self._store.manifest else ()

        def receive(session: Session) -> Reception:
            keys = KeyRing(from_hex(session.public_key)) if session.public_key else self._keys
            return Reception(
                session,
                lambda: join(session.group, session.source, interface, session.port),
                keys,
                self._surroundings,
                Reporter(session.url, options.name, options.seed, self._journal),
                only_new=True,
            )

        return Subscriptions(
            options.name, self._store, self._journal, sessions, receive, idle_s=options.idle_s
        )

    def _make_local(self) -> LocalContent | None:
        from edge_node.local import LocalContent

        options = self._options
        if options.local is None or options.group is None or options.sync_address is None:
            return None
        url = f"http://[{options.sync_address}]:{options.sync_port}/{options.own_prefix}"
        session = Session(
            options.own_prefix,
            options.sync_address,
            options.local.group,
            options.group.port,
            SITE_TSI,
            url,
        )
        return LocalContent(
            session,
            options.group.interface,
            self._writer,
            own_key(self._store.root),
            self._journal,
            rate_mbps=options.local.rate_mbps,
            mtu_bytes=options.local.mtu_bytes,
            limits=options.local.limits,
        )

    def _make_heart(self) -> Heart | None:
        from edge_node.health import Heart

        options = self._options
        if options.heartbeat_interface is None or options.sync_address is None:
            return None
        return Heart(options.sync_address, options.heartbeat_interface, self._load)
