"""The options of HTTPS on the command line of `python -m edge_node serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

_YEAR_S = 365 * 24 * 3600


def add_tls(serve: argparse.ArgumentParser) -> None:
    """Add them to the parser of `serve`."""
    add = serve.add_argument_group(
        "HTTPS: everything is answered on a port of its own, and --port only says where that is"
    ).add_argument
    add("--tls-certificate", type=Path, metavar="FILE", help="PEM; SIGHUP reads it again")
    add("--tls-key", type=Path, metavar="FILE", help="its private key")
    add("--tls-port", type=_port, default=443, metavar="N", help="TCP port (default %(default)s)")
    add(
        "--http2",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="offer HTTP/2 (default: yes; HTTP/1.1 is offered in any case)",
    )
    add(
        "--hsts-max-age-s",
        type=_seconds,
        default=_YEAR_S,
        metavar="S",
        help="how long browsers are to ask by HTTPS only (default %(default)s, a year; 0: no longer)",
    )


def check_tls(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error when they do not go together."""
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        parser.error("--tls-certificate and --tls-key belong together")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port number")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return int(text)
