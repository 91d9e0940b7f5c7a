"""The IPv4 way, for comparison: the hosts of each access switch on one learning bridge, and ARP (RFC 826)."""

from __future__ import annotations

import csv
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2 import IPRoute

from experiments.scenario import Scenario
from lab.openvswitch import OpenVSwitch
from topologies.addressing import plan_addresses
from topologies.namespaces import NetworkNamespace
from topologies.netem import add_netem
from topologies.spec import Role

COLUMNS = ("segment", "host", "requests_sent", "requests_heard")
BOOT_SETTLE_S = 15.0
"""As for every lab: Open vSwitch sees no CPU in the first seconds."""
ASK_S = 0.2
PORTS_UP_S = 5.0
NETWORK = int(IPv4Address("10.0.0.0"))
_ALL_PROTOCOLS = 0x0003
_TYPE = slice(12, 14)
_ARP = b"\x08\x06"
_TO = slice(0, 6)
_BROADCAST = b"\xff" * 6
_OPERATION = slice(20, 22)
_REQUEST = b"\0\1"
_OUTGOING = 4
_DISCARD = 9


@dataclass(frozen=True, slots=True)
class Station:
    """A host on a segment."""

    segment: str
    name: str
    namespace: NetworkNamespace
    address: IPv4Address
    ears: socket.socket


def run(scenario: Scenario, work: Path, out: Path) -> None:
    """Let all hosts of every segment resolve each other; arps.csv says who sent and who heard requests."""
    time.sleep(max(0.0, BOOT_SETTLE_S - time.clock_gettime(time.CLOCK_BOOTTIME)))
    switches = OpenVSwitch(work / "ovs", out / "logs")
    with ExitStack() as stack:
        switches.start()
        stack.callback(switches.stop)
        stations = [
            station
            for number, segment in enumerate(scenario.topology.of_role(Role.ACCESS), start=1)
            for station in _segment(scenario, switches, segment, number, stack)
        ]
        time.sleep(PORTS_UP_S)
        for station in stations:
            _ask_all(station, stations)
        time.sleep(1)
        with (out / "arps.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for station in stations:
                sent, heard = _requests(station)
                writer.writerow((station.segment, station.name, sent, heard))


def _segment(
    scenario: Scenario, switches: OpenVSwitch, segment: str, number: int, stack: ExitStack
) -> list[Station]:
    """The hosts of an access switch, on a bridge of their own that learns addresses."""
    topology, plan = scenario.topology, plan_addresses(scenario.topology)
    bridge = f"flat{number}"
    words = ["add-br", bridge, "--", "set-fail-mode", bridge, "standalone"]
    stations = []
    ports = [port for port in topology.ports[segment] if not topology.role(port.peer).is_switch]
    with IPRoute() as root:
        for place, port in enumerate(ports, start=1):
            namespace = NetworkNamespace.create(port.peer)
            stack.callback(namespace.close)
            with namespace.entered():
                ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                netlink = IPRoute()
            near = f"{bridge}-{place}"
            peer = {"ifname": "eth0", "net_ns_fd": namespace.fd, "address": plan.hosts[port.peer].mac}
            root.link("add", ifname=near, kind="veth", peer=peer)
            index = root.link_lookup(ifname=near)[0]
            root.link("set", index=index, state="up")
            address = IPv4Address(NETWORK + (number << 8) + place)
            with netlink:
                far = netlink.link_lookup(ifname="eth0")[0]
                add_netem(netlink, far, port.link, place)
                netlink.addr("add", index=far, address=str(address), prefixlen=24)
                netlink.link("set", index=far, state="up")
            ears.bind(("eth0", _ALL_PROTOCOLS))
            words += ["--", "add-port", bridge, near]
            stations.append(Station(segment, port.peer, namespace, address, ears))
    switches.command("ovs-vsctl", f"--db={switches.database}", "--timeout=60", *words)
    return stations


def _ask_all(station: Station, stations: list[Station]) -> None:
    """Send something to every other host of the segment, one after the other."""
    with station.namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for other in stations:
            if other.segment == station.segment and other.name != station.name:
                sender.sendto(b"", (str(other.address), _DISCARD))
                time.sleep(ASK_S)


def _requests(station: Station) -> tuple[int, int]:
    """Broadcast ARP requests that a host has sent and heard; unicast ones confirm what is known."""
    sent = heard = 0
    with suppress(BlockingIOError):
        while True:
            frame, (_, _, kind, _, _) = station.ears.recvfrom(128)
            if (frame[_TO], frame[_TYPE], frame[_OPERATION]) == (_BROADCAST, _ARP, _REQUEST):
                sent += kind == _OUTGOING
                heard += kind != _OUTGOING
    station.ears.close()
    return sent, heard
