"""The controller itself, on real switches without hosts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.openvswitch import OpenVSwitch
from tests.openvswitch.conftest import CHECKOUT, TIMEOUT_S, python
from tests.unit.controller.networks import small
from topologies.addressing import plan_addresses
from topologies.spec import to_json

TOPOLOGY = small()
IDS = plan_addresses(TOPOLOGY).datapath_ids


class Controller:
    """`python -m controller`, as often as it is started."""

    def __init__(self, folder: Path, vswitch: OpenVSwitch) -> None:
        self.control = folder / "control.sock"
        self.log = folder / "events.jsonl"
        self._config = folder / "config.json"
        self._vswitch = vswitch
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with a new event log, and let the switches connect to it, at another port than the last
        time: Open vSwitch waits before it tries one again."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = {
            "topology": to_json(TOPOLOGY),
            "policy": {"service_at": "edges", "edges": None},
            "listen": ["127.0.0.1", port],
            "control_socket": str(self.control),
            "event_log": str(self.log),
        }
        self._config.write_text(json.dumps(config))
        self.log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [python(), "-m", "controller", "--config", str(self._config)],
            cwd=CHECKOUT,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )
        self.until(self.control.exists)
        words = [
            word
            for name in TOPOLOGY.switches
            for word in ("--", "set-controller", name, f"tcp:127.0.0.1:{port}")
        ]
        self._vswitch.command("ovs-vsctl", f"--db={self._vswitch.database}", *words[1:])

    def end(self) -> int:
        """End it; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        return process.wait(TIMEOUT_S)

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(str(self.control))
            client.sendall(b'{"op": "status"}\n')
            answer: dict[str, Any] = json.loads(client.makefile().readline())
            return answer

    def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something is true."""
        end_s = time.monotonic() + TIMEOUT_S
        while not predicate():
            assert self._process is not None
            assert self._process.poll() is None, "the controller has ended"
            assert time.monotonic() < end_s, self.log.read_text()
            time.sleep(0.02)

    def until_synced(self) -> dict[str, Any]:
        """Wait until every switch has confirmed the newest plan; the status then."""
        self.until(lambda: bool(self.status()["synced"]))
        return self.status()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of one name."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [entry for entry in entries if entry["event"] == name]


@pytest.fixture
def controller(vswitch: OpenVSwitch, tmp_path: Path) -> Iterator[Controller]:
    bridges = [
        (name, IDS[name], [(item.interface, item.number) for item in TOPOLOGY.ports[name]])
        for name in TOPOLOGY.switches
    ]
    vswitch.add_bridges(bridges)
    controller = Controller(tmp_path, vswitch)
    yield controller
    controller.end()
    words = [word for name in TOPOLOGY.switches for word in ("--", "del-br", name)]
    vswitch.command("ovs-vsctl", f"--db={vswitch.database}", *words[1:])


def test_a_controller_that_starts_again_leaves_the_network_as_it_is(
    controller: Controller, vswitch: OpenVSwitch
) -> None:
    controller.start()
    first = controller.until_synced()
    assert first["switches"] == first["expected"] == len(TOPOLOGY.switches)
    assert first["modifications"] > first["flows"] > 100
    assert controller.end() == 0

    controller.start()
    assert controller.until_synced()["modifications"] == 0
    assert controller.end() == 0

    vswitch.command("ovs-ofctl", "-OOpenFlow14", "add-flow", "d1", "table=5,priority=9,ipv6,actions=flood")
    vswitch.command("ovs-ofctl", "-OOpenFlow14", "del-flows", "a1", "table=0")
    controller.start()
    status = controller.until_synced()
    assert status["foreign_rules"] == 1
    assert [entry["switch"] for entry in controller.events("foreign-rule")] == ["d1"]
    assert 1 < status["modifications"] < first["modifications"] / 4
    assert controller.end() == 0
