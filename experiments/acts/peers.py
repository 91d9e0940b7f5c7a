"""Peers in hosts' namespaces for the length of a block, and the rows that flows to them leave."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from experiments.hosts import host_words
from experiments.peer import exchange
from experiments.testbed import Testbed, TestbedError
from lab.processes import LabProcess, ProcessTable
from topologies.namespaces import NetworkNamespace

COLUMNS = ("gateway", "own", "seen", "handshake_ms", "mbps", "is_complete")
DOWNLOAD_BYTES = 8_000_000
HANDSHAKES = 3
START_TIMEOUT_S = 10.0


@contextmanager
def peers(testbed: Testbed, hosts: Sequence[str], address: str) -> Iterator[None]:
    """`experiments.peer` at `address` on each host."""
    with peer_process(testbed.processes, "peer", address, host_words(testbed.net, hosts)):
        yield


@contextmanager
def peer_process(processes: ProcessTable, name: str, address: str, words: Sequence[str]) -> Iterator[None]:
    """The process that serves as a peer, listening already. Raises TestbedError when it does not start."""
    process = processes.start_module(name, "experiments.peer", ["--address", address, *words])
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not _is_listening(process):
        process.check_running()
        if time.monotonic() > deadline_s:
            raise TestbedError(f"{name} does not listen after {START_TIMEOUT_S:g} s")
        time.sleep(0.01)
    try:
        yield
    finally:
        processes.forget(process)
        process.send_signal(signal.SIGKILL)
        process.wait()


def _is_listening(process: LabProcess) -> bool:
    return process.log.exists() and process.log.read_text().endswith("listening\n")


def flow_row(gateway: str, client: NetworkNamespace, address: str) -> tuple[str | int, ...]:
    """A row of flows.csv: the shortest of some handshakes, and a download."""
    shortest_ms = min(exchange(client, address, send=0, receive=0).handshake_ms for _ in range(HANDSHAKES))
    found = exchange(client, address, send=0, receive=DOWNLOAD_BYTES)
    numbers = (f"{shortest_ms:.6f}", f"{found.mbps:.6f}")
    return gateway, found.own, found.seen, *numbers, int(found.is_complete)
