"""The whole controller as a process, with switches that speak OpenFlow over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from controller.plan.facts import port_id
from controller.plan.pipeline import Origin
from controller.state.edges import BEATS_TO_RETURN
from controller.wire.frames import ICMPV6, UDP, Frame, encode_frame, multicast_mac, parse_frame
from controller.wire.mld import Record, RecordType, Report, encode_mld
from controller.wire.nd import NeighborAdvertisement, NeighborSolicitation, decode_nd, encode_nd
from tests.unit.controller.fake_switch import FLOW_MOD, GROUP_MOD, FakeSwitch
from tests.unit.controller.networks import small
from topologies.addressing import GATEWAY, plan_addresses
from topologies.heartbeat import EdgeState, Heartbeat, encode_heartbeat
from topologies.spec import to_json

CHECKOUT = Path(__file__).parents[3]
TOPOLOGY = small()
ADDRESSES = plan_addresses(TOPOLOGY)
MAC = "02:00:00:00:00:01"
LINK_LOCAL = IPv6Address("fe80::9")


class Lab:
    """A controller process, its control socket and its switches by name."""

    def __init__(self, folder: Path) -> None:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            self.port = probe.getsockname()[1]
        self.control = folder / "control.sock"
        self.log = folder / "events.jsonl"
        config = {
            "topology": to_json(TOPOLOGY),
            "policy": {"service_at": "edges", "edges": None},
            "listen": ["::1", self.port],
            "control_socket": str(self.control),
            "event_log": str(self.log),
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controller", "--config", str(path)],
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.switches: dict[str, FakeSwitch] = {}
        self.until(self.is_listening)

    def is_listening(self) -> bool:
        """The socket exists a moment before anybody can connect to it."""
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(self.control))
            return True
        return False

    def connect(self, *names: str) -> None:
        for name in names:
            ports = [port.number for port in TOPOLOGY.ports[name]]
            self.switches[name] = FakeSwitch(self.port, ADDRESSES.datapath_ids[name], ports)

    def ask(self, request: object) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(15)
            client.connect(str(self.control))
            client.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(client.makefile().readline())

    def events(self, name: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [entry for entry in entries if entry["event"] == name]

    def until(self, predicate: Callable[[], bool], timeout_s: float = 10.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not predicate():
            assert self.process.poll() is None, self.process.stderr
            assert time.monotonic() < end_s, "nothing happened in time"
            time.sleep(0.01)

    def beat(self, edge: str) -> None:
        """An edge says that it lives, as often as it takes to be believed."""
        port = port_id(TOPOLOGY.access_port(edge))
        payload = bytes(4) + struct.pack("!HH", 20, 0) + encode_heartbeat(Heartbeat(EdgeState.SERVING, 0, 1))
        source = ADDRESSES.hosts[edge].unicast
        frame = encode_frame(Frame(MAC, MAC, source, GATEWAY, 64, UDP, payload))
        for _ in range(BEATS_TO_RETURN):
            self.switches[port.switch].packet_in(port.number, frame, Origin.HEALTH)

    def join(self, edge: str) -> None:
        port = port_id(TOPOLOGY.access_port(edge))
        to = IPv6Address("ff02::16")
        record = Record(
            RecordType.ALLOW_NEW_SOURCES, ADDRESSES.static_group, (ADDRESSES.hosts["origin"].unicast,)
        )
        payload = encode_mld(LINK_LOCAL, to, Report((record,)))
        frame = Frame(MAC, multicast_mac(to), LINK_LOCAL, to, 1, ICMPV6, payload, router_alert=True)
        self.switches[port.switch].packet_in(port.number, encode_frame(frame), Origin.CONTROL)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.process.terminate()
    assert lab.process.wait(10) == 0
    assert lab.process.stderr is not None
    assert lab.process.stderr.read() == ""
    assert not lab.control.exists()


def test_a_network_comes_up_serves_and_changes(lab: Lab) -> None:
    lab.connect(*TOPOLOGY.switches)
    lab.until(lambda: lab.ask({"op": "status"})["synced"])
    status = lab.ask({"op": "status"})
    assert (status["switches"], status["expected"], status["edges_accepting"]) == (7, 7, [])
    assert status["modifications"] == sum(lab.events("plan")[0]["changes"].values())
    assert len(lab.events("synced")) == 1

    first = lab.switches["a1"].bundles[0]
    assert {message[1] for message in first} == {FLOW_MOD, GROUP_MOD}
    assert len(first) == lab.events("plan")[0]["changes"]["a1"] - len(lab.switches["a1"].meters)

    asked = encode_nd(
        LINK_LOCAL, IPv6Address("ff02::1:ff00:1"), NeighborSolicitation(IPv6Address("fe80::1"), MAC)
    )
    frame = Frame(MAC, MAC, LINK_LOCAL, IPv6Address("ff02::1:ff00:1"), 255, ICMPV6, asked)
    a1, user = lab.switches["a1"], TOPOLOGY.access_port("user1").number

    def answers() -> list[object]:
        frames = [parse_frame(data) for port, data in a1.packets_out if port == user]
        return [decode_nd(found) for found in frames if not found.router_alert]

    a1.packet_in(user, encode_frame(frame), Origin.CONTROL)
    mac = ADDRESSES.router_macs["a1"]
    expected = NeighborAdvertisement(IPv6Address("fe80::1"), True, True, True, mac)
    assert a1.wait(lambda: expected in answers())

    lab.join("edge1")
    lab.until(lambda: lab.ask({"op": "status"})["members"] == {"ff35::8000:1": ["edge1"]})
    lab.beat("edge1")
    lab.until(lambda: bool(lab.events("edge-accepting")))
    assert lab.events("edge-accepting")[0]["edge"] == "edge1"
    lab.until(lambda: bool(lab.events("edge-dead")))
    assert lab.ask({"op": "policy", "edges": ["edge2"]}) == {"ok": True}
    assert lab.ask({"op": "status"})["edges_accepting"] == []
    assert lab.ask({"op": "drain", "edge": "edge3"}) == {"ok": True}
    assert lab.ask({"op": "status"})["edges_drained"] == ["edge3"]
    assert lab.ask({"op": "drain", "edge": "user1"})["ok"] is False
    assert lab.ask({"op": "policy", "edges": ["user1"]})["ok"] is False
    assert lab.ask(["status"])["ok"] is False


def test_a_switch_that_hangs_up_is_noticed_and_told_everything_when_it_returns(lab: Lab) -> None:
    lab.connect(*TOPOLOGY.switches)
    lab.until(lambda: lab.ask({"op": "status"})["synced"])
    lab.switches["c1"].close()
    lab.until(lambda: lab.ask({"op": "status"})["switches"] == 6, timeout_s=2.0)
    assert [entry["switch"] for entry in lab.events("switch-down")] == ["c1"]
    lab.connect("c1")
    lab.until(lambda: lab.ask({"op": "status"})["synced"])
    again = lab.switches["c1"]
    assert len(again.bundles[0]) + len(again.meters) == lab.events("plan")[0]["changes"]["c1"]


def test_a_switch_that_stops_answering_delays_nobody_else(lab: Lab) -> None:
    lab.connect(*TOPOLOGY.switches)
    lab.until(lambda: lab.ask({"op": "status"})["synced"])
    lab.switches["d1"].silent = True
    before = {name: len(switch.bundles) for name, switch in lab.switches.items()}
    lab.join("edge1")
    for name, switch in lab.switches.items():
        if name in ("a1", "c1"):
            assert switch.wait(lambda s=switch, n=name: len(s.bundles) > before[n], 2.0), name
    assert lab.ask({"op": "status"})["synced"] is False


def test_a_port_that_goes_down_leads_to_a_new_plan(lab: Lab) -> None:
    lab.connect(*TOPOLOGY.switches)
    lab.until(lambda: lab.ask({"op": "status"})["synced"])
    port = TOPOLOGY.port("a1", "d1")
    lab.switches["a1"].port_status(port.number, False)
    lab.until(lambda: len(lab.events("synced")) == 2)
    assert lab.events("port-down")[0]["peer"] == "d1"
    assert lab.events("plan")[-1]["changes"]["a1"] > 0


def test_a_switch_that_refuses_an_update_is_disconnected(lab: Lab) -> None:
    ports = [port.number for port in TOPOLOGY.ports["c1"]]
    refusing = FakeSwitch(lab.port, ADDRESSES.datapath_ids["c1"], ports)
    refusing.refuse_bundles = True
    lab.until(lambda: bool(lab.events("update-failed") and lab.events("switch-down")))
    assert lab.events("update-failed")[0]["error"] == "OpenFlow error type 17 code 13"


def test_a_switch_that_is_not_of_the_topology_is_turned_away(lab: Lab) -> None:
    FakeSwitch(lab.port, 4711, [1])
    lab.until(lambda: bool(lab.events("unknown-switch")))
    assert lab.ask({"op": "status"})["switches"] == 0


def test_one_line_says_what_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    good = {
        "topology": to_json(TOPOLOGY),
        "policy": {"service_at": "edges", "edges": ["edge9"]},
        "listen": ["::1", 1],
    }
    for text, complaint in (
        ("{", "is not JSON"),
        ("{}", "'topology' is missing"),
        (json.dumps(good), "'edge9'"),
    ):
        path.write_text(text)
        run = subprocess.run(
            [sys.executable, "-m", "controller", "--config", str(path)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 2
        assert complaint in run.stderr
        assert run.stderr.count("\n") == 1
