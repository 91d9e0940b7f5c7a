"""A packet socket on all interfaces of a network namespace, read in batches (packet(7), recvmmsg(2)).

Not a memory-mapped ring: a User-Mode Linux process does not see the kernel's writes to one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lab.bpf import Filter, encode
from topologies.namespaces import NetworkNamespace

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_OUTGOING = 4
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_BATCH = 64
_CONTROL_BYTES = 128
_CONTROL_HEADER = struct.Struct("=Qii")  # cmsg_len, cmsg_level, cmsg_type
_TIMESPEC = struct.Struct("=qq")

Frame = tuple[int, int, memoryview, int]
"""Seconds and nanoseconds since the epoch, the bytes kept, the length on the wire."""


class _IoVector(ctypes.Structure):
    _fields_: ClassVar = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    """struct msghdr."""

    _fields_: ClassVar = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Received(ctypes.Structure):
    """struct mmsghdr: a message and the number of bytes received."""

    _fields_: ClassVar = [("message", _Message), ("bytes", ctypes.c_uint32)]


class Batch:
    """Buffers for one call of recvmmsg; one batch serves any number of sockets, one after the other."""

    def __init__(self, frame_bytes: int) -> None:
        """Room for frames of up to `frame_bytes` bytes kept."""
        self._frame_bytes = frame_bytes
        self._frames = ctypes.create_string_buffer(_BATCH * frame_bytes)
        self._controls = ctypes.create_string_buffer(_BATCH * _CONTROL_BYTES)
        self._vectors = (_IoVector * _BATCH)()
        self._messages = (_Received * _BATCH)()
        self._libc = ctypes.CDLL(None, use_errno=True)
        for index in range(_BATCH):
            vector = self._vectors[index]
            vector.base = ctypes.addressof(self._frames) + index * frame_bytes
            vector.length = frame_bytes
            message = self._messages[index].message
            message.vectors = ctypes.addressof(vector)
            message.vector_count = 1
            message.control = ctypes.addressof(self._controls) + index * _CONTROL_BYTES

    def receive(self, descriptor: int) -> Iterator[Frame]:
        """Every frame that waits in the socket, without waiting for more. Raises OSError.

        A frame's bytes are valid until the next one is asked for.
        """
        frames, controls = memoryview(self._frames).cast("B"), memoryview(self._controls).cast("B")
        count = _BATCH
        while count == _BATCH:
            for received in self._messages:
                received.message.control_length = _CONTROL_BYTES
            count = self._libc.recvmmsg(descriptor, self._messages, _BATCH, socket.MSG_DONTWAIT, None)
            if count < 0:
                error = ctypes.get_errno()
                if error in (errno.EAGAIN, errno.EINTR):
                    return
                raise OSError(error, f"capture: {os.strerror(error)}")
            for index in range(count):
                received = self._messages[index]
                start = index * _CONTROL_BYTES
                control = controls[start : start + received.message.control_length]
                start = index * self._frame_bytes
                seconds, nanoseconds, length = _read_control(control)
                yield seconds, nanoseconds, frames[start : start + received.bytes], length


def _read_control(control: memoryview) -> tuple[int, int, int]:
    """The kernel's timestamp and the frame's length on the wire (struct tpacket_auxdata)."""
    seconds = nanoseconds = length = 0
    while len(control) >= _CONTROL_HEADER.size:
        size, level, kind = _CONTROL_HEADER.unpack_from(control)
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(control, _CONTROL_HEADER.size)
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            length = struct.unpack_from("=I", control, _CONTROL_HEADER.size + 4)[0]
        control = control[(size + 7) & ~7 :]
    return seconds, nanoseconds, length


def open_packet_socket(
    namespace: NetworkNamespace, frame_filter: Filter, snaplen: int, receive_buffer_bytes: int | None = None
) -> socket.socket:
    """A socket that gets every frame `frame_filter` accepts, cut to `snaplen` bytes, on every present and
    future interface of the namespace.

    The filter is attached before the socket is bound, so no frame slips past it. Raises OSError.
    """
    with namespace.entered():
        sock = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
    try:
        attach(sock, frame_filter, snaplen)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        size = _RECEIVE_BUFFER_BYTES if receive_buffer_bytes is None else receive_buffer_bytes
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:  # an ordinary user gets what net.core.rmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        _bind_to_all_interfaces(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def attach(sock: socket.socket, frame_filter: Filter, snaplen: int) -> None:
    """Set or replace the socket's filter. Raises OSError."""
    program = frame_filter.assemble(snaplen)
    buffer = ctypes.create_string_buffer(encode(program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(buffer))
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that a socket got on `interface`: sent there, or received (not `is_sent`); `size` in bytes on
    the wire, of which `head` are the first."""

    unix_ns: int
    interface: str
    is_sent: bool
    size: int
    head: bytes


def receive_arrival(sock: socket.socket, keep_bytes: int) -> Arrival | None:
    """The next frame that waits, with its interface, which batches do not tell; None when none does.

    Raises OSError.
    """
    try:
        head, controls, _, address = sock.recvmsg(keep_bytes, 2 * _CONTROL_BYTES)
    except BlockingIOError:
        return None
    unix_ns = size = 0
    for level, kind, value in controls:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            unix_ns = seconds * 1_000_000_000 + nanoseconds
        elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            size = struct.unpack_from("=I", value, 4)[0]
    return Arrival(unix_ns, address[0], address[2] == _PACKET_OUTGOING, size, head)


def statistics(sock: socket.socket) -> tuple[int, int]:
    """Frames the filter accepted and frames of these lost for want of room, since the last call."""
    seen, dropped = struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return seen, dropped


def _bind_to_all_interfaces(sock: socket.socket) -> None:
    # socket.bind asks the kernel for the interface's index first and so cannot say "all of them".
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot capture on all interfaces: {os.strerror(error)}")
