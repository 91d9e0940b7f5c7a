"""A port scan from one namespace to a host in another, with the host's own word on what arrived."""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from experiments.peer import family_of
from topologies.namespaces import NetworkNamespace

TCP_PORTS = (22, 80, 443, 3389, 8080, 8443, 9000, 25565)
UDP_PORTS = (53, 123, 5353, 8080, 25565)
"""Below the ports that Linux gives to clients."""
WAIT_S = 2.0
_ECHO = {socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128), socket.AF_INET: (socket.IPPROTO_ICMP, 8)}
_IPV4_HEADER_BYTES = 20


@dataclass(frozen=True, slots=True)
class Knock:
    """One attempt: whether the host inside got it, and what the scanner got back (`none`, `refused`,
    `connected`, `reply`)."""

    protocol: str
    port: int
    has_arrived: bool
    answer: str


def scan(inside: NetworkNamespace, outside: NetworkNamespace, target: str) -> list[Knock]:
    """Knock at `target` from `outside`, while the host `inside` listens at every port that is tried, by TCP,
    UDP and ICMP echo. Raises OSError when sockets cannot be made."""
    family = family_of(target)
    with ExitStack() as stack:
        listeners = {port: stack.enter_context(_listener(inside, family, port)) for port in TCP_PORTS}
        receivers = {port: stack.enter_context(_udp(inside, family, port)) for port in UDP_PORTS}
        hears_echo = stack.enter_context(_raw(inside, family))
        callers = {port: stack.enter_context(_tcp(outside, family)) for port in TCP_PORTS}
        sender = stack.enter_context(_udp(outside, family, 0))
        pinger = stack.enter_context(_raw(outside, family))
        for port, caller in callers.items():
            caller.connect_ex((target, port))
        for port in UDP_PORTS:
            sender.sendto(b"knock", (target, port))
        pinger.sendto(_echo_request(family), (target, 0))
        time.sleep(WAIT_S)
        request = _ECHO[family][1]
        reply = 129 if family == socket.AF_INET6 else 0
        return [
            *(
                Knock("tcp", port, _accepts(listeners[port]), _tcp_answer(callers[port]))
                for port in TCP_PORTS
            ),
            *(Knock("udp", port, _receives(receivers[port]), "none") for port in UDP_PORTS),
            Knock("icmp", 0, _hears(hears_echo, request), "reply" if _hears(pinger, reply) else "none"),
        ]


def _listener(namespace: NetworkNamespace, family: int, port: int) -> socket.socket:
    listener = _tcp(namespace, family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen()
    return listener


def _tcp(namespace: NetworkNamespace, family: int) -> socket.socket:
    with namespace.entered():
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def _udp(namespace: NetworkNamespace, family: int, port: int) -> socket.socket:
    with namespace.entered():
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("", port))
    return sock


def _raw(namespace: NetworkNamespace, family: socket.AddressFamily) -> socket.socket:
    with namespace.entered():
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _ECHO[family][0])


def _echo_request(family: socket.AddressFamily) -> bytes:
    """An echo request; the kernel fills in the checksum of ICMPv6, that of ICMP is the user's business."""
    message = struct.pack("!BBHHH", _ECHO[family][1], 0, 0, 7, 1)
    if family == socket.AF_INET6:
        return message
    total = sum(struct.unpack("!4H", message))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return message[:2] + struct.pack("!H", checksum) + message[4:]


def _accepts(listener: socket.socket) -> bool:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def _receives(receiver: socket.socket) -> bool:
    try:
        return receiver.recv(64) == b"knock"
    except BlockingIOError:
        return False


def _hears(raw: socket.socket, kind: int) -> bool:
    offset = 0 if raw.family == socket.AF_INET6 else _IPV4_HEADER_BYTES
    with suppress(BlockingIOError):
        while data := raw.recv(2048):
            if data[offset] == kind:
                return True
    return False


def _tcp_answer(caller: socket.socket) -> str:
    error = caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.ECONNREFUSED:
        return "refused"
    with suppress(OSError):
        caller.getpeername()
        return "connected"
    return "none"
