"""A private Open vSwitch with dummy devices, without privileges, apart from the machine's own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controller.openflow import encode
from controller.openflow.channel import Channel
from controller.openflow.dump import Dump
from controller.openflow.reconcile import update
from controller.plan.rules import Tables
from lab.openvswitch import SWITCH_DAEMON, OpenVSwitch
from topologies.spec import Topology

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
TIMEOUT_S = 15.0


class DummySwitch(OpenVSwitch):
    """Every bridge and port is a dummy: packets come and go by commands only."""

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        options = ("--enable-dummy=override", "--disable-system") if program == SWITCH_DAEMON else ()
        return super()._spawn(program, *arguments, *options)


class Bridge:
    """One bridge with the ports 1 to 4."""

    def __init__(self, vswitch: OpenVSwitch, number: int) -> None:
        self.name = f"br{number}"
        self.switch = f"s{number}"
        self._vswitch = vswitch
        self.ports = [f"{self.name}p{port}" for port in range(1, 5)]
        numbered = [(name, index) for index, name in enumerate(self.ports, 1)]
        vswitch.add_bridges([(self.name, number, numbered)])

    def connect(self, port: int) -> None:
        """Connect to a controller."""
        self._vsctl("set-controller", self.name, f"tcp:127.0.0.1:{port}")

    def disconnect(self) -> None:
        """End the connection."""
        self._vsctl("del-controller", self.name)

    def ofctl(self, command: str, *arguments: str) -> str:
        """`ovs-ofctl`."""
        return self._vswitch.command("ovs-ofctl", "-OOpenFlow14", command, self.name, *arguments)

    def receive(self, port: int, frame: bytes) -> None:
        """A frame comes in by a port."""
        self._appctl("netdev-dummy/receive", self.ports[port - 1], frame.hex())

    def link(self, port: int, state: str) -> None:
        """Set the carrier of a port."""
        self._appctl("netdev-dummy/set-admin-state", self.ports[port - 1], state)

    def _appctl(self, *arguments: str) -> None:
        (target,) = self._vswitch.folder.glob("ovs-vswitchd.*.ctl")
        self._vswitch.command("ovs-appctl", "-t", str(target), *arguments)

    def _vsctl(self, *arguments: str) -> None:
        self._vswitch.command("ovs-vsctl", f"--db={self._vswitch.database}", *arguments)


class Process:
    """`controller_process.py`, or another program that prints events in JSON."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python(), *arguments],
            cwd=CHECKOUT,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def expect(self, event: str, **fields: object) -> dict[str, Any]:
        """The next event of this name with these fields; others are passed over, but for failures."""
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            found = self._events.get(timeout=max(0.0, end_s - time.monotonic()))
            if found["event"] == event and fields.items() <= found.items():
                return found
            assert found["event"] not in ("update-failed", "switch-error", "end"), found

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End it, once."""
        if self._process.returncode is not None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put({"event": "end"})


def python() -> str:
    runs_on_ryu = os.environ.get("NEARCAST_OPENFLOW_RUNTIME") == "ryu"
    return str(CHECKOUT / ".venv-ryu/bin/python") if runs_on_ryu else sys.executable


def install(channel: Channel, old: Tables, new: Tables) -> None:
    """As the controller does it: meters, then one bundle."""
    needed = update(Dump(old), new)
    bundled = encode.bundle(1, needed.bundled) if needed.bundled else ()
    for messages in (needed.meters_first, bundled, needed.meters_last):
        channel.receive_until(channel.send([*messages, encode.barrier()]))


@contextmanager
def bridges_of(vswitch: OpenVSwitch, topology: Topology) -> Iterator[None]:
    """A bridge for each switch of a topology, while the body runs."""
    vswitch.add_bridges(
        [
            (name, 0x1000 + next(_numbers), [(port.interface, port.number) for port in topology.ports[name]])
            for name in topology.switches
        ]
    )
    yield
    words = [word for name in topology.switches for word in ("--", "del-br", name)]
    vswitch.command("ovs-vsctl", f"--db={vswitch.database}", *words[1:])


_numbers = count(1)


@pytest.fixture(scope="session")
def vswitch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    folder = tmp_path_factory.mktemp("ovs")
    vswitch = DummySwitch(folder, folder / "logs", controller="none")
    vswitch.start()
    yield vswitch
    vswitch.stop()


_numbers = count(1)


@pytest.fixture
def bridge(vswitch: OpenVSwitch) -> Iterator[Bridge]:
    bridge = Bridge(vswitch, next(_numbers))
    yield bridge
    bridge.disconnect()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts programs that end with the test."""
    processes: list[Process] = []

    def start(*arguments: str) -> Process:
        processes.append(Process(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


class Controller:
    """A controller as one bridge sees it."""

    def __init__(self, process: Process, bridge: Bridge) -> None:
        self._process = process
        self._switch = bridge.switch

    def expect(self, event: str, **fields: object) -> dict[str, Any]:
        """The next event of this name about the bridge."""
        return self._process.expect(event, switch=self._switch, **fields)

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request about the bridge."""
        self._process.ask(request | {"switch": self._switch})

    def end(self) -> None:
        """End the process."""
        self._process.end()


_PROGRAM = str(HERE / "controller_process.py")


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[Process, int]]:
    """A controller for many bridges, and its port."""
    process = Process(_PROGRAM)
    yield process, process.expect("listening")["port"]
    process.end()


@pytest.fixture
def connect(shared: tuple[Process, int], bridge: Bridge) -> Callable[[str], Controller]:
    """Connects the bridge to a controller that first installs the tables of this name."""

    def connect(name: str) -> Controller:
        process, port = shared
        controller = Controller(process, bridge)
        controller.ask({"install": name})
        bridge.connect(port)
        return controller

    return connect


@pytest.fixture
def connect_new(start: Callable[..., Process], bridge: Bridge) -> Callable[[str], Controller]:
    """The same with a controller of its own, as often as it is called."""

    def connect_new(name: str) -> Controller:
        process = start(_PROGRAM)
        port = process.expect("listening")["port"]
        controller = Controller(process, bridge)
        controller.ask({"install": name})
        bridge.connect(port)
        return controller

    return connect_new
