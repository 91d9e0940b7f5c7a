"""Frames of chosen streams on every link, seen at the switches' ports: when, where and how many bytes.

One packet socket for each filter sees all ports of the switches' namespace. A thread empties it, so that
nothing is lost for want of room; the frames stay in memory until the tap is closed.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.bpf import Filter
from lab.packet_socket import open_packet_socket, receive_arrival, statistics
from topologies.namespaces import NetworkNamespace
from topologies.spec import Link, Topology

KEEP_BYTES = 160
"""Of each frame: Ethernet, IPv6, TCP with options, and the first line of a request."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of `size` bytes that came over a link from `source` to `target`; `t_s` is monotonic, when its
    last bit had arrived there. `head` are its first bytes."""

    t_s: float
    link: Link
    source: str
    target: str
    size: int
    head: bytes


class Tap:
    """Sees the frames that one of `filters` accepts, on every link; open it in the switches' namespace.

    A link is looked at where a switch receives; one to a host where the switch sends, behind its queue and
    the link's delay. Frames that were lost on the way are not seen.
    """

    def __init__(self, topology: Topology, filters: Sequence[Filter]) -> None:
        """Begin. Raises OSError."""
        self._ways: dict[tuple[str, bool], tuple[Link, str, str]] = {}
        for link in topology.links:
            for source, target in ((link.a, link.b), (link.b, link.a)):
                is_sent = not topology.role(target).is_switch
                port = topology.port(source, target) if is_sent else topology.port(target, source)
                self._ways[port.interface, is_sent] = link, source, target
        here = NetworkNamespace.current()
        try:
            self._sockets = [open_packet_socket(here, each, KEEP_BYTES) for each in filters]
        finally:
            here.close()
        # The kernel stamps frames with the time of day.
        self._unix_offset_ns = time.time_ns() - time.monotonic_ns()
        self._seen: list[Seen] = []
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._collect, name="tap")
        self._thread.start()

    def close(self) -> tuple[list[Seen], int]:
        """End; the frames in the order of their times, and how many were lost for want of room."""
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join()
        os.close(self._stop_fd)
        lost = 0
        for sock in self._sockets:
            self._drain(sock)
            lost += statistics(sock)[1]
            sock.close()
        return sorted(self._seen, key=lambda seen: seen.t_s), lost

    def _collect(self) -> None:
        with select.epoll() as events:
            events.register(self._stop_fd, select.EPOLLIN)
            sockets = {sock.fileno(): sock for sock in self._sockets}
            for descriptor in sockets:
                events.register(descriptor, select.EPOLLIN)
            while True:
                ready = [descriptor for descriptor, _ in events.poll()]
                if self._stop_fd in ready:
                    return
                for descriptor in ready:
                    self._drain(sockets[descriptor])

    def _drain(self, sock: socket.socket) -> None:
        while (frame := receive_arrival(sock, KEEP_BYTES)) is not None:
            way = self._ways.get((frame.interface, frame.is_sent))
            if way is not None:
                t_s = (frame.unix_ns - self._unix_offset_ns) * 1e-9
                self._seen.append(Seen(t_s, *way, frame.size, frame.head))


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment over IPv6: both ends as address and port, and the payload that was kept."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    payload: bytes

    @property
    def connection(self) -> frozenset[tuple[bytes, int]]:
        """The same for both directions."""
        return frozenset((self.source, self.target))


def parse_segment(head: bytes) -> Segment:
    """The TCP segment in an Ethernet frame that a filter of `lab.bpf.of_tcp_port` accepted."""
    source_port, target_port = struct.unpack_from("!HH", head, 54)
    payload_at = 54 + (head[66] >> 4) * 4
    return Segment((head[22:38], source_port), (head[38:54], target_port), head[payload_at:])
