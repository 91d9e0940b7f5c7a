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
    from delivery.edition import Edition
    from origin.options import PublishOptions
    from origin.publisher import PublishSummary


def publish(arguments: argparse.Namespace) -> int:
    """`python -m origin publish`."""
    from origin.progress import display
    from origin.publisher import Publisher

    options = _options(arguments)

    async def run() -> int:
        publisher = Publisher(options)
        publisher.on_warning = _warn
        for warning in publisher.prepare().warnings:
            _warn(warning)
        _on_signals(publisher.stop)
        try:
            async with display(sys.stderr, publisher.service.site):
                summary = await publisher.run()
            _print(arguments.json, summary.to_json(), _publish_text(summary))
            if not summary.complete:
                _warn(publisher.shortfall)
            if arguments.stay:
                await publisher.stay()
        finally:
            await publisher.close()
        return 0 if summary.complete else 1

    return asyncio.run(run())


def watch(arguments: argparse.Namespace) -> int:
    """`python -m origin watch`."""
    from origin.watcher import Watcher

    options = _options(arguments)

    def tell(edition: Edition) -> None:
        manifest = edition.manifest
        size = sum(entry.size for entry in manifest.files)
        facts = {
            "site": manifest.site,
            "version": manifest.version,
            "files": len(manifest.files),
            "bytes": size,
        }
        facts |= {"bundles": len(edition.fresh), "new_bytes": edition.content_bytes}
        text = (
            f"{manifest.site} version {manifest.version}: {len(manifest.files)} files, {size} bytes, "
            f"of which {edition.content_bytes} new in {len(edition.fresh)} bundles"
        )
        _print(arguments.json, facts, text)

    async def run() -> int:
        watcher = Watcher(options)
        watcher.on_version, watcher.on_warning = tell, _warn
        watcher.open()
        _on_signals(watcher.stop)
        try:
            await watcher.run()
        finally:
            await watcher.close()
        return 0

    return asyncio.run(run())


def status(arguments: argparse.Namespace) -> int:
    """`python -m origin status`."""
    from origin.status_table import fetch_status, print_status

    document = fetch_status(arguments.url)
    if arguments.json:
        print(json.dumps(document))
    else:
        print_status(document)
    return 0


def rotate_key(arguments: argparse.Namespace) -> int:
    """`python -m origin rotate-key`."""
    from origin.signer import rotate_key as rotate

    rotate(arguments.state, arguments.key, arguments.new_key)
    return 0


def _options(arguments: argparse.Namespace) -> PublishOptions:
    from dataclasses import fields

    from origin.options import PublishOptions

    given = vars(arguments)
    channels = tuple(given["channel"])
    if len({name for name, _ in channels}) < len(channels):
        raise OriginError("--channel names a channel twice")
    named = {field.name: given[field.name] for field in fields(PublishOptions) if field.name in given}
    return PublishOptions(**{"timeout_s": 0.0, **named, "channels": channels, "peers": tuple(given["peer"])})


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
            _warn(f"{edge.edge}: {edge.problem}")
    return 0 if summary.complete else 1


def dns(arguments: argparse.Namespace) -> int:
    """`python -m origin dns`."""
    from ipaddress import IPv6Address

    from origin.geo import NOBODY, parse_geo
    from origin.name_server import NameServer
    from origin.zone import Zone

    def read_zone() -> Zone:
        try:
            geo = NOBODY if arguments.geo is None else parse_geo(arguments.geo.read_text())
        except (OSError, ValueError) as error:
            raise OriginError(f"--geo {arguments.geo}: {getattr(error, 'strerror', None) or error}") from None
        return Zone(arguments.name, IPv6Address(arguments.aaaa), arguments.ttl_s, geo)

    async def run() -> int:
        server = NameServer(read_zone())

        def reload() -> None:
            try:
                server.zone = read_zone()
            except OriginError as error:
                _warn(f"{error}; answering as before")

        stop = asyncio.Event()
        _on_signals(stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
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


def certify(arguments: argparse.Namespace) -> int:
    """`python -m origin certify`."""
    from origin.certificates import certify as issue

    issued = issue(arguments.name, arguments.out, days=arguments.days, reissue=arguments.reissue)
    until = issued.not_after.isoformat(timespec="seconds")
    facts: dict[str, Any] = {"name": issued.name, "folder": str(issued.folder)}
    facts |= {"not_after": until, "is_new_ca": issued.is_new_ca}
    authority = "a new CA" if issued.is_new_ca else "the CA that was there"
    text = f"{issued.name}: certificate of {authority} in {issued.folder}, valid until {until}"
    _print(arguments.json, facts, text)
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
        f"{summary.source_symbols} source symbols, {summary.repair_symbols} repair symbols "
        f"in {summary.repair_rounds} rounds",
    ]
    lines += [f"{edge} complete after {seconds:.3f} s" for edge, seconds in summary.edges.items()]
    return "\n".join(lines)


def _warn(text: str) -> None:
    print(f"origin: {text}", file=sys.stderr, flush=True)
