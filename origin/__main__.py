"""`python -m origin`: publish a site to the edges, push it by unicast, answer DNS, make keys."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path

_PUBLISH = """\
Send a folder to all edges with one multicast transmission, repair what they lost, and serve the API
they report to.

Exit status 0 when every expected edge (--edges or --expect) is complete, 1 when some were not within
--timeout-s; with --stay the origin goes on serving until SIGTERM. A later run with the same --state
sends only what has changed."""

_PUSH = """\
The unicast baseline: put the whole folder on every edge by itself, all edges at once, over their sync
API. Exit status 1 when an edge did not take everything."""

_DNS = "Answer for one name with one AAAA record, over UDP and TCP, until SIGTERM."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 usage)."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command == "publish" and not (arguments.edges or arguments.expect or arguments.stay):
            parser.error("publish: name the edges to wait for (--edges or --expect), or --stay")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 2
    from delivery.keys import KeyFileError
    from origin import commands
    from origin.errors import OriginError

    try:
        run = {
            "publish": commands.publish,
            "push": commands.push,
            "dns": commands.dns,
            "keygen": commands.keygen,
        }[arguments.command]
        return run(arguments)
    except (OriginError, KeyFileError) as error:
        print(f"origin: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m origin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="publish|push|dns|keygen")
    form = argparse.RawDescriptionHelpFormatter

    publish = commands.add_parser(
        "publish", help="send a folder to all edges by multicast", description=_PUBLISH, formatter_class=form
    )
    publish.add_argument("folder", type=Path, metavar="DIR", help="the folder to publish")
    publish.add_argument("--source", type=_address, required=True, metavar="ULA", help="the origin's address")
    publish.add_argument("--interface", required=True, metavar="IF", help="where multicast leaves, e.g. eth0")
    _add_site(publish)
    publish.add_argument("--group", type=_group, default="ff35::8000:1", help="(default %(default)s)")
    publish.add_argument("--port", type=_port, default=4001, metavar="N", help="UDP (default %(default)s)")
    publish.add_argument("--http-port", type=_port, default=8080, metavar="N", help="(default %(default)s)")
    publish.add_argument(
        "--rate-mbps",
        type=_positive,
        default=100.0,
        metavar="R",
        help="of whole frames (default %(default)s)",
    )
    publish.add_argument(
        "--mtu-bytes",
        type=_mtu,
        default=1500,
        metavar="N",
        help="no packet of the stream is larger: the least MTU on the way to any edge (default %(default)s)",
    )
    publish.add_argument(
        "--overhead-percent",
        type=_share,
        default=0.0,
        metavar="P",
        help="repair symbols sent unasked (default 0)",
    )
    publish.add_argument(
        "--edges", type=_names, default=(), metavar="NAME,...", help="wait until these are complete"
    )
    publish.add_argument(
        "--expect", type=_count, default=0, metavar="N", help="wait until N edges are complete"
    )
    publish.add_argument(
        "--timeout-s",
        type=_positive,
        default=120.0,
        metavar="S",
        help="how long to wait (default %(default)s)",
    )
    publish.add_argument("--stay", action="store_true", help="then go on serving until SIGTERM")
    publish.add_argument("--json", action="store_true", help="print the summary as JSON")

    push = commands.add_parser("push", help="the unicast baseline", description=_PUSH, formatter_class=form)
    push.add_argument("folder", type=Path, metavar="DIR", help="the folder to push")
    push.add_argument(
        "--to",
        type=_target,
        action="append",
        required=True,
        metavar="EDGE=[ULA]:PORT",
        help="repeat per edge",
    )
    _add_site(push)
    push.add_argument(
        "--timeout-s",
        type=_positive,
        default=30.0,
        metavar="S",
        help="an edge's longest silence (default 30)",
    )
    push.add_argument("--json", action="store_true", help="print the summary as JSON")

    dns = commands.add_parser("dns", help="answer for the service's name", description=_DNS)
    dns.add_argument("--address", type=_address, required=True, metavar="A", help="where to listen")
    dns.add_argument("--port", type=_port, default=53, metavar="N", help="UDP and TCP (default %(default)s)")
    dns.add_argument("--name", default="www.nearcast.test", help="(default %(default)s)")
    dns.add_argument("--aaaa", type=_address, required=True, metavar="ADDR", help="the name's one address")
    dns.add_argument("--ttl-s", type=_count, default=60, metavar="S", help="(default %(default)s)")
    dns.add_argument("--json", action="store_true", help="print what was served as JSON at the end")

    keygen = commands.add_parser("keygen", help="make the key pair that manifests are signed with")
    keygen.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the private key, must not exist"
    )
    keygen.add_argument(
        "--public", type=Path, required=True, metavar="FILE", help="the public key, for the edges"
    )
    return parser


def _add_site(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the private key (see keygen)"
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="remembers versions and numbers between runs"
    )
    parser.add_argument("--site", default="site", metavar="NAME", help="(default %(default)s)")


def _address(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IPv6 address") from None


def _group(text: str) -> str:
    group = _address(text)
    if not IPv6Address(group).is_multicast:
        raise argparse.ArgumentTypeError(f"{text!r} is no multicast address")
    return group


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port number")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _mtu(text: str) -> int:
    value = int(text)
    if not 1280 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no MTU of IPv6; give 1280 to 65535 bytes")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 100")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if not names:
        raise argparse.ArgumentTypeError("name at least one edge")
    return names


def _target(text: str) -> tuple[str, tuple[str, int]]:
    name, equals, rest = text.partition("=")
    address, bracket, port = rest.rpartition("]:")
    if not (name and equals and bracket and address.startswith("[")):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form edge1=[fd00::1]:8081")
    return name, (_address(address[1:]), _port(port))


if __name__ == "__main__":
    sys.exit(main())
