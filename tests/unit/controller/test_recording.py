"""Recordings: what changes mean, and files that are damaged or incomplete."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.openflow import encode
from controller.openflow.monitor import Replay, Transaction
from controller.openflow.recorder import load_recording, main, states
from controller.openflow.snapshot import Snapshot, SnapshotError, messages_to_json
from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Bucket,
    Change,
    Group,
    GroupKind,
    Match,
    Meter,
    Output,
    Rule,
    Step,
    Tables,
)
from tests.unit.controller.test_snapshot import TOPOLOGY, message, port_description, replies_of

RULE = Rule(TableId.ROUTER, 1, Match(), Origin.ROUTE, goto=TableId.UNICAST)
GROUP = Group(5, GroupKind.ALL, (Bucket((Output(1),)),))
METER = Meter(1, 10, 20)
_ADDED, _REMOVED, _ABBREVIATED = 1, 2, 4


def update(event: int, rule: Rule = RULE, idle_s: int = 0) -> bytes:
    """The report about a flow: what follows the head of a FLOW_MOD is the same in it."""
    rest = encode.change_message(Change(Step.RULE_SET, rule))[48:]
    head = struct.pack(
        "!HHBxHHH4xQ", 24 + len(rest), event, rule.table, idle_s, 0, rule.priority, rule.cookie
    )
    return message(encode.MULTIPART_REPLY, struct.pack("!HH4x", encode.FLOW_UPDATES, 0) + head + rest)


def forwarded(step: Step, item: Group | Meter) -> bytes:
    return message(encode.REQUEST_FORWARD, encode.change_message(Change(step, item)))


def port_status(reason: int, description: bytes) -> bytes:
    return message(encode.PORT_STATUS, struct.pack("!B7x", reason) + description)


def empty() -> Snapshot:
    up = replies_of(Tables(), port_description(1))
    return Snapshot(1.0, TOPOLOGY, {"s1": up, "s2": up})


def after(*messages: bytes, before: Tables | None = None) -> Replay:
    up = (port_description(1),)
    held = replies_of(before or Tables(), *up)
    replay = Replay(Snapshot(1.0, TOPOLOGY, {"s1": held, "s2": replies_of(Tables(), *up)}))
    replay.follow(Transaction(2.0, "s1", messages))
    return replay


WHOLE = Tables.of([RULE], [GROUP], [METER])
NEW_GROUP = Group(5, GroupKind.FAST_FAILOVER, (Bucket((Output(1),), 1),))
ALL_GROUPS = Group(0xFFFF_FFFC, GroupKind.ALL, ())
ALL_METERS = Meter(0xFFFF_FFFF, 0, 0)


@pytest.mark.parametrize(
    ("before", "report", "tables"),
    [
        (Tables(), update(_ADDED), Tables.of([RULE])),
        (WHOLE, update(_REMOVED), Tables.of([], [GROUP], [METER])),
        (Tables(), update(_REMOVED), Tables()),
        (Tables(), forwarded(Step.GROUP_ADD, GROUP), Tables.of([], [GROUP])),
        (WHOLE, forwarded(Step.GROUP_MODIFY, NEW_GROUP), Tables.of([RULE], [NEW_GROUP], [METER])),
        (WHOLE, forwarded(Step.GROUP_DELETE, GROUP), Tables.of([RULE], [], [METER])),
        (WHOLE, forwarded(Step.GROUP_DELETE, ALL_GROUPS), Tables.of([RULE], [], [METER])),
        (Tables(), forwarded(Step.METER_ADD, METER), Tables.of([], [], [METER])),
        (WHOLE, forwarded(Step.METER_DELETE, METER), Tables.of([RULE], [GROUP])),
        (WHOLE, forwarded(Step.METER_DELETE, ALL_METERS), Tables.of([RULE], [GROUP])),
    ],
)
def test_every_report_is_understood(before: Tables, report: bytes, tables: Tables) -> None:
    assert after(report, before=before).held["s1"].tables == tables


def test_a_flow_that_somebody_changes_stays_the_same_flow() -> None:
    replay = after(update(_ADDED), update(_ADDED, idle_s=5))
    assert replay.held["s1"].tables == Tables()
    assert len(replay.held["s1"].foreign) == 1
    event = replay.follow(Transaction(3.0, "s1", (update(_ADDED),)))
    assert (event.tables, event.foreign) == (Tables.of([RULE]), ())


def test_what_cannot_be_followed_stays_foreign() -> None:
    buckets = message(encode.REQUEST_FORWARD, message(encode.GROUP_MOD, struct.pack("!HBxI", 3, 0, 5)))
    abbreviated = struct.pack("!HH4xHHI", encode.FLOW_UPDATES, 0, 8, _ABBREVIATED, 1)
    held = after(buckets, message(encode.MULTIPART_REPLY, abbreviated)).held["s1"]
    assert held.foreign == ("a change by message 15 command 3", "a change of a flow by this reader")


def test_states_follow_events() -> None:
    snapshot = empty()
    replay = Replay(snapshot)
    transactions = [
        Transaction(2.0, "s1", (forwarded(Step.GROUP_ADD, GROUP), update(_ADDED))),
        Transaction(3.0, "s2", (port_status(2, port_description(1, has_carrier=False)),)),
        Transaction(4.0, "s2", (update(_ADDED, idle_s=5),)),
        Transaction(5.0, "s2", (port_status(2, port_description(1)), update(_REMOVED))),
        Transaction(6.0, "s1", (port_status(1, port_description(1)),)),
    ]
    events = [replay.follow(transaction) for transaction in transactions]
    assert [change.step for change in events[0].changes] == [Step.GROUP_ADD, Step.RULE_SET]
    seen = list(states(snapshot, events))
    assert [state.t_s for state in seen] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [set(state.down_ports) for state in seen] == [
        set(),
        set(),
        {PortId("s2", 1)},
        {PortId("s2", 1)},
        set(),
        {PortId("s1", 1)},
    ]
    assert [list(state.foreign) for state in seen] == [[], [], [], ["s2"], [], []]
    assert seen[0].tables == {"s1": Tables(), "s2": Tables()}
    assert seen[-1].tables == {"s1": Tables.of([RULE], [GROUP]), "s2": Tables()}


def write(path: Path, end: Snapshot | None) -> Path:
    line = {"t_s": 2.0, "switch": "s1", "messages": messages_to_json([update(_ADDED)]), "is_gap": False}
    lines = [empty().to_json(), line] + ([] if end is None else [{"end": end.to_json()}])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def end() -> Snapshot:
    up = port_description(1)
    return Snapshot(9.0, TOPOLOGY, {"s1": replies_of(Tables.of([RULE]), up), "s2": replies_of(Tables(), up)})


def test_a_recording_is_read(tmp_path: Path) -> None:
    snapshot, (event,) = load_recording(write(tmp_path / "file", end()))
    assert snapshot.tables == {"s1": Tables(), "s2": Tables()}
    assert (event.t_s, event.switch, event.tables) == (2.0, "s1", Tables.of([RULE]))


def test_a_recording_without_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="file:2: the recording does not end"):
        load_recording(write(tmp_path / "file", None))


def test_a_switch_that_changed_without_a_report_is_found(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"file:3: s1 has changed without a report \(tables\)"):
        load_recording(write(tmp_path / "file", empty()))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda _: "", "file:1: this is no snapshot"),
        (lambda text: text.replace('"s1", "messages"', '"s3", "messages"'), "file:2: damaged"),
        (lambda text: text.replace('"t_s": 2.0, ', ""), "file:2: damaged"),
        (lambda text: text[:-200], "file:3: "),
        (lambda text: text.splitlines()[0] + "\n[1]\n", "file:2: damaged"),
    ],
)
def test_a_damaged_recording_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[str], str], text: str
) -> None:
    path = write(tmp_path / "file", end())
    path.write_text(damage(path.read_text()))
    with pytest.raises(SnapshotError, match=text) as raised:
        load_recording(path)
    assert "\n" not in str(raised.value)


def test_the_recorder_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sockets", str(tmp_path), "--topology", str(tmp_path / "topology"), "--out", "recording"]
    assert main(words) == 1
    (tmp_path / "topology").write_text("{}")
    assert main(words) == 1
    (tmp_path / "topology").write_text(json.dumps(empty().to_json()["topology"]))
    assert main(words) == 1
    missing, empty_file, no_switch = capsys.readouterr().err.splitlines()
    assert "No such file" in missing
    assert "no topology ('name')" in empty_file
    assert no_switch.startswith(f"recorder: switch s1: no answer at {tmp_path}/s1.mgmt (No such file")
