"""What a real Open vSwitch says it holds, and what it reports while that changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from controller.openflow.bench import tables_of
from controller.openflow.channel import Channel, ChannelError
from controller.openflow.monitor import Monitor, TableEvent
from controller.openflow.recorder import load_recording, states
from controller.openflow.snapshot import load_snapshot, read_snapshot
from controller.plan.compile import plan
from controller.plan.facts import PortId
from controller.plan.rules import Group, Rule, Step, Tables
from lab.openvswitch import OpenVSwitch
from tests.openvswitch.conftest import CHECKOUT, DummySwitch, bridges_of, install
from tests.openvswitch.sample_rules import EITHER, TREE, changed, everything
from tests.unit.controller.networks import facts_of, small
from topologies.spec import Link, Node, Role, Topology, to_json

TIMEOUT_S = 5.0
_numbers = count(1)


@dataclass
class Pair:
    """Two switches, each with four ports; the first one's port 1 leads to the other."""

    vswitch: OpenVSwitch
    topology: Topology

    @property
    def folder(self) -> Path:
        return self.vswitch.folder

    @property
    def first(self) -> str:
        return self.topology.switches[0]

    @property
    def second(self) -> str:
        return self.topology.switches[1]

    def ofctl(self, command: str, switch: str, *arguments: str) -> None:
        self.vswitch.command("ovs-ofctl", "-OOpenFlow14", command, switch, *arguments)

    def link(self, port: int, state: str) -> None:
        (target,) = self.folder.glob("ovs-vswitchd.*.ctl")
        name = f"{self.first}-eth{port}"
        self.vswitch.command("ovs-appctl", "-t", str(target), "netdev-dummy/set-admin-state", name, state)

    def change(self, switch: str, old: Tables, new: Tables) -> None:
        with Channel(switch, self.folder) as channel:
            install(channel, old, new)


@pytest.fixture
def pair(vswitch: OpenVSwitch) -> Iterator[Pair]:
    first, second = f"r{next(_numbers)}", f"r{next(_numbers)}"
    hosts = [f"{switch}h{index}" for switch in (first, second) for index in (1, 2, 3)]
    nodes = [Node(first, Role.ACCESS), Node(second, Role.ACCESS), *(Node(host, Role.USER) for host in hosts)]
    links = [Link(first, second, 1.0, 100.0), *(Link(host[:-2], host, 1.0, 100.0) for host in hosts)]
    topology = Topology("pair", tuple(nodes), tuple(links))
    with bridges_of(vswitch, topology):
        yield Pair(vswitch, topology)


class Watcher:
    """Takes events one at a time, for some seconds at most."""

    def __init__(self, pair: Pair) -> None:
        self.monitor = Monitor(pair.folder, pair.topology)
        self._events = self.monitor.events()
        self._timer = threading.Timer(TIMEOUT_S, self.monitor.stop)
        self._timer.start()

    def next(self) -> TableEvent:
        return next(self._events)

    def end(self) -> None:
        self._timer.cancel()
        self._timer.join()
        self.monitor.__exit__()


@pytest.fixture
def watch(pair: Pair) -> Iterator[Callable[[], Watcher]]:
    watchers = []

    def watch() -> Watcher:
        watchers.append(Watcher(pair))
        return watchers[-1]

    yield watch
    for watcher in watchers:
        watcher.end()


def test_what_was_installed_is_read_back_equal(pair: Pair, tmp_path: Path) -> None:
    pair.change(pair.first, Tables(), everything())
    snapshot = read_snapshot(pair.folder, pair.topology)
    assert snapshot.tables == {pair.first: everything(), pair.second: Tables()}
    assert snapshot.foreign == {}
    assert snapshot.down_ports == frozenset()
    assert snapshot.rule_count == len(everything().rules)
    snapshot.save(tmp_path / "snapshot.json")
    again = load_snapshot(tmp_path / "snapshot.json")
    assert (again.t_s, again.topology, again.tables) == (snapshot.t_s, pair.topology, snapshot.tables)


def test_all_switches_of_a_network_are_read_at_once(vswitch: OpenVSwitch) -> None:
    topology = small()
    wanted = plan(facts_of(topology))
    with bridges_of(vswitch, topology):
        for switch, tables in wanted.items():
            with Channel(switch, vswitch.folder) as channel:
                install(channel, Tables(), tables)
        assert read_snapshot(vswitch.folder, topology).tables == wanted


def test_a_large_dump_comes_in_several_replies(pair: Pair) -> None:
    pair.change(pair.first, Tables(), tables_of(3000))
    snapshot = read_snapshot(pair.folder, pair.topology)
    assert len(snapshot.replies[pair.first]) > 4
    assert snapshot.rule_count == 3000


def test_what_is_somebody_elses_is_told(pair: Pair) -> None:
    pair.change(pair.first, Tables(), everything())
    pair.ofctl("add-flow", pair.first, "table=9,priority=7,tcp,actions=output:1")
    pair.ofctl("mod-flows", pair.first, "table=2,actions=drop")
    pair.ofctl("add-group", pair.first, "group_id=77,type=select,bucket=weight:5,actions=output:1")
    pair.ofctl("add-meter", pair.second, "meter=9,kbps,band=type=drop,rate=5")
    snapshot = read_snapshot(pair.folder, pair.topology)
    assert snapshot.foreign[pair.second] == ("meter 9",)
    group, flow = snapshot.foreign[pair.first]
    assert group == "group 0x4d"
    assert flow.startswith("table 9 priority 7 cookie 0x0: ")
    gateway = [rule for rule in snapshot.tables[pair.first].rules.values() if rule.table == 2]
    assert {rule.actions for rule in gateway} == {()}


def test_ports_that_are_down_are_told(pair: Pair) -> None:
    pair.link(2, "down")
    pair.ofctl("mod-port", pair.second, f"{pair.second}-eth3", "down")
    pair.vswitch.command("ovs-vsctl", f"--db={pair.vswitch.database}", "del-port", f"{pair.second}-eth4")
    snapshot = read_snapshot(pair.folder, pair.topology)
    assert snapshot.down_ports == {PortId(pair.first, 2), PortId(pair.second, 3), PortId(pair.second, 4)}


def test_a_bundle_is_one_event_with_its_flows_and_groups(pair: Pair, watch: Callable[[], Watcher]) -> None:
    pair.change(pair.first, Tables(), everything())
    watcher = watch()
    assert watcher.monitor.snapshot.tables[pair.first] == everything()
    begin_s = time.monotonic()
    pair.change(pair.first, everything(), changed())
    events = [watcher.next() for _ in range(4)]
    times_s = [begin_s, *(event.t_s for event in events), time.monotonic()]
    assert times_s == sorted(times_s)
    assert {event.switch for event in events} == {pair.first}
    assert not any(event.foreign or event.is_gap for event in events)
    added, modified, bundle, last = events
    assert [str(change.item) for change in added.changes] == ["meter 3: 1 packets/s, burst 1"]
    assert [change.step for change in modified.changes] == [Step.METER_MODIFY]
    assert modified.tables.rules == everything().rules
    assert (bundle.tables.rules, bundle.tables.groups) == (changed().rules, changed().groups)
    assert last.tables == changed()
    assert {type(change.item) for change in bundle.changes} == {Rule, Group}


def test_changes_come_in_order(pair: Pair, watch: Callable[[], Watcher]) -> None:
    pair.change(pair.first, Tables(), everything())
    watcher = watch()

    def event(command: str, *arguments: str) -> TableEvent:
        pair.ofctl(command, pair.first, *arguments)
        return watcher.next()

    deleted = event("del-groups", f"group_id={TREE:#x}")
    assert deleted.before.groups.keys() - deleted.tables.groups.keys() == {TREE}
    assert len(deleted.before.rules) - len(deleted.tables.rules) == 1
    group = event("mod-group", f"group_id={EITHER:#x},type=all,bucket=actions=output:4")
    assert [change.item for change in group.changes] == [group.tables.groups[EITHER]]
    flow = event("mod-flows", "table=2,actions=drop")
    gateway = [rule for rule in flow.tables.rules.values() if rule.table == 2]
    assert [change.item for change in flow.changes] == gateway
    foreign = event("add-flow", "table=9,priority=7,tcp,actions=output:1")
    assert (len(foreign.foreign), foreign.changes) == (1, ())
    assert event("del-flows", "table=9").foreign == ()
    metered = event("del-meters")
    while metered.tables.meters:
        metered = watcher.next()
    assert not any(rule.meter for rule in metered.tables.rules.values())
    last = event("del-groups")
    _, end = watcher.monitor.finish()
    assert (last.tables, last.tables.groups) == (end.tables[pair.first], {})


def test_ports_are_watched(pair: Pair, watch: Callable[[], Watcher]) -> None:
    watcher = watch()
    port = PortId(pair.first, 3)
    pair.link(3, "down")
    event = watcher.next()
    while not event.went_down:
        event = watcher.next()
    assert (event.went_down, event.down_ports, event.changes) == ({port}, {port}, ())
    pair.link(3, "up")
    while not event.came_up:
        event = watcher.next()
    assert (event.came_up, event.down_ports) == ({port}, frozenset())


def test_a_slow_reader_hears_of_a_gap_and_ends_right(pair: Pair, watch: Callable[[], Watcher]) -> None:
    watcher = watch()
    many, few = tables_of(3000), tables_of(20)
    for old, new in ((Tables(), many), (many, few), (few, Tables()), (Tables(), few)):
        pair.change(pair.first, old, new)
    whole = watcher.next()
    assert (whole.tables, whole.is_gap) == (many, False)
    while not (event := watcher.next()).is_gap:
        pass
    assert event.tables == few


def test_a_switch_that_goes_ends_the_watch(tmp_path: Path) -> None:
    vswitch = DummySwitch(tmp_path, tmp_path / "logs", controller="none")
    vswitch.start()
    try:
        topology = Topology("one", (Node("s1", Role.ACCESS),), ())
        vswitch.add_bridges([("s1", 1, [])])
        monitor = Monitor(tmp_path, topology)
    finally:
        vswitch.stop()
    with monitor, pytest.raises(ChannelError, match=r"^switch s1: the connection at .*/s1.mgmt has ended"):
        list(monitor.events())
    with pytest.raises(ChannelError, match=r"^switch s1: no answer at .*/s1.mgmt \(.*\); is the lab up\?$"):
        read_snapshot(tmp_path, topology)


def test_a_switch_that_is_silent_is_given_up(pair: Pair) -> None:
    with (
        pair.vswitch.paused(),
        pytest.raises(ChannelError, match=f"switch {pair.first}: no answer at .* within 0.2 s"),
    ):
        read_snapshot(pair.folder, pair.topology, timeout_s=0.2)


def test_a_recording_has_every_state(pair: Pair, tmp_path: Path) -> None:
    pair.change(pair.first, Tables(), everything())
    described, out = tmp_path / "topology.json", tmp_path / "recording.jsonl"
    described.write_text(json.dumps(to_json(pair.topology)))
    words = ["--sockets", str(pair.folder), "--topology", str(described), "--out", str(out)]
    command = [sys.executable, "-m", "controller.openflow.recorder", *words]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as recorder:
        end_s = time.monotonic() + 10
        while not (out.exists() and out.read_text().endswith("\n")):
            assert time.monotonic() < end_s
            time.sleep(0.02)
        pair.change(pair.second, Tables(), changed())
        pair.change(pair.first, everything(), changed())
        pair.ofctl("add-flow", pair.second, "table=9,priority=7,tcp,actions=output:1")
        pair.ofctl("mod-port", pair.second, f"{pair.second}-eth3", "down")
        recorder.send_signal(signal.SIGTERM)
        output, _ = recorder.communicate(timeout=10)
    snapshot, events = load_recording(out)
    assert json.loads(output) == {"event": "recorded", "transactions": len(events)}
    assert snapshot.tables == {pair.first: everything(), pair.second: Tables()}
    assert [event.t_s for event in events] == sorted(event.t_s for event in events)
    seen = list(states(snapshot, events))
    assert len(seen) == len(events) + 1
    whole = {pair.first: everything(), pair.second: changed()}
    assert any(state.tables == whole for state in seen)
    last = seen[-1]
    assert last.tables == {pair.first: changed(), pair.second: changed()}
    assert list(last.foreign) == [pair.second]
    assert last.down_ports == {PortId(pair.second, 3)}
