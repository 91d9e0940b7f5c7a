"""One IPsec tunnel to each edge, and the unicast push through it: a VPN from site to site."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from experiments.testbed import SYNC_PORT
from experiments.ways import esp
from experiments.ways.esp import SITES, Configured, Gateway
from experiments.ways.listening import wait_listening
from experiments.ways.stores import Push
from experiments.ways.way import Arrival, Task
from lab.bpf import Condition, Filter
from lab.packet_socket import open_packet_socket, statistics
from topologies.namespaces import NetworkNamespace

COLUMNS = (
    *("cell", "edges", "origin_associations", "origin_policies", "edge_associations", "edge_policies"),
    *("esp_frames", "clear_frames", "inner_bytes", "inner_packets"),
)
HTTP_PORT = 8082
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_OUTGOING = Condition(_LOAD_WORD, 0xFFFFF004, 4)
"""SKF_AD_PKTTYPE is PACKET_OUTGOING."""
_IPV6 = Condition(_LOAD_HALF, 12, 0x86DD)
_DESTINATION_OFFSET = 14 + 24
ESP_PROTOCOL = 50
SENT_ESP = Filter("sent ESP", (_OUTGOING, _IPV6, Condition(_LOAD_BYTE, 14 + 6, ESP_PROTOCOL)))
SENT_CLEAR = Filter(
    "sent to a site in the clear",
    (
        _OUTGOING,
        _IPV6,
        Condition(_LOAD_WORD, _DESTINATION_OFFSET, int(SITES.network_address) >> 96),
        Condition(_LOAD_HALF, _DESTINATION_OFFSET + 4, int(SITES.network_address) >> 80 & 0xFFFF),
    ),
)
_LEAST_BUFFER_BYTES = 4096


class Tunnel(Push):
    """`python -m origin push` to the edges' addresses behind their tunnels."""

    def __init__(self, task: Task) -> None:
        """Nothing happens yet."""
        super().__init__(task)
        self._held: list[Configured] = []
        self._counters: FrameCounters | None = None

    def prepare(self) -> None:
        """Tunnels, a receiver behind each, and counters of what leaves the origin. Raises RuntimeError."""
        origin = self.task.testbed.origin
        self._configure(origin, self._own, list(self._gateways.values()))
        for edge, end in self._gateways.items():
            self._configure(edge, end, [self._own])
            self._start_receiver(edge, str(end.inner))
        self._counters = FrameCounters(self.task.context.namespace(origin))
        self.stack.callback(self._counters.close)

    def arrivals(self) -> list[Arrival]:
        """As for the push; what went through the tunnels is written down now that the line is quiet."""
        if self._counters is not None:
            at_origin, *at_edges = self._held
            edges = (sum(end.associations for end in at_edges), sum(end.policies for end in at_edges))
            configured = (at_origin.associations, at_origin.policies, *edges)
            host = self.task.testbed.net[self.task.testbed.origin]
            counted = (*self._counters.counts(), *esp.protected(host, self._own))
            row = (self.task.name, len(self.task.edges), *configured, *counted)
            self.task.context.write("tunnels.csv", COLUMNS, [row])
        return super().arrivals()

    def targets(self) -> Mapping[str, str]:
        """The edges' addresses behind the tunnels."""
        return {edge: str(end.inner) for edge, end in self._gateways.items()}

    def store(self, edge: str) -> Path:
        """A store of the receiver's own."""
        return self.task.folder / "stores" / edge

    def events(self, edge: str) -> Path:
        """The receiver's events."""
        return self.task.testbed.raw / f"{self.task.name}-{edge}.jsonl"

    def close(self) -> None:
        """End the receivers, take the tunnels down and drop the stores."""
        super().close()
        shutil.rmtree(self.task.folder / "stores", ignore_errors=True)

    @cached_property
    def _own(self) -> Gateway:
        return Gateway(0, self.task.origin_address)

    @cached_property
    def _gateways(self) -> dict[str, Gateway]:
        addresses = {edge: self.task.address(edge) for edge in self.task.edges}
        return {edge: Gateway(number, addresses[edge]) for number, edge in enumerate(addresses, start=1)}

    def _configure(self, host: str, own: Gateway, peers: list[Gateway]) -> None:
        testbed = self.task.testbed
        self._held.append(esp.configure(testbed.net[host], own, peers, testbed.scenario.seed))
        self.stack.callback(esp.remove, testbed.net[host], own, peers)

    def _start_receiver(self, edge: str, address: str) -> None:
        """The edge's own server, with a store of its own, reachable through the tunnel only."""
        testbed = self.task.testbed
        argv = ["serve", "--name", edge, "--store", str(self.store(edge))]
        argv += ["--address", address, "--port", str(HTTP_PORT)]
        argv += ["--sync-address", address, "--sync-port", str(SYNC_PORT)]
        argv += ["--public-key", str(testbed.public_key), "--report-file", str(self.events(edge))]
        namespace = self.task.context.namespace(edge)
        name = f"{self.task.name}-{edge}"
        receiver = testbed.processes.start_module(name, "edge_node.__main__", argv, namespace)

        def stop() -> None:
            testbed.processes.forget(receiver)
            receiver.stop()

        self.stack.callback(stop)
        wait_listening(namespace, address, SYNC_PORT, receiver.check_running)


class FrameCounters:
    """What leaves the origin, counted by the kernel on the way to the line: sockets nobody reads from."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        """Count from now on. Raises OSError."""
        self._esp, self._clear = (
            open_packet_socket(namespace, wanted, 1, _LEAST_BUFFER_BYTES) for wanted in (SENT_ESP, SENT_CLEAR)
        )

    def counts(self) -> tuple[int, int]:
        """Frames with ESP, and frames to a site behind a tunnel without, since the last call."""
        return statistics(self._esp)[0], statistics(self._clear)[0]

    def close(self) -> None:
        """Stop counting."""
        self._esp.close()
        self._clear.close()
