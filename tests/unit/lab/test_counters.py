"""Link counters against real interfaces: exact bytes, both directions, and what a queue dropped."""

from __future__ import annotations

import csv
import socket
import time
from itertools import groupby
from pathlib import Path

import pytest

from lab.counters import CounterError, CounterSampler, CounterSocket, PortCounters, directions
from tests.unit.lab.namespaces import Namespace, connect, isolated, new_namespace
from topologies.namespaces import NetworkNamespace
from topologies.spec import Link, Node, Role, Topology

TOPOLOGY = Topology(
    name="pair",
    nodes=(Node("access1", Role.ACCESS), Node("core1", Role.CORE), Node("origin", Role.ORIGIN)),
    links=(Link("core1", "access1", 1.0, 100.0), Link("core1", "origin", 1.0, 100.0)),
)


def _flood(namespace: Namespace, source: str, target: str, count: int, payload_bytes: int) -> None:
    namespace.command("ip", "address", "add", f"{source}/64", "dev", "origin-eth0", "nodad")
    namespace.command(
        *("ip", "neighbour", "add", target, "lladdr", "02:00:00:00:00:01", "dev", "origin-eth0")
    )
    with namespace.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for _ in range(count):
        sender.sendto(bytes(payload_bytes), (target, 9))
    sender.close()


@isolated
def test_samples_hold_what_each_direction_carried_and_lost(tmp_path: Path) -> None:
    switches, origin = Namespace(NetworkNamespace.current().fd), new_namespace()
    connect(switches, "core1-eth1", switches, "access1-eth1")
    connect(switches, "core1-eth2", origin, "origin-eth0")
    # A bucket of 3000 bytes that hardly refills in this test: two datagrams pass, the others are lost.
    tbf = ("tbf", "rate", "8kbit", "burst", "3000", "limit", "3000")
    origin.command("tc", "qdisc", "add", "dev", "origin-eth0", "root", *tbf)
    with CounterSampler(
        TOPOLOGY, tmp_path / "links.csv", origin=time.monotonic(), namespaces={"origin": origin}
    ) as sampler:
        with sampler.phase("publish", 0.05):
            _flood(origin, "fd00::2", "fd00::1", 40, 1000)
            time.sleep(0.12)
        sampler.sample("requests")

    rows = list(csv.DictReader((tmp_path / "links.csv").open(newline="")))
    assert len(rows) % 4 == 0
    samples = [list(group) for _, group in groupby(rows, key=lambda row: (row["phase"], row["t_s"]))]
    assert [sample[0]["phase"] for sample in samples][-1] == "requests"
    assert len(samples) >= 4
    places = [(row["link"], row["from"], row["to"], row["layer"]) for row in samples[0]]
    assert places == [
        ("core1-access1", "core1", "access1", "core"),
        ("core1-access1", "access1", "core1", "core"),
        ("core1-origin", "core1", "origin", "origin"),
        ("core1-origin", "origin", "core1", "origin"),
    ]
    first, last = samples[0][3], samples[-1][3]
    sent = int(last["bytes"]) - int(first["bytes"])
    dropped = int(last["drops"]) - int(first["drops"])
    passed = int(last["packets"]) - int(first["packets"])
    assert sent >= 2 * 1062
    assert 30 <= dropped <= 42
    assert passed + dropped >= 38  # the bucket may still hold two
    times = [float(sample[0]["t_s"]) for sample in samples]
    assert times == sorted(times)
    assert times[-1] < 5


@isolated
def test_counters_match_the_kernels_own_files() -> None:
    connect(
        Namespace(NetworkNamespace.current().fd), "core1-eth2", (origin := new_namespace()), "origin-eth0"
    )
    _flood(origin, "fd00::2", "fd00::1", 25, 500)
    counters = CounterSocket()
    before = _own_file("core1-eth2")
    read = counters.read()["core1-eth2"]
    after = _own_file("core1-eth2")
    found = (read.rx_bytes, read.rx_packets, read.tx_bytes, read.tx_packets)
    # The hosts' own multicast reports may pass between two readings.
    assert all(low <= value <= high for low, value, high in zip(before, found, after, strict=True))
    assert read.rx_packets >= 25
    counters.close()


def _own_file(interface: str) -> tuple[int, int, int, int]:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    fields = next(line for line in lines if interface in line).split(":")[1].split()
    return int(fields[0]), int(fields[1]), int(fields[8]), int(fields[9])


@isolated
def test_interfaces_that_come_later_are_found() -> None:
    here = Namespace(NetworkNamespace.current().fd)
    counters = CounterSocket()
    assert "core1-eth1" not in counters.read()
    connect(here, "core1-eth1", here, "access1-eth1")
    assert {"core1-eth1", "access1-eth1"} <= counters.read().keys()
    with pytest.raises(CounterError, match="no interface core1-eth2"):
        list(directions(TOPOLOGY, counters.read(), {}))
    counters.close()


def test_a_hosts_direction_is_what_the_switch_received() -> None:
    switch = {
        "core1-eth1": PortCounters(1, 2, 3, 4, 5),
        "access1-eth1": PortCounters(10, 20, 30, 40, 50),
        "core1-eth2": PortCounters(100, 200, 300, 400, 500),
    }
    host = {"origin": {"origin-eth0": PortCounters(7, 7, 7, 7, 9)}}
    found = [
        (row.source, row.target, row.bytes, row.packets, row.drops)
        for row in directions(TOPOLOGY, switch, host)
    ]
    assert found == [
        ("core1", "access1", 3, 4, 5),
        ("access1", "core1", 30, 40, 50),
        ("core1", "origin", 300, 400, 500),
        ("origin", "core1", 100, 200, 9),
    ]
