"""What the sub-commands do with their arguments, and what they print."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from origin.errors import OriginError

if TYPE_CHECKING:
    from origin.publisher import PublishSummary
    from origin.rollcall import RollCall


def publish(arguments: argparse.Namespace) -> int:
    """`python -m origin publish`."""
    from origin.publisher import Publisher, PublishOptions

    options = PublishOptions(
        folder=arguments.folder,
        source=arguments.source,
        interface=arguments.interface,
        key=arguments.key,
        state=arguments.state,
        site=arguments.site,
        group=arguments.group,
        port=arguments.port,
        http_port=arguments.http_port,
        rate_mbps=arguments.rate_mbps,
        edges=arguments.edges,
        expect=arguments.expect,
        timeout_s=arguments.timeout_s,
        overhead_percent=arguments.overhead_percent,
        mtu_bytes=arguments.mtu_bytes,
    )

    async def run() -> int:
        publisher = Publisher(options)
        for warning in publisher.prepare().warnings:
            print(f"origin: {warning}", file=sys.stderr)
        _on_signals(publisher.stop)
        if sys.stdout.isatty() and not arguments.json:
            publisher.on_progress = _progress_line
        try:
            summary = await publisher.run()
            _print(arguments.json, summary.to_json(), _publish_text(summary))
            if not summary.complete:
                print(f"origin: {publisher.shortfall}", file=sys.stderr)
            if arguments.stay:
                await publisher.stay()
        finally:
            await publisher.close()
        return 0 if summary.complete else 1

    return asyncio.run(run())


def push(arguments: argparse.Namespace) -> int:
    """`python -m origin push`."""
    from origin.push import push as push_site

    targets = dict(arguments.to)
    if len(targets) < len(arguments.to):
        raise OriginError("--to names an edge twice")
    summary = push_site(
        arguments.folder, targets, arguments.key, arguments.state, arguments.site, arguments.timeout_s
    )
    text = (
        f"{summary.files} files, {summary.bytes} bytes, version {summary.version}, "
        f"to {len(summary.edges)} edges in {summary.seconds:.3f} s"
    )
    _print(arguments.json, summary.to_json(), text)
    for edge in summary.edges:
        if edge.problem:
            print(f"origin: {edge.edge}: {edge.problem}", file=sys.stderr)
    return 0 if summary.complete else 1


def dns(arguments: argparse.Namespace) -> int:
    """`python -m origin dns`."""
    from ipaddress import IPv6Address

    from origin.name_server import NameServer
    from origin.zone import Zone

    async def run() -> int:
        server = NameServer(Zone(arguments.name, IPv6Address(arguments.aaaa), arguments.ttl_s))
        stop = asyncio.Event()
        _on_signals(stop.set)
        port = await server.start(arguments.address, arguments.port)
        begun = {"name": arguments.name, "aaaa": arguments.aaaa, "address": arguments.address, "port": port}
        where = f"[{arguments.address}]:{port}"
        _print(arguments.json, begun, f"{arguments.name} AAAA {arguments.aaaa}, answered on {where}")
        await stop.wait()
        await server.close()
        if arguments.json:
            _print(True, {"queries": server.queries}, "")
        return 0

    return asyncio.run(run())


def keygen(arguments: argparse.Namespace) -> int:
    """`python -m origin keygen`."""
    from delivery.keys import generate_key, save_public_key

    save_public_key(arguments.public, generate_key(arguments.key).public_key())
    return 0


def _on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _print(as_json: bool, document: Mapping[str, Any], text: str) -> None:
    print(json.dumps(document) if as_json else text, flush=True)


def _publish_text(summary: PublishSummary) -> str:
    lines = [
        f"{summary.site} version {summary.version}: {summary.files} files, {summary.bytes} bytes, "
        f"of which {summary.new_bytes} new in {summary.bundles} bundles",
        f"{summary.datagrams} datagrams, {summary.wire_bytes} bytes on the wire, "
        f"{summary.repair_symbols} repair symbols for {summary.source_symbols}",
    ]
    lines += [f"{edge} complete after {seconds:.3f} s" for edge, seconds in summary.edges.items()]
    return "\n".join(lines)


def _progress_line(roll_call: RollCall) -> None:
    from rich.console import Console

    waiting = ", ".join(roll_call.missing)
    done = len(roll_call.completed_s)
    Console().print(f"[dim]{done} complete[/dim]" + (f", waiting for {waiting}" if waiting else ""))
