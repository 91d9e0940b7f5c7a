"""Snapshots of what switches hold: saved, loaded, damaged."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.openflow import encode
from controller.openflow.held import Held
from controller.openflow.snapshot import Snapshot, SnapshotError, load_snapshot
from controller.plan.facts import PortId
from controller.plan.rules import Change, Step, Tables
from tests.openvswitch.sample_rules import everything
from tests.unit.controller.byte_switch import ByteSwitch
from topologies.spec import Link, Node, Role, Topology

TOPOLOGY = Topology(
    "two", (Node("s1", Role.ACCESS), Node("s2", Role.ACCESS)), (Link("s1", "s2", 1.0, 100.0),)
)


class Answers:
    """Stands in for a worker: keeps a switch's replies."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []

    def statistics(self, reply: bytes) -> None:
        self.replies.append(reply)


def message(kind: int, body: bytes) -> bytes:
    return encode.message(kind, body)


def port_description(number: int, *, is_disabled: bool = False, has_carrier: bool = True) -> bytes:
    """An ofp_port with one property."""
    head = struct.pack("!IH10x16sII", number, 72, f"eth{number}".encode(), is_disabled, not has_carrier)
    return head + bytes(72 - len(head))


def ports_reply(*descriptions: bytes) -> bytes:
    return message(encode.MULTIPART_REPLY, struct.pack("!HH4x", encode.PORTS, 0) + b"".join(descriptions))


def replies_of(tables: Tables, *ports: bytes) -> tuple[bytes, ...]:
    """What a switch with these tables and ports says."""
    switch = ByteSwitch()
    switch.worker = answers = Answers()
    for step, items in ((Step.METER_ADD, tables.meters), (Step.GROUP_ADD, tables.groups)):
        for item in items.values():
            switch.send(encode.change_message(Change(step, item)))
    for rule in tables.rules.values():
        switch.send(encode.change_message(Change(Step.RULE_SET, rule)))
    for request in encode.dump_requests():
        switch.send(request)
    return (*answers.replies, ports_reply(*ports))


def snapshot() -> Snapshot:
    s1 = replies_of(everything(), port_description(1))
    s2 = replies_of(Tables(), port_description(1, has_carrier=False))
    return Snapshot(12.5, TOPOLOGY, {"s1": s1, "s2": s2})


def test_a_snapshot_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    taken = snapshot()
    taken.save(tmp_path / "file")
    loaded = load_snapshot(tmp_path / "file")
    assert (loaded.t_s, loaded.topology, loaded.replies) == (taken.t_s, taken.topology, taken.replies)
    assert loaded.tables == {"s1": everything(), "s2": Tables()}
    assert loaded.rule_count == len(everything().rules)
    assert loaded.foreign == {}
    assert loaded.down_ports == {PortId("s2", 1)}


@pytest.mark.parametrize(
    ("ports", "is_down"),
    [
        ((port_description(1),), False),
        ((port_description(1, is_disabled=True),), True),
        ((port_description(1, has_carrier=False),), True),
        ((port_description(2),), True),
        ((), True),
    ],
)
def test_a_port_is_up_when_it_is_there_and_enabled_and_has_a_carrier(
    ports: tuple[bytes, ...], is_down: bool
) -> None:
    taken = Snapshot(0.0, TOPOLOGY, {"s1": replies_of(Tables(), *ports)})
    assert taken.down_ports == ({PortId("s1", 1)} if is_down else set())


def test_what_is_not_ours_is_foreign() -> None:
    flow = struct.pack("!HBxIIHHHHH2xQQQ", 56, 4, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0) + encode.padded_match(b"")
    group = struct.pack("!HBxI", 8, 1, 77)
    meter = struct.pack("!HHIHHII4x", 24, 1, 9, 1, 16, 5, 0)
    foreign = tuple(
        message(encode.MULTIPART_REPLY, struct.pack("!HH4x", kind, 0) + entry)
        for kind, entry in ((encode.FLOWS, flow), (encode.GROUPS, group), (encode.METERS, meter))
    )
    taken = Snapshot(0.0, TOPOLOGY, {"s1": (*foreign, ports_reply())})
    assert taken.foreign == {"s1": ("group 0x4d", "meter 9", "table 4 priority 1 cookie 0x0: cookie 0x0")}
    assert taken.tables == {"s1": Tables()}


def no_switch(data: dict[str, Any]) -> None:
    del data["switches"]["s2"]


def no_flows(data: dict[str, Any]) -> None:
    del data["switches"]["s2"][0]


def cut_off(data: dict[str, Any]) -> None:
    whole = base64.b64decode(data["switches"]["s2"][0])
    data["switches"]["s2"][0] = base64.b64encode(whole[:-1]).decode()


def changed_length(data: dict[str, Any]) -> None:
    broken = bytearray(base64.b64decode(data["switches"]["s1"][0]))
    broken[16:18] = b"\xff\xff"
    data["switches"]["s1"][0] = base64.b64encode(broken).decode()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data.update(format="other"), "this is no snapshot"),
        (lambda data: data.update(version=2), "format version 2; this program reads 1"),
        (lambda data: data.pop("topology"), "damaged"),
        (lambda data: data.update(switches=[]), "damaged"),
        (lambda data: data.update(t_s="soon"), "damaged"),
        (lambda data: data["switches"].update(s2=["%"]), "no base64"),
        (no_switch, r"not those of its topology \(s2\)"),
        (no_flows, "switch s2: the switch has not said all it holds"),
        (cut_off, "a message is cut off"),
        (changed_length, "switch s1: an impossible length"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], text: str
) -> None:
    data = snapshot().to_json()
    damage(data)
    path = tmp_path / "file"
    path.write_text(json.dumps(data))
    with pytest.raises(SnapshotError, match=text) as raised:
        load_snapshot(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff{")
    with pytest.raises(SnapshotError, match="file: "):
        load_snapshot(tmp_path / "file")


@pytest.mark.parametrize("data", [message(19, b"\0\1"), message(12, b""), message(0, b"")])
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|reply"):
        Held([data])
