"""`python -m edge_node`: run an edge node, or verify what one holds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_node.tls.arguments import add_tls, check_tls

_SERVE = """\
Serve the files of a store over HTTP, and keep the store in step with the origin.

Without --group the edge only serves. With --group, --source and --interface it receives the site
by multicast; with --origin-url it reports to the origin, and fetches what it missed. --sync-address
opens the API over which an origin pushes by unicast. --site serves a folder of this machine instead
(the central cloud)."""

_IDENTITY = """\
Print the key that local content is signed with, for the origin's list of peers, and the key that epoch keys
are handed out to, for its list of members."""

_STATUS = "Ask a running edge which version it holds and serves, and how its content came."

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
    from delivery.errors import DeliveryError
    from delivery.keys import KeyFileError
    from edge_node import commands
    from edge_node.blobs import StoreError
    from edge_node.multicast import MulticastError
    from edge_node.tls.pair import PairError

    run = {
        "serve": commands.serve,
        "verify": commands.verify,
        "identity": commands.identity,
        "status": commands.status,
    }[arguments.command]
    try:
        return run(arguments)
    except (StoreError, KeyFileError, MulticastError, DeliveryError, PairError) as error:
        print(f"edge_node: {error}", file=sys.stderr)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"edge_node: {name}{error.strerror or error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|verify|identity|status")
    form = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser("serve", help="run an edge node", description=_SERVE, formatter_class=form)
    serve.add_argument("--name", required=True, help="the edge's name, e.g. edge1")
    serve.add_argument("--store", type=Path, required=True, metavar="DIR", help="where the content is kept")
    serve.add_argument("--max-bytes", type=_positive, metavar="N", help="the most the content may take")
    serve.add_argument("--public-key", type=Path, metavar="FILE", help="the origin's key; the store keeps it")
    serve.add_argument("--site", type=Path, metavar="DIR", help="fill the store from this folder first")
    serve.add_argument(
        "--scrub-kbytes-per-s",
        type=int,
        default=0,
        metavar="N",
        help="read all content again and again and mend what the disk has spoilt (default: never)",
    )
    serve.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for back-off times (default %(default)s)"
    )
    web = serve.add_argument_group("web server")
    web.add_argument("--address", default="::", help="the service address (default %(default)s)")
    web.add_argument("--port", type=_port, default=80, help="TCP port (default %(default)s)")
    web.add_argument(
        "--proxy-url",
        metavar="URL",
        help="http://[ULA]:PORT, asked for what is in no manifest, by way of a cache (default: nothing is)",
    )
    web.add_argument(
        "--max-requests",
        type=_positive,
        metavar="N",
        help="beyond so many at once new users get 503 at once (default: twice the capacity)",
    )
    web.add_argument(
        "--max-connections",
        type=_positive,
        default=20_000,
        metavar="N",
        help="beyond so many idle ones and unfinished requests are closed (default %(default)s)",
    )
    web.add_argument(
        "--max-connections-per-prefix",
        type=_positive,
        default=256,
        metavar="N",
        help="the same for those from one /64 (default %(default)s)",
    )
    web.add_argument(
        "--forms-bytes",
        type=_bytes,
        default=32 << 20,
        metavar="N",
        help="memory for compressed forms of files; 0: send none (default %(default)s)",
    )
    add_tls(serve)
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
    group.add_argument(
        "--idle-s",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="leave a channel after so long without a request (default %(default)s)",
    )
    group.add_argument(
        "--unicast-sessions",
        action="store_true",
        help="join no channel and no local content: fetch it when asked, as a cache does",
    )
    group.add_argument("--region", default="", metavar="NAME", help="the region this edge lies in")
    local = serve.add_argument_group("local content: what users upload with PUT /local/NAME")
    local.add_argument(
        "--local-group",
        metavar="ADDRESS",
        help="where it goes when another edge asks; without: no uploads",
    )
    local.add_argument(
        "--upload-bytes",
        type=_positive,
        default=16 << 20,
        metavar="N",
        help="the most one upload may have (default %(default)s)",
    )
    local.add_argument(
        "--upload-burst-bytes",
        type=_positive,
        default=32 << 20,
        metavar="N",
        help="what one user may upload at once, 256 KiB/s in the long run (default %(default)s)",
    )
    local.add_argument(
        "--local-bytes",
        type=_positive,
        default=256 << 20,
        metavar="N",
        help="the most all of them may have (default %(default)s)",
    )
    sending = serve.add_argument_group("what the edge itself sends: local content, and as head of its region")
    sending.add_argument(
        "--rate-mbps", type=_seconds, default=20.0, metavar="R", help="of whole frames (default %(default)s)"
    )
    sending.add_argument(
        "--mtu-bytes", type=_positive, default=1500, metavar="N", help="of its packets (default %(default)s)"
    )
    output = serve.add_argument_group("output")
    output.add_argument("--report-file", type=Path, metavar="FILE", help="write events here, as JSON lines")
    output.add_argument("--json", action="store_true", help="print events as JSON lines")
    verify = commands.add_parser("verify", help="check a store", description=_VERIFY, formatter_class=form)
    verify.add_argument("--store", type=Path, required=True, metavar="DIR", help="the store to check")
    verify.add_argument("--against", type=Path, metavar="DIR", help="the site folder it must be equal to")
    verify.add_argument("--json", action="store_true", help="print the verdict as JSON")
    identity = commands.add_parser(
        "identity", help="print the public keys of an edge, made at first use", description=_IDENTITY
    )
    identity.add_argument("--store", type=Path, required=True, metavar="DIR", help="the edge's store")
    identity.add_argument("--json", action="store_true", help="print them as JSON")
    status = commands.add_parser("status", help="what a running edge holds", description=_STATUS)
    status.add_argument("url", metavar="URL", help="its sync API, http://[ULA]:8081")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    return parser


def _check_serve(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    reception = (arguments.group, arguments.source, arguments.interface)
    if any(reception) and not all(reception):
        parser.error("--group, --source and --interface belong together")
    if arguments.site is not None and (arguments.group or arguments.sync_address or arguments.public_key):
        parser.error(
            "--site serves a folder of this machine: leave out --group, --sync-address and --public-key"
        )
    if arguments.local_group and not (arguments.group and arguments.sync_address):
        parser.error("--local-group needs --group and --sync-address, where other edges ask for it")
    if arguments.heartbeat_interface and not arguments.sync_address:
        parser.error("--heartbeat-interface needs --sync-address, which heartbeats are sent from")
    check_tls(parser, arguments)
    for option, url in (("--origin-url", arguments.origin_url), ("--proxy-url", arguments.proxy_url)):
        if url is not None and not url.startswith("http://"):
            parser.error(f"{option} {url} is not of the form http://[ADDRESS]:PORT")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _bytes(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of bytes")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port number")
    return value


if __name__ == "__main__":
    sys.exit(main())
