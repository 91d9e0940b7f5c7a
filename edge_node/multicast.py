"""The socket that hears one source-specific group (RFC 4607, RFC 3678)."""

from __future__ import annotations

import socket
import struct

_MCAST_JOIN_SOURCE_GROUP = 46
_IPV6_MULTICAST_ALL = 29
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 16 << 20
"""A site's bundles arrive at the stream's full rate while the disk is written: room for a second or more."""


class MulticastError(Exception):
    """The group cannot be joined; the message says which, where and why."""


def join(group: str, source: str, interface: str, port: int) -> socket.socket:
    """A non-blocking UDP socket that receives `port` of (`source`, `group`) on `interface` and nothing else.

    The kernel reports the membership by MLDv2 and withdraws it when the process ends. Raises MulticastError.
    """
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        index = socket.if_nametoindex(interface)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        _grow_buffer(listener)
        listener.bind((group, port, 0, index))
        request = struct.pack("=I4x", index) + _address(group) + _address(source)
        listener.setsockopt(socket.IPPROTO_IPV6, _MCAST_JOIN_SOURCE_GROUP, request)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise MulticastError(
            f"cannot join ({source}, {group}) on {interface} port {port}: {error.strerror or error}; "
            "check --group, --source and --interface"
        ) from None
    return listener


def _grow_buffer(listener: socket.socket) -> None:
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except PermissionError:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)


def _address(address: str) -> bytes:
    """A sockaddr_in6 in the room of a sockaddr_storage."""
    packed = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 0, 0)
    return (packed + socket.inet_pton(socket.AF_INET6, address) + bytes(4)).ljust(128, b"\0")
