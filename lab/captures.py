"""Captures in many network namespaces by one process, from before the first interface exists.

The process sleeps until some socket has frames; the kernel's own counters say what was missed.
"""

from __future__ import annotations

import csv
import os
import select
import signal
import socket
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lab.bpf import NOTHING, Filter
from lab.packet_socket import Batch, attach, open_packet_socket, statistics
from lab.pcap import PcapWriter
from topologies.namespaces import NetworkNamespace

SNAPLEN = 160
"""Bytes kept of a frame: Ethernet, IPv6, a hop-by-hop header and the transport's header."""
COLUMNS = ("node", "filter", "seen", "written", "dropped")
_WRITE_BUFFER_BYTES = 256 * 1024


@dataclass(slots=True)
class _Capture:
    node: str
    filter_name: str
    socket: socket.socket
    file: BinaryIO
    writer: PcapWriter
    written: int = 0

    def drain(self, batch: Batch) -> None:
        """Write every frame that waits; never waits itself."""
        for seconds, nanoseconds, frame, length in batch.receive(self.socket.fileno()):
            self.writer.write(seconds, nanoseconds, frame, length)
            self.written += 1

    def close(self) -> None:
        self.file.close()
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
        namespace_fd: int,
        out_path: Path,
        frame_filter: Filter,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        """Start to collect in a network namespace, on every present and future interface but loopback.

        Frames wait in the socket until the captures run. Raises OSError when the namespace or the file
        cannot be opened.
        """
        namespace = NetworkNamespace(namespace_fd, node)
        sock = open_packet_socket(namespace, frame_filter, SNAPLEN, receive_buffer_bytes)
        try:
            out_path.parent.mkdir(parents=True, exist_ok=True)
            file = out_path.open("wb", buffering=_WRITE_BUFFER_BYTES)
        except BaseException:
            sock.close()
            raise
        writer = PcapWriter(file, SNAPLEN)
        file.flush()  # so that a forked copy of the buffer holds nothing that could be written twice
        self._captures.append(_Capture(node, frame_filter.name, sock, file, writer))

    def run(self) -> None:
        """Collect until `request_stop`; then write what is left, the counts, and close everything."""
        captures = {capture.socket.fileno(): capture for capture in self._captures}
        batch = Batch(SNAPLEN)
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
                        captures[descriptor].drain(batch)
        self._finish(batch)

    def request_stop(self) -> None:
        """Ask `run` to end, from any thread, process or signal handler."""
        os.eventfd_write(self._stop_fd, 1)

    def start(self) -> CaptureProcess:
        """Run in a forked process, which also ends cleanly on SIGTERM; this one lets go of the sockets."""
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

    def _finish(self, batch: Batch) -> None:
        rows = []
        for capture in self._captures:
            attach(capture.socket, NOTHING, 0)  # one definite last frame, so that the counts add up
            capture.drain(batch)
            seen, dropped = statistics(capture.socket)
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
