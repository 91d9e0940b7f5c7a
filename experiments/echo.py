"""The responder of probes: UDP port 7 of the service address on every edge, which adds the edge's name.

One process serves all edges, each by a socket of its own namespace. It stands for the edge's machine, not
for its web server: it goes on when that is killed.
"""

from __future__ import annotations

import argparse
import select
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from experiments.hosts import read_hosts
from topologies.namespaces import NetworkNamespace

ECHO_PORT = 7
"""RFC 862."""


def respond(hosts: Mapping[str, NetworkNamespace], address: str) -> NoReturn:
    """Answer every datagram to `address` with what it held and the host's name. Raises OSError."""
    names: dict[int, str] = {}
    sockets: dict[int, socket.socket] = {}
    events = select.epoll()
    for name, namespace in hosts.items():
        with namespace.entered():
            echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        echo.bind((address, ECHO_PORT))
        sockets[echo.fileno()], names[echo.fileno()] = echo, name
        events.register(echo.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in events.poll():
            echo = sockets[descriptor]
            # No answer is what a prober sees of a link that is down, and of an address that went away.
            with suppress(OSError):
                data, source = echo.recvfrom(2048)
                echo.sendto(data + names[descriptor].encode(), source)


def main(argv: Sequence[str]) -> NoReturn:
    """`--address` of the service, and hosts as `experiments.hosts` words."""
    parser = argparse.ArgumentParser(prog="python -m experiments.echo")
    parser.add_argument("--address", required=True)
    parser.add_argument("hosts", nargs="+")
    arguments = parser.parse_args(argv)
    respond(read_hosts(arguments.hosts), arguments.address)
