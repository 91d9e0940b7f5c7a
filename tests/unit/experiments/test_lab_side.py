"""The lab's own answers to `nearcast verify`: the switches are asked, whatever becomes of the controller."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.control_socket import serve_control
from controller.openflow.channel import ChannelError
from controller.openflow.snapshot import SnapshotError
from controller.verify.ground import Expected
from experiments import lab_side
from experiments.proofs import expected_from_json, expected_to_json
from experiments.requests import Requests
from topologies.files import load

FIGURE2 = load("figure2")
STATUS = {"edges_accepting": ["edge1"], "bound": {"user1": "edge2"}, "openings": [["2001:db8:1::5", 6, 80]]}


class Switches:
    """Stands in for a testbed: every reading of its switches is another one."""

    def __init__(self, work: Path) -> None:
        self.topology = FIGURE2
        self.work = work
        self.openvswitch = SimpleNamespace(folder=work)
        self.readings = 0

    def snapshot(self) -> Any:
        self.readings += 1
        number = self.readings
        return SimpleNamespace(to_json=lambda: {"reading": number})


@pytest.fixture
def testbed(tmp_path: Path) -> Switches:
    return Switches(tmp_path)


@pytest.fixture
def lab(testbed: Any) -> Requests:
    requests = Requests()
    requests.ready(testbed)
    return requests


def controller(testbed: Switches, *statuses: dict[str, Any]) -> None:
    """A controller that says one thing after the other, and the last one again and again."""
    left = list(statuses)

    def handle(request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert request == {"op": "status"}
        return left.pop(0) if len(left) > 1 else left[0]

    serve_control(testbed.work / "controller.sock", handle)


def test_the_switches_are_read_without_a_controller(lab: Requests) -> None:
    assert lab.answer({"op": "snapshot"}) == {"ok": True, "snapshot": {"reading": 1}, "controller": None}


def test_the_controller_says_what_to_expect(lab: Requests, testbed: Switches) -> None:
    controller(testbed, STATUS | {"synced": True})
    answer = lab.answer({"op": "snapshot"})
    expected = {"edges": ["edge1"], "bound": {"user1": "edge2"}, "openings": [["2001:db8:1::5", 6, 80]]}
    assert answer["controller"] == {"expected": expected, "synced": True, "is_steady": True}


def test_switches_are_read_again_while_things_change(lab: Requests, testbed: Switches) -> None:
    busy, done = STATUS | {"synced": False}, STATUS | {"synced": True}
    controller(testbed, busy, busy, busy, done, done)
    answer = lab.answer({"op": "snapshot"})
    assert answer["snapshot"] == {"reading": 3}
    assert (answer["controller"]["is_steady"], answer["controller"]["synced"]) == (True, True)


def test_things_that_never_rest_are_told(
    lab: Requests, testbed: Switches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab_side, "_PAUSE_S", 0.0)
    controller(testbed, *(STATUS | {"synced": number % 2 == 0} for number in range(99)))
    answer = lab.answer({"op": "snapshot"})
    assert (answer["snapshot"], answer["controller"]["is_steady"]) == ({"reading": 10}, False)


def test_a_switch_that_does_not_answer_is_one_line(lab: Requests, testbed: Any) -> None:
    def silent() -> Any:
        raise ChannelError("switch access1: no answer\nat all")

    testbed.snapshot = silent
    answer = lab.answer({"op": "snapshot"})
    assert answer == {"ok": False, "error": "switch access1: no answer at all", "usage": False}
    answer = lab.answer({"op": "ovs", "method": "dpif/show", "parameters": []})
    assert (answer["ok"], answer["usage"]) == (False, False)
    assert "no ovs-vswitchd runs in " in answer["error"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"op": "ovs", "method": "exit", "parameters": []}, '"method", one of dpif/show, ofproto/trace'),
        ({"op": "ovs", "method": "dpif/show", "parameters": [1]}, '"parameters", texts'),
        ({"op": "ovs"}, '"ovs" needs'),
        ({"op": "replay"}, '"sender" is None'),
        ({"op": "replay", "sender": ["user1"]}, "\"sender\" is ['user1']"),
        ({"op": "replay", "sender": "core1"}, "no host of the topology figure2"),
        ({"op": "replay", "sender": "user1", "wait_s": 1e9}, "a number of seconds up to 30"),
        ({"op": "replay", "sender": "user1", "wait_s": "x"}, "a number of seconds"),
        ({"op": "replay", "sender": "user1", "wait_s": 1, "frame": "xyz"}, "hexadecimal"),
        ({"op": "replay", "sender": "user1", "wait_s": 1, "frame": "00", "expected": "o"}, "a list of hosts"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(lab: Requests, request_: dict[str, Any], said: str) -> None:
    answer = lab.answer(request_)
    assert (answer["ok"], answer["usage"]) == (False, True)
    assert said in answer["error"]


@pytest.mark.parametrize(
    "expected",
    [
        Expected(),
        Expected((), {}, frozenset()),
        Expected(("edge1",), {"user1": "edge1"}, frozenset({(IPv6Address("2001:db8::1"), 17, 53)})),
    ],
)
def test_what_is_expected_is_the_same_as_data(expected: Expected) -> None:
    assert expected_from_json(expected_to_json(expected)) == expected
    assert expected_from_json(None) == Expected()


@pytest.mark.parametrize(
    "data",
    [7, [], {}, {"edges": 1, "bound": {}, "openings": None}, {"edges": [], "bound": 3, "openings": []}],
)
def test_damaged_expectations_are_refused(data: Any) -> None:
    with pytest.raises(SnapshotError, match="what is expected of it is damaged"):
        expected_from_json(data)
