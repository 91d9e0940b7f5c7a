"""Counters of every link, read over netlink: two dumps a sample, parsed here because it happens often.

The switches' namespace holds one end of every link. What a switch port sent went from the switch to its
peer; what a host's port received came from the host. Packets lost on the way (netem loss, full queues)
never reach a device's counters, so the root queueing discipline's drops are read as well: with them,
what was sent is known even when it did not arrive. A host's own drops are in the host's namespace and
are read there for the hosts that are named.
"""

from __future__ import annotations

import csv
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from topologies.namespaces import NetworkNamespace
from topologies.spec import Port, Topology

COLUMNS = ("phase", "t_s", "link", "from", "to", "layer", "bytes", "packets", "drops")

_RTM_GETLINK = 18
_RTM_GETQDISC = 38
_RTM_GETSTATS = 94
_NLM_F_DUMP_REQUEST = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_IFLA_IFNAME = 3
_IFLA_STATS_LINK_64 = 1
_TCA_STATS2 = 7
_TCA_STATS_QUEUE = 3
_TC_H_ROOT = 0xFFFFFFFF
_RECEIVE_BYTES = 256 * 1024
_MESSAGE = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_STATS64 = struct.Struct("=8Q")  # rx_packets tx_packets rx_bytes tx_bytes rx/tx_errors rx/tx_dropped
_QUEUE = struct.Struct("=IIIII")  # qlen backlog drops requeues overlimits


@dataclass(frozen=True, slots=True)
class PortCounters:
    """Cumulative counters of one interface; `drops` are packets it was to send and lost."""

    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int
    drops: int


@dataclass(frozen=True, slots=True)
class DirectionCounters:
    """What one direction of a link carried so far; `drops` were sent but lost before the other end."""

    link: str
    source: str
    target: str
    layer: str
    bytes: int
    packets: int
    drops: int


class CounterError(RuntimeError):
    """The kernel refused to tell its counters, or an interface of the topology is missing."""


class CounterSocket:
    """A route netlink socket; it reads the network namespace it was opened in."""

    def __init__(self) -> None:
        """Open in the calling thread's namespace. Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0
        self._names: dict[int, str] = {}

    def read(self) -> dict[str, PortCounters]:
        """The counters of every interface, by name. Raises CounterError."""
        # A dump that meets a change of the interfaces may skip some, so names are read anew when one is new.
        stats = dict(self._statistics())
        if not stats.keys() <= self._names.keys():
            self._names = dict(self._interface_names())
        drops = dict(self._drops())
        return {
            self._names[index]: PortCounters(
                rx_bytes=rx_bytes,
                rx_packets=rx_packets,
                tx_bytes=tx_bytes,
                tx_packets=tx_packets,
                drops=drops.get(index, 0) + tx_dropped,
            )
            for index, (rx_packets, tx_packets, rx_bytes, tx_bytes, _, _, _, tx_dropped) in stats.items()
            if index in self._names
        }

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    def _statistics(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        request = struct.pack("=BBHII", socket.AF_UNSPEC, 0, 0, 0, 1 << (_IFLA_STATS_LINK_64 - 1))
        for message in self._dump(_RTM_GETSTATS, request):
            index = struct.unpack_from("=I", message, 4)[0]
            for kind, value in _attributes(message[12:]):
                if kind == _IFLA_STATS_LINK_64:
                    yield index, _STATS64.unpack_from(value)

    def _interface_names(self) -> Iterator[tuple[int, str]]:
        for message in self._dump(_RTM_GETLINK, struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, 0, 0, 0)):
            index = struct.unpack_from("=i", message, 4)[0]
            for kind, value in _attributes(message[16:]):
                if kind == _IFLA_IFNAME:
                    yield index, bytes(value).rstrip(b"\0").decode()

    def _drops(self) -> Iterator[tuple[int, int]]:
        request = struct.pack("=BBHiIII", socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0)
        for message in self._dump(_RTM_GETQDISC, request):
            index, _handle, parent = struct.unpack_from("=iII", message, 4)
            if parent != _TC_H_ROOT:
                continue  # a root discipline's count includes its children's
            for kind, value in _attributes(message[20:]):
                if kind == _TCA_STATS2:
                    for inner, counters in _attributes(value):
                        if inner == _TCA_STATS_QUEUE:
                            yield index, _QUEUE.unpack_from(counters)[2]

    def _dump(self, kind: int, body: bytes) -> Iterator[memoryview]:
        """The bodies of all answers to one dump request."""
        self._sequence += 1
        length = _MESSAGE.size + len(body)
        self._socket.send(_MESSAGE.pack(length, kind, _NLM_F_DUMP_REQUEST, self._sequence, 0) + body)
        while True:
            data = memoryview(self._socket.recv(_RECEIVE_BYTES))
            while len(data) >= _MESSAGE.size:
                length, answer, _flags, sequence, _ = _MESSAGE.unpack_from(data)
                if sequence == self._sequence:
                    if answer == _NLMSG_DONE:
                        return
                    if answer == _NLMSG_ERROR:
                        error = -struct.unpack_from("=i", data, _MESSAGE.size)[0]
                        raise CounterError(f"netlink dump {kind} failed with error {error}")
                    yield data[_MESSAGE.size : length]
                data = data[(length + 3) & ~3 :]


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def directions(
    topology: Topology,
    switches: Mapping[str, PortCounters],
    hosts: Mapping[str, Mapping[str, PortCounters]],
) -> Iterator[DirectionCounters]:
    """Both directions of every link, in the order of the topology.

    `switches` are the counters of the switches' namespace, `hosts` those of the hosts' own namespaces as
    far as they were read. Raises CounterError when a switch port is missing.
    """
    for link in topology.links:
        for source, target in ((link.a, link.b), (link.b, link.a)):
            port = topology.port(source, target)
            if topology.role(source).is_switch:
                counters = _port(switches, port)
                sent = (counters.tx_bytes, counters.tx_packets, counters.drops)
            else:
                counters = _port(switches, topology.port(target, source))
                own = hosts.get(source, {}).get(port.interface)
                sent = (counters.rx_bytes, counters.rx_packets, own.drops if own else 0)
            yield DirectionCounters(link.name, source, target, topology.link_layer(link), *sent)


def _port(counters: Mapping[str, PortCounters], port: Port) -> PortCounters:
    try:
        return counters[port.interface]
    except KeyError:
        raise CounterError(
            f"no interface {port.interface} in the switches' namespace; is the network built?"
        ) from None


class CounterSampler:
    """Appends samples of all links to links.csv; open it in the switches' namespace.

    `origin` is the monotonic time that `t_s` counts from. `namespaces` are hosts' namespaces by node name
    whose own drops are to be counted (the drops of a host that is not named are unknown and written as 0).
    """

    def __init__(
        self,
        topology: Topology,
        path: Path,
        *,
        origin: float,
        namespaces: Mapping[str, NetworkNamespace] | None = None,
    ) -> None:
        """Open the netlink sockets and the file. Raises OSError."""
        self._topology = topology
        self._began = origin
        self._switches = CounterSocket()
        self._hosts: dict[str, CounterSocket] = {}
        for name, namespace in (namespaces or {}).items():
            with namespace.entered():
                self._hosts[name] = CounterSocket()
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._lock = threading.Lock()

    def sample(self, phase: str, now: float | None = None) -> None:
        """Append one sample, taken `now` (monotonic seconds, default: the clock). Raises CounterError."""
        with self._lock:
            t_s = (time.monotonic() if now is None else now) - self._began
            hosts = {name: counters.read() for name, counters in self._hosts.items()}
            for row in directions(self._topology, self._switches.read(), hosts):
                place = (row.link, row.source, row.target, row.layer)
                self._writer.writerow((phase, f"{t_s:.6f}", *place, row.bytes, row.packets, row.drops))
            self._file.flush()

    @contextmanager
    def phase(self, name: str, interval_s: float) -> Iterator[None]:
        """Sample at the beginning and the end of the block and every `interval_s` seconds in between.

        Raises CounterError at the end of the block when a sample in between failed.
        """
        done = threading.Event()
        failures: list[Exception] = []

        def periodically() -> None:
            try:
                while not done.wait(interval_s):
                    self.sample(name)
            except (CounterError, OSError) as error:
                failures.append(error)

        self.sample(name)
        thread = threading.Thread(target=periodically, name=f"counters-{name}")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        self.sample(name)
        if failures:
            raise CounterError(f"links.csv has a gap in phase {name}: {failures[0]}")

    def close(self) -> None:
        """Close the file and the sockets."""
        self._file.close()
        for counters in (self._switches, *self._hosts.values()):
            counters.close()

    def __enter__(self) -> CounterSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
