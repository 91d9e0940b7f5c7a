"""Captures in many network namespaces by one process, from before the first interface exists.

Each capture is one packet socket with a memory-mapped TPACKET_V2 ring: frames cost no system call, the
process sleeps in epoll until some ring has frames, and the kernel's own counters say what was missed.
"""

from __future__ import annotations

import csv
import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lab.bpf import NOTHING, Filter, encode
from lab.netns import inside
from lab.pcap import PcapWriter

DEFAULT_SNAPLEN = 160
"""Bytes kept of a frame: Ethernet, IPv6, a hop-by-hop header and the transport's header."""
DEFAULT_RING_BYTES = 2 * 1024 * 1024

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_TPACKET_V2 = 1
_SO_ATTACH_FILTER = 26
_TP_STATUS_KERNEL = 0
_TP_STATUS_USER = 1
_SLOT_HEADROOM = 128  # tpacket2_hdr, sockaddr_ll, alignment and the kernel's reserve of 16 bytes
_BLOCK_BYTES = 64 * 1024
_WRITE_BUFFER_BYTES = 256 * 1024
_HEADER = struct.Struct("=IIIHHII")  # status, len, snaplen, mac, net, sec, nsec
_STATUS = struct.Struct("=I")

COLUMNS = ("node", "filter", "seen", "written", "dropped")


@dataclass(slots=True)
class _Capture:
    node: str
    filter_name: str
    socket: socket.socket
    ring: mmap.mmap
    slot_bytes: int
    slots: int
    file: BinaryIO
    writer: PcapWriter
    next_slot: int = 0
    written: int = 0

    def drain(self) -> None:
        """Write every frame the kernel has handed over; never waits."""
        ring, slot_bytes, view = self.ring, self.slot_bytes, memoryview(self.ring)
        offset = self.next_slot * slot_bytes
        try:
            while True:
                status, length, kept, mac, _net, seconds, nanoseconds = _HEADER.unpack_from(ring, offset)
                if not status & _TP_STATUS_USER:
                    return
                self.writer.write(seconds, nanoseconds, view[offset + mac : offset + mac + kept], length)
                _STATUS.pack_into(ring, offset, _TP_STATUS_KERNEL)
                self.written += 1
                self.next_slot = (self.next_slot + 1) % self.slots
                offset = self.next_slot * slot_bytes
        finally:
            view.release()

    def statistics(self) -> tuple[int, int]:
        """Frames the filter accepted and frames lost for want of room (the kernel resets both on reading)."""
        raw = self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        seen, dropped = struct.unpack("=II", raw)
        return seen, dropped

    def close(self) -> None:
        self.file.close()
        self.ring.close()
        self.socket.close()


@dataclass
class CaptureSet:
    """Captures to be run together; `open` each, then `run` here or `start` in a process of its own."""

    counts_path: Path
    """Where captures.csv goes when the captures end."""
    _captures: list[_Capture] = field(default_factory=list)
    _stop_fd: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))

    def open(
        self,
        node: str,
        namespace: int | str | Path,
        out_path: Path,
        frame_filter: Filter,
        snaplen: int = DEFAULT_SNAPLEN,
        ring_bytes: int = DEFAULT_RING_BYTES,
    ) -> None:
        """Start to collect in `namespace`, on every interface that is there or will be, except loopback.

        The socket gets its filter and ring before it is bound, so no frame slips past either. Raises
        OSError when the namespace or the file cannot be opened.
        """
        slot_bytes = 1 << (snaplen + _SLOT_HEADROOM - 1).bit_length()
        block_bytes = max(_BLOCK_BYTES, slot_bytes)
        blocks = max(1, ring_bytes // block_bytes)
        slots = blocks * (block_bytes // slot_bytes)
        with inside(namespace):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            _attach(sock, frame_filter, snaplen)
            sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            request = struct.pack("=IIII", block_bytes, blocks, slot_bytes, slots)
            sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            ring = mmap.mmap(sock.fileno(), blocks * block_bytes)
            out_path.parent.mkdir(parents=True, exist_ok=True)
            file = out_path.open("wb", buffering=_WRITE_BUFFER_BYTES)
            _bind_to_all_interfaces(sock)
        except BaseException:
            sock.close()
            raise
        writer = PcapWriter(file, snaplen)
        file.flush()  # so that a forked copy of the buffer holds nothing that could be written twice
        capture = _Capture(node, frame_filter.name, sock, ring, slot_bytes, slots, file, writer)
        self._captures.append(capture)

    def run(self) -> None:
        """Collect until `request_stop`; then write what is left, the counts, and close everything."""
        captures = {capture.socket.fileno(): capture for capture in self._captures}
        with select.epoll() as events:
            events.register(self._stop_fd, select.EPOLLIN)
            for descriptor in captures:
                events.register(descriptor, select.EPOLLIN)
            stopping = False
            while not stopping:
                for descriptor, _ in events.poll():
                    if descriptor == self._stop_fd:
                        stopping = True
                    else:
                        captures[descriptor].drain()
        self._finish()

    def request_stop(self) -> None:
        """Ask `run` to end, from any thread, process or signal handler."""
        os.eventfd_write(self._stop_fd, 1)

    def start(self) -> CaptureProcess:
        """Run in a forked process, which also ends cleanly on SIGTERM; this process lets go of the sockets."""
        process_id = os.fork()
        if process_id == 0:
            status = 1
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, lambda *_: self.request_stop())
                self.run()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        for capture in self._captures:
            capture.close()
        return CaptureProcess(process_id, self._stop_fd, self.counts_path)

    def _finish(self) -> None:
        rows = []
        for capture in self._captures:
            _attach(capture.socket, NOTHING, 0)
            capture.drain()
            seen, dropped = capture.statistics()
            rows.append((capture.node, capture.filter_name, seen, capture.written, dropped))
            capture.close()
        beside = self.counts_path.with_suffix(".new")
        with beside.open("w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(COLUMNS)
            out.writerows(rows)
        beside.replace(self.counts_path)


@dataclass(frozen=True, slots=True)
class CaptureProcess:
    """The process that `CaptureSet.start` forked."""

    process_id: int
    stop_fd: int
    counts_path: Path

    def stop(self) -> None:
        """End the captures and wait until every file is complete.

        Raises RuntimeError when the process failed: its files are then not to be trusted.
        """
        os.eventfd_write(self.stop_fd, 1)
        _, status = os.waitpid(self.process_id, 0)
        os.close(self.stop_fd)
        if status != 0:
            code = os.waitstatus_to_exitcode(status)
            raise RuntimeError(f"captures: the process ended with {code}; {self.counts_path} is missing")


def _attach(sock: socket.socket, frame_filter: Filter, snaplen: int) -> None:
    program = frame_filter.assemble(snaplen)
    buffer = ctypes.create_string_buffer(encode(program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(buffer))
    )


def _bind_to_all_interfaces(sock: socket.socket) -> None:
    # socket.bind asks the kernel for the interface's index first and so cannot say "all of them".
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot capture on all interfaces: {os.strerror(error)}")
