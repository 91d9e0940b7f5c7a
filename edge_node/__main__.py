"""`python -m edge_node`: run an edge node, or verify what one holds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_SERVE = """\
Serve the files of a store over HTTP, and keep the store in step with the origin.

Without --group the edge only serves. With --group, --source and --interface it receives the site
by multicast; with --origin-url it reports to the origin, and fetches what it missed. --sync-address
opens the API over which an origin pushes by unicast. --site serves a folder of this machine instead
(the central cloud)."""

_VERIFY = """\
Recompute the digest of everything in a store, and compare it with a site folder bit by bit.
Exit status 1 when anything differs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 usage)."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command == "serve":
            _check_serve(parser, arguments)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 2
    from delivery.keys import KeyFileError
    from edge_node.blobs import StoreError
    from edge_node.multicast import MulticastError

    try:
        return _serve(arguments) if arguments.command == "serve" else _verify(arguments)
    except (StoreError, KeyFileError, MulticastError) as error:
        print(f"edge_node: {error}", file=sys.stderr)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"edge_node: {name}{error.strerror or error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|verify")
    form = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser("serve", help="run an edge node", description=_SERVE, formatter_class=form)
    serve.add_argument("--name", required=True, help="the edge's name, e.g. edge1")
    serve.add_argument("--store", type=Path, required=True, metavar="DIR", help="where the content is kept")
    serve.add_argument("--max-bytes", type=_positive, metavar="N", help="the most the content may take")
    serve.add_argument("--public-key", type=Path, metavar="FILE", help="the origin's key; the store keeps it")
    serve.add_argument("--site", type=Path, metavar="DIR", help="fill the store from this folder first")
    serve.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for back-off times (default %(default)s)"
    )
    web = serve.add_argument_group("web server")
    web.add_argument("--address", default="::", help="the service address (default %(default)s)")
    web.add_argument("--port", type=_port, default=80, help="TCP port (default %(default)s)")
    health = serve.add_argument_group("health")
    health.add_argument(
        "--heartbeat-interface", metavar="IF", help="tell the gateway on this interface that the edge lives"
    )
    health.add_argument(
        "--capacity",
        type=_positive,
        default=1000,
        metavar="N",
        help="requests at once; near it the edge asks for no new users (default %(default)s)",
    )
    group = serve.add_argument_group("multicast reception")
    group.add_argument("--group", metavar="ADDRESS", help="group to join, e.g. ff35::8000:1")
    group.add_argument("--source", metavar="ADDRESS", help="the only sender to listen to, the origin's ULA")
    group.add_argument("--interface", metavar="IF", help="network interface to join on")
    group.add_argument("--flute-port", type=_port, default=4001, help="UDP port (default %(default)s)")
    origin = serve.add_argument_group("origin")
    origin.add_argument("--origin-url", metavar="URL", help="http://[ULA]:8080, for reports and catch-up")
    origin.add_argument("--sync-address", metavar="ULA", help="address of the sync API; none without it")
    origin.add_argument("--sync-port", type=_port, default=8081, help="its TCP port (default %(default)s)")
    output = serve.add_argument_group("output")
    output.add_argument("--report-file", type=Path, metavar="FILE", help="write events here, as JSON lines")
    output.add_argument("--json", action="store_true", help="print events as JSON lines")
    verify = commands.add_parser("verify", help="check a store", description=_VERIFY, formatter_class=form)
    verify.add_argument("--store", type=Path, required=True, metavar="DIR", help="the store to check")
    verify.add_argument("--against", type=Path, metavar="DIR", help="the site folder it must be equal to")
    verify.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser


def _check_serve(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    reception = (arguments.group, arguments.source, arguments.interface)
    if any(reception) and not all(reception):
        parser.error("--group, --source and --interface belong together")
    if arguments.site is not None and (arguments.group or arguments.sync_address or arguments.public_key):
        parser.error(
            "--site serves a folder of this machine: leave out --group, --sync-address and --public-key"
        )
    if arguments.heartbeat_interface and not arguments.sync_address:
        parser.error("--heartbeat-interface needs --sync-address, which heartbeats are sent from")
    if arguments.origin_url is not None and not arguments.origin_url.startswith("http://"):
        parser.error(f"--origin-url {arguments.origin_url} is not of the form http://[ADDRESS]:PORT")


def _serve(arguments: argparse.Namespace) -> int:
    import asyncio

    from edge_node.journal import Journal
    from edge_node.node import Group, Options, run
    from edge_node.store import Store
    from edge_node.trust import site_key, trusted_key

    root: Path = arguments.store
    private_key = site_key(root) if arguments.site is not None else None
    key = private_key.public_key() if private_key else trusted_key(root, arguments.public_key)
    store = Store(root, key, max_bytes=arguments.max_bytes)
    if private_key is not None:
        from edge_node.site import fill_from

        fill_from(store, arguments.site, private_key)
    group = None
    if arguments.group is not None:
        group = Group(arguments.group, arguments.source, arguments.interface, arguments.flute_port)
    options = Options(
        arguments.name,
        arguments.address,
        arguments.port,
        arguments.sync_address,
        arguments.sync_port,
        group,
        arguments.origin_url,
        arguments.seed,
        arguments.heartbeat_interface,
        arguments.capacity,
    )
    journal = Journal(arguments.name, arguments.report_file, as_json=arguments.json)
    try:
        asyncio.run(run(options, store, key, journal))
    finally:
        journal.close()
        store.close()
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from edge_node.trust import trusted_key
    from edge_node.verify import verify

    verdict = verify(arguments.store, trusted_key(arguments.store, None), arguments.against)
    if arguments.json:
        import json

        print(json.dumps(verdict.to_json()))
        return 0 if verdict.identical else 1
    for difference in verdict.differences:
        print(difference, file=sys.stderr)
    result = "identical" if verdict.identical else f"{len(verdict.differences)} differences"
    print(f"version {verdict.version}: {verdict.files} files, {verdict.bytes} bytes, {result}")
    return 0 if verdict.identical else 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port number")
    return value


if __name__ == "__main__":
    sys.exit(main())
