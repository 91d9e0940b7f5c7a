"""An edge node: its web server, its sync API and its reception in one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.journal import Journal
from edge_node.progress import Progress
from edge_node.store import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


GATHER_S = 0.002
"""How long pushed content gathers between two reads."""


@dataclass(frozen=True, slots=True)
class Group:
    """The source-specific group to receive: `source` sends to `group`, UDP `port`, heard on `interface`."""

    group: str
    source: str
    interface: str
    port: int


@dataclass(frozen=True, slots=True)
class Options:
    """What `python -m edge_node serve` was asked to do. Ports are TCP, 0 picks a free one; `capacity` is the
    number of requests at once that the edge is made for."""

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


async def run(options: Options, store: Store, public_key: Ed25519PublicKey, journal: Journal) -> None:
    """Serve until SIGTERM or SIGINT, then finish open responses and queued writes.

    Raises OSError when an address cannot be bound, MulticastError when the group cannot be joined.
    """
    from delivery.asgi import Application, listen, serve
    from edge_node.app import EdgeApp
    from edge_node.health import Heart, Load
    from edge_node.receiver import Reception
    from edge_node.reports import Reporter
    from edge_node.sync import SyncApp
    from edge_node.writer import Writer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reporter = None
    if options.origin_url is not None:
        reporter = Reporter(options.origin_url, options.name, options.seed, journal)
    progress = Progress(store, journal, reporter)
    writer = Writer(store, progress.settled)
    load = Load(options.capacity)
    servers: list[tuple[Application, socket.socket]] = [
        (EdgeApp(options.name, store, load), listen(options.address, options.port))
    ]
    addresses = {"address": options.address, "port": servers[0][1].getsockname()[1]}
    if options.sync_address is not None:
        listener = listen(options.sync_address, options.sync_port)
        servers.append((SyncApp(options.name, writer, public_key), listener))
        addresses |= {"sync_address": options.sync_address, "sync_port": listener.getsockname()[1]}
    reception = None
    if options.group is not None:
        from edge_node.multicast import join

        group = options.group
        reception = Reception(
            options.name,
            join(group.group, group.source, group.interface, group.port),
            writer,
            public_key,
            journal,
            options.origin_url,
            reporter,
            seed=options.seed,
        )
    heart = None
    if options.heartbeat_interface is not None and options.sync_address is not None:
        heart = Heart(options.sync_address, options.heartbeat_interface, load)
    starting = len(servers)

    def started() -> None:
        nonlocal starting
        starting -= 1
        if not starting:
            journal.write("ready", **addresses)
            if heart is not None:
                heart.start()

    async with asyncio.TaskGroup() as group_of_servers:
        for app, listener in servers:
            gather_s = GATHER_S if isinstance(app, SyncApp) else 0.0
            serving = serve(app, sockets=[listener], stop=stop, started=started, gather_s=gather_s)
            group_of_servers.create_task(serving)
        progress.settled()
        if reception is not None:
            reception.start()
        await stop.wait()
        if heart is not None:
            heart.stop()
        if reception is not None:
            await reception.close()
    await writer.close()
    if reporter is not None:
        await reporter.close()
    journal.write("stopped", rejected=dict(sorted(journal.rejected.items())))
