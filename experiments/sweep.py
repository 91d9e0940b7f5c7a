"""A scan of a /64: datagrams to random addresses of it at a steady pace (RFC 6583 section 3)."""

from __future__ import annotations

import argparse
import random
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv6Network

from experiments.hosts import read_hosts

BURST_S = 0.001
"""Datagrams leave in bursts, one every millisecond."""
_PORT = 9
"""Discard (RFC 863)."""


def main(argv: Sequence[str]) -> int:
    """Sweep from one host, given as an `experiments.hosts` word."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep")
    parser.add_argument("--prefix", type=IPv6Network, required=True)
    parser.add_argument("--per-s", type=int, required=True)
    parser.add_argument("--length-s", type=float, required=True)
    parser.add_argument("--begin-s", type=float, required=True, help="on the monotonic clock")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("host")
    arguments = parser.parse_args(argv)
    (namespace,) = read_hosts([arguments.host]).values()
    with namespace.entered():
        scanner = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    chance = random.Random(arguments.seed)
    network = int(arguments.prefix.network_address)
    total, sent = round(arguments.per_s * arguments.length_s), 0
    while sent < total:
        due = round(arguments.per_s * (time.monotonic() - arguments.begin_s + BURST_S))
        for _ in range(min(due, total) - sent):
            target = (network | chance.getrandbits(64)).to_bytes(16)
            # Errors that come back are of no interest, and neither is a full queue.
            with suppress(OSError):
                scanner.sendto(b"", (socket.inet_ntop(socket.AF_INET6, target), _PORT))
            sent += 1
        time.sleep(max(BURST_S, arguments.begin_s - time.monotonic()))
    return 0
