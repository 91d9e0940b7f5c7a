"""The command line of `python -m origin`."""

from __future__ import annotations

import argparse
import re
from ipaddress import IPv6Address
from pathlib import Path

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

_PUBLISH = """\
Send a folder to all edges with one multicast transmission, repair what they lost, and serve the API
they report to.

Exit status 0 when every expected edge (--edges or --expect) is complete, 1 when some were not within
--timeout-s; with --stay the origin goes on serving until SIGTERM. A later run with the same --state
sends only what has changed."""

_WATCH = """\
Publish a folder and stay: whenever it has changed (and two looks at it agree) a new version goes to all
edges, which keep what they have. A file that is removed is withdrawn; one that expires (--rules) is left
out from then on. Ends with SIGTERM."""

_PUSH = """\
The unicast baseline: put the whole folder on every edge by itself, all edges at once, over their sync
API. Exit status 1 when an edge did not take everything."""

_DNS = "Answer for one name with one AAAA record, over UDP and TCP, until SIGTERM."

_STATUS = "Show what an origin publishes, and which edge has what. Exit status 1 when it does not answer."

_ROTATE = """\
Have the next two versions go over to another signing key: the first is signed by the old key and names
both, the second by the new key and names it alone. Give --key NEW from then on, and keep both files where
they are until then. An edge that was away for all of it must be given the new public key by hand."""


_CERTIFY = """\
Issue the certificate of the service name (ECDSA P-256): service.pem and service.key in DIR, the same pair for
every edge. The first time a CA is made too: ca.pem, which users are to trust, and ca.key, which stays at the
origin; it can vouch for this name only. With --reissue the CA in DIR issues another certificate; copy it to
the edges and send them SIGHUP."""


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m origin", description=description)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="publish|watch|push|status|dns|keygen|rotate-key|certify"
    )
    form = argparse.RawDescriptionHelpFormatter

    publish = commands.add_parser(
        "publish", help="send a folder to all edges by multicast", description=_PUBLISH, formatter_class=form
    )
    _add_stream(publish)
    publish.add_argument(
        "--timeout-s",
        type=_positive,
        default=120.0,
        metavar="S",
        help="how long to wait (default %(default)s)",
    )
    publish.add_argument("--stay", action="store_true", help="then go on serving until SIGTERM")
    publish.add_argument("--json", action="store_true", help="print the summary as JSON")

    watch = commands.add_parser(
        "watch", help="publish a folder whenever it changes", description=_WATCH, formatter_class=form
    )
    _add_stream(watch)
    watch.add_argument(
        "--interval-s",
        type=_positive,
        default=1.0,
        metavar="S",
        help="how often to look at the folder (default %(default)s)",
    )
    watch.add_argument("--json", action="store_true", help="print each version as a line of JSON")

    _add_push(
        commands.add_parser("push", help="the unicast baseline", description=_PUSH, formatter_class=form)
    )

    status = commands.add_parser("status", help="show who has what", description=_STATUS)
    status.add_argument(
        "url", nargs="?", default="http://[::1]:8080", metavar="URL", help="(default %(default)s)"
    )
    status.add_argument("--json", action="store_true", help="print what the origin answered")

    _add_dns(commands.add_parser("dns", help="answer for the service's name", description=_DNS))

    keygen = commands.add_parser("keygen", help="make the key pair that manifests are signed with")
    keygen.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the private key, must not exist"
    )
    keygen.add_argument(
        "--public", type=Path, required=True, metavar="FILE", help="the public key, for the edges"
    )

    rotate = commands.add_parser(
        "rotate-key", help="go over to another signing key", description=_ROTATE, formatter_class=form
    )
    rotate.add_argument("--state", type=Path, required=True, metavar="DIR", help="as for publish")
    rotate.add_argument("--key", type=Path, required=True, metavar="OLD", help="the key in use")
    rotate.add_argument(
        "--new-key", type=Path, required=True, metavar="NEW", help="its successor (see keygen)"
    )

    certify = commands.add_parser(
        "certify", help="make the certificate for HTTPS", description=_CERTIFY, formatter_class=form
    )
    certify.add_argument("--name", type=_dns_name, default="www.nearcast.test", help="(default %(default)s)")
    certify.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder of the four files"
    )
    certify.add_argument(
        "--days", type=_days, default=90, metavar="N", help="how long it is valid (default %(default)s)"
    )
    certify.add_argument("--reissue", action="store_true", help="replace a certificate that is there")
    certify.add_argument("--json", action="store_true", help="print what was issued as JSON")
    return parser


def _add_stream(parser: argparse.ArgumentParser) -> None:
    """What `publish` and `watch` have in common."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="the folder to publish")
    add("--source", type=_address, required=True, metavar="ULA", help="the origin's address")
    add("--interface", required=True, metavar="IF", help="where multicast leaves, e.g. eth0")
    _add_site(parser)
    add("--group", type=_group, default="ff35::8000:1", help="(default %(default)s)")
    add("--port", type=_port, default=4001, metavar="N", help="UDP (default %(default)s)")
    add("--http-port", type=_port, default=8080, metavar="N", help="(default %(default)s)")
    rate_help = "of whole frames (default %(default)s)"
    add("--rate-mbps", type=_positive, default=100.0, metavar="R", help=rate_help)
    add(
        "--mtu-bytes",
        type=_mtu,
        default=1500,
        metavar="N",
        help="no packet of the stream is larger: the least MTU on the way to any edge (default %(default)s)",
    )
    overhead_help = "repair symbols sent unasked (default 0)"
    add("--overhead-percent", type=_share, default=0.0, metavar="P", help=overhead_help)
    carousel_help = (
        "send everything again and again at this rate when nothing else is to be sent (default: no)"
    )
    add("--carousel-mbps", type=_positive, default=0.0, metavar="R", help=carousel_help)
    add("--edges", type=_names, default=(), metavar="NAME,...", help="wait until these are complete")
    add("--expect", type=_count, default=0, metavar="N", help="wait until N edges are complete")
    add("--rules", type=Path, metavar="FILE", help="YAML: which files go where, and when they expire")
    add("--peer", type=Path, action="append", default=[], metavar="FILE", help="JSON: sessions of others")
    add("--json-log", type=Path, metavar="FILE", help="append events to it as JSON lines")
    _add_channels(parser)
    _add_encryption(parser)


def _add_channels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("live channels")
    group.add_argument(
        "--channel",
        type=_channel,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="publish the live HLS (index.m3u8 and what it lists) in DIR as a session of its own; repeat",
    )
    group.add_argument(
        "--channel-group-base",
        type=_group,
        default="ff35::8001:0",
        metavar="GROUP",
        help="the first channel's group; the others follow (default %(default)s)",
    )
    rate_help = "of each channel (default %(default)s)"
    group.add_argument("--channel-rate-mbps", type=_positive, default=50.0, metavar="R", help=rate_help)


def _add_encryption(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("encryption")
    group.add_argument("--encrypt", action="store_true", help="so that only members can read what is sent")
    group.add_argument(
        "--members",
        type=Path,
        metavar="FILE",
        help="JSON: names of edges with their X25519 public keys in hex; a change begins a new epoch",
    )
    group.add_argument("--new-epoch", action="store_true", help="begin a new epoch in any case")


def _add_push(push: argparse.ArgumentParser) -> None:
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


def _add_dns(dns: argparse.ArgumentParser) -> None:
    dns.add_argument("--address", type=_address, required=True, metavar="A", help="where to listen")
    dns.add_argument("--port", type=_port, default=53, metavar="N", help="UDP and TCP (default %(default)s)")
    dns.add_argument("--name", default="www.nearcast.test", help="(default %(default)s)")
    dns.add_argument("--aaaa", type=_address, required=True, metavar="ADDR", help="the name's one address")
    dns.add_argument(
        "--geo",
        type=Path,
        metavar="FILE",
        help="lines PREFIX ADDRESS: what clients of a prefix are told instead; read again on SIGHUP",
    )
    dns.add_argument("--ttl-s", type=_count, default=60, metavar="S", help="(default %(default)s)")
    dns.add_argument("--json", action="store_true", help="print what was served as JSON at the end")


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


def _dns_name(text: str) -> str:
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no host name like www.nearcast.test")
    return text.lower()


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to 3650")
    return int(text)


def _mtu(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
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


def _channel(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (equals and folder and _CHANNEL_NAME.fullmatch(name)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form news=DIR (a name of a-z, 0-9, - and _)"
        )
    return name, Path(folder)


def _target(text: str) -> tuple[str, tuple[str, int]]:
    name, equals, rest = text.partition("=")
    address, bracket, port = rest.rpartition("]:")
    if not (name and equals and bracket and address.startswith("[")):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form edge1=[fd00::1]:8081")
    return name, (_address(address[1:]), _port(port))
