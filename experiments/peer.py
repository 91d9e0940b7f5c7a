"""A TCP peer that says whom it sees, sends and receives: for addresses end to end, path MTU and throughput.

A client sends one line of JSON, {"send": BYTES, "receive": BYTES}: what it will send and what it wants. The
peer reads the one, answers with a line of JSON, {"client": [ADDRESS, PORT], "received": BYTES}, and sends the
other. Works over IPv4 too, for comparison.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from experiments.hosts import read_hosts
from topologies.namespaces import NetworkNamespace

PEER_PORT = 5001
TIMEOUT_S = 30.0
_CHUNK = bytes(64 << 10)
_IPV6_MTU = 24
_IP_MTU = 14


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a client saw: `handshake_ms` and `mbps` by its own clock, `seen` its address and port as the peer
    saw them; `path_mtu` at the end, `is_complete` when every byte arrived."""

    own: str
    seen: str
    handshake_ms: float
    mbps: float
    path_mtu: int
    is_complete: bool


def family_of(address: str) -> socket.AddressFamily:
    """IPv6 or IPv4, by the form of the address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def exchange(namespace: NetworkNamespace, address: str, *, send: int, receive: int) -> Exchange:
    """Connect to a peer from a namespace, send and receive so many bytes.

    Raises OSError when nobody is there.
    """
    with namespace.entered():
        connection = socket.socket(family_of(address), socket.SOCK_STREAM)
    with connection:
        connection.settimeout(TIMEOUT_S)
        began_s = time.monotonic()
        connection.connect((address, PEER_PORT))
        connected_s = time.monotonic()
        own = _text(connection.getsockname())
        answer: dict[str, Any] = {"client": ("", 0), "received": 0}
        got = 0
        with suppress(TimeoutError, ConnectionError):
            connection.sendall(json.dumps({"send": send, "receive": receive}).encode() + b"\n")
            _send(connection, send)
            stream = connection.makefile("rb")
            answer = json.loads(stream.readline() or b"{}") or answer
            while got < receive and (data := stream.read1(1 << 20)):
                got += len(data)
        seconds = time.monotonic() - connected_s
        return Exchange(
            own=own,
            seen=_text(answer["client"]),
            handshake_ms=(connected_s - began_s) * 1000,
            mbps=(answer["received"] + got) * 8e-6 / seconds,
            path_mtu=_path_mtu(connection),
            is_complete=answer["received"] == send and got == receive,
        )


def _path_mtu(connection: socket.socket) -> int:
    if connection.family == socket.AF_INET6:
        return connection.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
    return connection.getsockopt(socket.IPPROTO_IP, _IP_MTU)


def _text(name: Sequence[Any]) -> str:
    return f"{name[0]} {name[1]}"


def _send(connection: socket.socket, size: int) -> None:
    while size > 0:
        size -= connection.send(_CHUNK[: min(size, len(_CHUNK))])


def _serve(listener: socket.socket) -> None:
    while True:
        connection, client = listener.accept()
        threading.Thread(target=_converse, args=(connection, client), daemon=True).start()


def _converse(connection: socket.socket, client: Sequence[Any]) -> None:
    # A client that goes away has given up, which it will say itself.
    with connection, suppress(OSError):
        connection.settimeout(TIMEOUT_S)
        stream = connection.makefile("rb")
        wanted = json.loads(stream.readline())
        received = 0
        while received < wanted["send"] and (data := stream.read1(1 << 20)):
            received += len(data)
        connection.sendall(json.dumps({"client": list(client[:2]), "received": received}).encode() + b"\n")
        _send(connection, wanted["receive"])


def main(argv: Sequence[str]) -> int:
    """Serve at `--address` on each host given as an `experiments.hosts` word, until killed."""
    parser = argparse.ArgumentParser(prog="python -m experiments.peer")
    parser.add_argument("--address", required=True)
    parser.add_argument("hosts", nargs="+")
    arguments = parser.parse_args(argv)
    for namespace in read_hosts(arguments.hosts).values():
        with namespace.entered():
            listener = socket.socket(family_of(arguments.address), socket.SOCK_STREAM)
        listener.bind((arguments.address, PEER_PORT))
        listener.listen()
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    print("listening", flush=True)
    threading.Event().wait()
    return 0
