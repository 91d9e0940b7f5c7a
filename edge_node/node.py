"""An edge node: its web server, its sync API and its receptions in one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from delivery.keys import KeyRing
from delivery.sessions import LOCAL, Session
from edge_node.coded_forms import DEFAULT_BYTES
from edge_node.connections import ConnectionLimits
from edge_node.journal import Journal
from edge_node.progress import Progress
from edge_node.store import Store
from edge_node.trust import keep_keys, own_key
from edge_node.upload_limits import UploadLimits

if TYPE_CHECKING:
    from delivery.manifest import Manifest
    from delivery.session_api import SessionApp
    from edge_node.app import EdgeApp
    from edge_node.contents import Contents
    from edge_node.epoch_keys import EpochKeys
    from edge_node.health import Heart
    from edge_node.local import LocalContent
    from edge_node.proxy import Proxy
    from edge_node.receiver import Reception, Surroundings
    from edge_node.regions import RegionHead
    from edge_node.reports import Reporter
    from edge_node.subscriptions import Subscriptions
    from edge_node.tls.service import Https, TlsOptions

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
    """Where local content goes when another edge wants it, and how much of it there may be."""

    group: str
    limits: UploadLimits = field(default_factory=UploadLimits)


@dataclass(frozen=True, slots=True)
class Options:
    """What `python -m edge_node serve` was asked to do. Ports are TCP, 0 picks a free one; `capacity` is the
    number of requests at once that the edge is made for; `scrub_bytes_per_s` 0 scrubs nothing. What the edge
    itself sends goes at `rate_mbps` in packets of at most `mtu_bytes`. What is in no manifest is asked of the
    server at `proxy_url`. From `max_requests` at once on, 0 for twice the capacity, new ones are refused.
    Coded forms take at most `forms_bytes`. With `tls` all is at a port of HTTPS, and `port` only says so."""

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
    region: str = ""
    rate_mbps: float = 20.0
    mtu_bytes: int = 1500
    unicast_sessions: bool = False
    proxy_url: str | None = None
    max_requests: int = 0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    forms_bytes: int = DEFAULT_BYTES
    tls: TlsOptions | None = None

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
        from edge_node.contents import Contents
        from edge_node.fetcher import Fetcher
        from edge_node.gate import Gate
        from edge_node.health import Load
        from edge_node.receiver import Surroundings
        from edge_node.status import Status
        from edge_node.supply import Supply
        from edge_node.writer import Writer

        self._options, self._store, self._keys, self._journal = options, store, keys, journal
        self._reporter = reporter
        self._progress = Progress(store, journal, reporter)
        self._writer = Writer(store, self._settled)
        self._load = Load(options.capacity, options.max_requests)
        self._gate = Gate(options.name, options.connections)
        self._contents = Contents(store, lambda: self._load.requests, forms_bytes=options.forms_bytes)
        self._surroundings: Surroundings = Surroundings(
            options.name, self._writer, journal, options.seed, options.keys
        )
        self._reception: Reception | None = None
        self._subscriptions: Subscriptions | None = None
        self._local = self._make_local()
        fetcher = supply = None
        if options.group is not None:
            interface = options.group.interface
            self._reception = self._receive(options.site, interface, self._reporter, accepted=self._accepted)
            self._subscriptions = self._make_subscriptions(interface)
        if self._subscriptions is not None and options.origin_url is not None:
            subscriptions, origin_url = self._subscriptions, options.origin_url
            fetcher = Fetcher(
                self._writer, lambda prefix: subscriptions.url_of(prefix) if prefix else origin_url
            )
            supply = Supply(store, subscriptions, fetcher, options.own_prefix)
        self._fetcher, self._supply = fetcher, supply
        self._region: Reception | RegionHead | None = None
        self._region_version = 0
        self._proxy: Proxy | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._status = Status(
            options.name,
            store,
            self._load,
            journal,
            self._receptions,
            self._subscriptions,
            fetcher,
            self._local,
            self._gate,
            self._contents.forms,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; then end everything in the order in which it depends on each other."""
        from delivery.asgi import Application, listen, serve
        from edge_node.app import EdgeApp
        from edge_node.gate import Gate
        from edge_node.protocol import EdgeProtocol
        from edge_node.quick import QuickAnswers
        from edge_node.sync import SyncApp

        options, contents = self._options, self._contents
        self._proxy = self._make_proxy(contents)
        app = EdgeApp(options.name, self._store, self._load, self._supply, self._local, contents, self._proxy)
        listener = listen(options.address, options.port)
        self._gate.quick = QuickAnswers(app)
        addresses = {"address": options.address, "port": listener.getsockname()[1]}
        web: Application = app
        gate, https = self._gate, self._make_https(app)
        if https is not None:
            web, gate = https.redirect, Gate(options.name, options.connections)
            addresses["tls_port"], self._status.certificate = https.port, https.certificate
        servers: list[tuple[Application, socket.socket, float]] = [(web, listener, 0.0)]
        if options.sync_address is not None:
            listener = listen(options.sync_address, options.sync_port)
            local_app = self._local.publication.app if self._local else None
            sync = SyncApp(
                self._writer,
                self._keys,
                self._status.to_json,
                self._status.metrics,
                lambda: [app for app in (local_app, self._head_app()) if app is not None],
            )
            servers.append((sync, listener, GATHER_S))
            addresses |= {"sync_address": options.sync_address, "sync_port": listener.getsockname()[1]}
        starting = len(servers) + (https is not None)

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
                    application,
                    sockets=[listener],
                    stop=stop,
                    started=started,
                    gather_s=gather_s,
                    protocol=partial(EdgeProtocol, gate) if application is web else None,
                )
                group.create_task(serving)
            if https is not None:
                group.create_task(https.serve(stop, started))
            await self._begin()
            await stop.wait()
            if heart is not None:
                heart.stop()
            await self._end()
        if self._proxy is not None:  # the last answers are sent
            await self._proxy.close()
        await self._contents.forms.close()
        await self._writer.close()

    async def _begin(self) -> None:
        self._settled()
        if self._options.scrub_bytes_per_s:
            self._tasks.append(asyncio.create_task(self._scrub(self._options.scrub_bytes_per_s)))
        if self._local is not None:
            await self._local.start()
        if self._reception is not None:
            self._reception.start()

    async def _scrub(self, rate_bytes_s: float) -> None:
        """Mend what the disk has spoilt: what is found damaged is missing, and fetched like anything else."""
        from edge_node.scrub import Scrubber, scrub

        def damaged(sha256: str) -> None:
            self._journal.write("damaged", blob=sha256)
            for reception in self._receptions():
                reception.mend()

        await scrub(Scrubber(self._store), rate_bytes_s, damaged)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._region is not None:
            await self._region.close()
        if self._subscriptions is not None:
            await self._subscriptions.close()
        if self._reception is not None:
            await self._reception.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        if self._local is not None:
            await self._local.close()

    def _receptions(self) -> list[Reception]:
        """Those of the streams that are never left."""
        from edge_node.receiver import Reception

        found = (self._reception, self._region)
        return [each for each in found if isinstance(each, Reception)]

    def _head_app(self) -> SessionApp | None:
        from edge_node.regions import RegionHead

        return self._region.app if isinstance(self._region, RegionHead) else None

    def _settled(self) -> None:
        """Something has become durable: perhaps a new version, with news for the region."""
        self._progress.settled()
        manifest, signed = self._store.manifest, self._store.signed_manifest
        if not self._options.region or manifest is None or signed is None:
            return
        from edge_node.regions import RegionHead

        if self._region is None:
            self._region = self._join_region(manifest)
        if isinstance(self._region, RegionHead):
            self._region.take_up(manifest, signed)
        elif self._region is not None and manifest.version != self._region_version:
            self._region_version = manifest.version
            self._region.tell_machine()

    def _join_region(self, manifest: Manifest) -> Reception | RegionHead | None:
        from edge_node.regions import RegionHead, region_session

        options, group, fetcher = self._options, self._options.group, self._fetcher
        session = region_session(manifest, options.region)
        if session is None or group is None or fetcher is None:
            return None
        if session.source == options.sync_address:
            return RegionHead(
                session,
                group.interface,
                self._store,
                lambda entry: fetcher.fetch("", entry),
                {} if options.keys is None else options.keys,  # none yet is not none ever
                self._journal,
                rate_mbps=options.rate_mbps,
                mtu_bytes=options.mtu_bytes,
            )
        # What the head's stream does not bring comes from the origin, who has everything.
        origin_session = replace(session, url=options.origin_url or session.url, public_key="")
        reception = self._receive(origin_session, group.interface, self._reporter_to(session))
        reception.start()
        return reception

    def _receive(
        self,
        session: Session,
        interface: str,
        reporter: Reporter | None,
        *,
        only_new: bool = False,
        accepted: Callable[[Manifest], None] = lambda _manifest: None,
    ) -> Reception:
        """The reception of a session, not yet listening; its own key signs its manifests, else the site's."""
        from delivery.keys import from_hex
        from edge_node.multicast import join
        from edge_node.receiver import Reception

        return Reception(
            session,
            lambda: join(session.group, session.source, interface, session.port),
            KeyRing(from_hex(session.public_key)) if session.public_key else self._keys,
            self._surroundings,
            reporter,
            only_new=only_new,
            accepted=accepted,
        )

    def _reporter_to(self, session: Session) -> Reporter:
        from edge_node.reports import Reporter

        return Reporter(session.url, self._options.name, self._options.seed, self._journal)

    def _accepted(self, manifest: Manifest) -> None:
        """A new manifest of the site may rotate the keys."""
        if self._keys.rotate(manifest.keys):
            keep_keys(self._store.root, self._keys)
            self._journal.write("keys", keys=list(manifest.keys))

    def _make_subscriptions(self, interface: str) -> Subscriptions:
        from edge_node.subscriptions import Subscriptions

        options = self._options

        def sessions() -> tuple[Session, ...]:
            return self._store.manifest.sessions if self._store.manifest else ()

        def receive(session: Session) -> Reception:
            return self._receive(session, interface, self._reporter_to(session), only_new=True)

        return Subscriptions(
            options.name,
            self._store,
            self._journal,
            sessions,
            receive,
            idle_s=options.idle_s,
            by_unicast=options.unicast_sessions,
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
            rate_mbps=options.rate_mbps,
            mtu_bytes=options.mtu_bytes,
            limits=options.local.limits,
        )

    def _make_proxy(self, contents: Contents) -> Proxy | None:
        from edge_node.http.cache.policy import Policy
        from edge_node.proxy import Proxy
        from edge_node.upstream import Upstream

        options = self._options
        if options.proxy_url is None:
            return None
        return Proxy(Policy(options.name), Upstream(options.proxy_url), self._writer, contents)

    def _make_https(self, app: EdgeApp) -> Https | None:
        from edge_node.tls.service import Https

        options = self._options
        if options.tls is None:
            return None
        return Https(options.tls, options.address, app, self._gate, self._journal)

    def _make_heart(self) -> Heart | None:
        from edge_node.health import Heart

        options = self._options
        if options.heartbeat_interface is None or options.sync_address is None:
            return None
        return Heart(options.sync_address, options.heartbeat_interface, self._load)
