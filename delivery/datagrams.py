"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), which Python's sockets do not offer.

A stream is thousands of datagrams a second; a system call for each costs more than everything else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence

BATCH = 64
"""Datagrams per system call."""
MAX_DATAGRAM_BYTES = 2048
"""More than a stream's datagrams ever have (an Ethernet frame holds 1500); longer ones are not ours."""
_TRUNCATED = 0x20
_DONT_WAIT = 0x40
_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


class Inbox:
    """Reads a non-blocking UDP socket in batches; its buffers are made once."""

    def __init__(self, sock: socket.socket) -> None:
        """Read from `sock`, which stays the caller's."""
        self._socket = sock
        self._room = bytearray(BATCH * MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._room)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._room))
        self._vectors = (_Vector * BATCH)()
        self._messages = (_Message * BATCH)()
        for index in range(BATCH):
            self._vectors[index] = _Vector(base + index * MAX_DATAGRAM_BYTES, MAX_DATAGRAM_BYTES)
            self._messages[index].header.vectors = ctypes.pointer(self._vectors[index])
            self._messages[index].header.vector_count = 1

    def receive(self) -> list[bytes]:
        """The datagrams that wait, at most `BATCH`; fewer mean that no more wait. Raises OSError."""
        count = _libc.recvmmsg(self._socket.fileno(), self._messages, BATCH, _DONT_WAIT, None)
        if count < 0:
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(error, os.strerror(error))
        view, messages = self._view, self._messages
        return [
            bytes(view[index * MAX_DATAGRAM_BYTES : index * MAX_DATAGRAM_BYTES + messages[index].length])
            for index in range(count)
            if not messages[index].header.flags & _TRUNCATED
        ]


def send(sock: socket.socket, datagrams: Sequence[bytes]) -> int:
    """Send datagrams on a connected, non-blocking UDP socket; how many the kernel took, maybe fewer.

    Raises BlockingIOError when it takes none now, OSError when it refuses the first.
    """
    count = min(len(datagrams), BATCH)
    vectors = (_Vector * count)()
    messages = (_Message * count)()
    for index in range(count):
        datagram = datagrams[index]
        vectors[index] = _Vector(ctypes.cast(ctypes.c_char_p(datagram), ctypes.c_void_p), len(datagram))
        messages[index].header.vectors = ctypes.pointer(vectors[index])
        messages[index].header.vector_count = 1
    sent = int(_libc.sendmmsg(sock.fileno(), messages, count, _DONT_WAIT))
    if sent < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return sent
