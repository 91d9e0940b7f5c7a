"""Commands to a lab that is up: the words, the requests they become, and what is said about the answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from experiments import live, session
from experiments.interactive import LIVE_COMMANDS
from experiments.requests import Requests, outcome
from tests.unit.experiments.live_labs import Run, lab_up, run_nearcast

ROWS = [
    {"switch": "a1", "destination": "2001:db8:2::/48", "edge": None, "via": "d1", "alternate": "d2"},
    {"switch": "a2", "destination": "fd00::[1]", "edge": "edge1", "via": "controller", "alternate": None},
]
PACKET = {
    "src": "2001:db8:1::5", "dst": "2001:db8:ffff::1", "protocol": 6, "port_dst": 80, "frame_bytes": 114,
    "hop_limit": 64, "edge": None, "icmpv6_type": None, "is_fragment": False,
}  # fmt: skip
RULE = {
    "kind": "rule", "table": "ingress", "priority": 300, "match": "in_port=4", "actions": ["goto:permit"],
    "origin": "source", "rivals": [],
}  # fmt: skip


def walked(where: str, delay_ms: float) -> dict[str, Any]:
    met = [
        RULE,
        {"kind": "miss", "table": "permit"},
        {"kind": "group", "group": "0x1", "buckets": []},
        {"kind": "tracked", "zone": 1, "state": "established", "edge": "edge2"},
        {"kind": "committed", "zone": 1, "edge": "edge2"},
        {"kind": "sent", "port": 3, "to": where},
    ]
    hop = {"switch": "a1", "from": "user1", "after": None, "delay_ms": 1.0, "packet": PACKET, "met": met}
    end = {"fate": "delivered", "where": where, "after": 0, "reason": "", "argument": 0, "delay_ms": delay_ms}
    return {"hops": [hop], "ends": [end]}


TRACE = {"ok": True, "packet": PACKET, "there": walked("edge1", 1.1), "back": walked("user1", 1.2)}


class Lab:
    """Answers like a lab, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {
            "show": {"ok": True, "rows": ROWS},
            "trace": TRACE,
            "subscribe": {"ok": True, "result": {"port": 8080, "nonce": "00"}},
            "metrics": {"ok": True, "text": '# TYPE x counter\nx_total{kind="y"} 3.0\n'},
        }

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(dict(request))
        return self.answers.get(str(request["op"]), {"ok": True})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def lab(cache: Path) -> Iterator[Lab]:
    found = Lab()
    with lab_up(cache, found.answer, os.getpid()):
        yield found


@pytest.fixture
def nearcast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(run_nearcast, monkeypatch, capsys)


def test_rows_become_a_table(lab: Lab, nearcast: Run) -> None:
    status, out, _ = nearcast("show", "routes", "a1")
    assert status == 0
    assert lab.asked == [{"op": "show", "what": "routes", "switch": "a1", "installed": False}]
    assert "routes (2)" in out
    assert "2001:db8:2::/48" in out
    assert "fd00::[1]" in out, "what looks like markup is text"


def test_rows_as_json_are_the_rows(lab: Lab, nearcast: Run) -> None:
    status, out, _ = nearcast("show", "flows", "--installed", "--json")
    assert (status, json.loads(out)) == (0, ROWS)
    assert lab.asked[0]["installed"] is True


def test_a_trace_tells_what_the_packet_met(lab: Lab, nearcast: Run) -> None:
    status, out, _ = nearcast("trace", "user1", "service", "--port", "443", "--began-at", "edge2")
    assert status == 0
    assert lab.asked[0]["op"] == "trace"
    assert (lab.asked[0]["port"], lab.asked[0]["began_at"]) == (443, "edge2")
    for said in (
        "user1 to service",
        "a1 from user1 after 1.000 ms, hop limit 64",
        "ingress    300 in_port=4 -> goto:permit [source]",
        "permit       - no rule",
        "group 0x1, bucket none",
        "zone 1 knows the connection as established, began at edge2",
        "out of port 3 to edge1",
        "delivered to edge1 after 1.100 ms",
        "delivered to user1 after 1.200 ms",
        "both ways: 2.300 ms",
    ):
        assert said in out


def test_an_answer_that_gets_lost_has_no_round_trip(lab: Lab, nearcast: Run) -> None:
    lost = walked("a1", 0.5)
    lost["ends"][0] |= {"fate": "punted", "reason": "too big", "argument": 1400}
    lab.answers["trace"] = TRACE | {"back": lost}
    _, out, _ = nearcast("trace", "user1", "service")
    assert "handed to the controller at a1: too big (1400)" in out
    assert "both ways" not in out


def test_a_trace_as_json_has_both_walks(lab: Lab, nearcast: Run) -> None:
    status, out, _ = nearcast("trace", "user1", "service", "--json")
    assert (status, json.loads(out)) == (0, {key: TRACE[key] for key in ("packet", "there", "back")})


@pytest.mark.parametrize(
    ("words", "request_", "said"),
    [
        (("drain", "edge3"), {"op": "drain", "edge": "edge3"}, "edge3 gets no new connections"),
        (("undrain", "edge3"), {"op": "undrain", "edge": "edge3"}, "edge3 may get new connections"),
        (("bind", "user1", "edge2"), {"op": "bind", "user": "user1", "edge": "edge2"}, "go to edge2"),
        (("bind", "user1", "nearest"), {"op": "bind", "user": "user1", "edge": None}, "the nearest edge"),
        (
            ("subscribe", "user1", "tcp/8080"),
            {
                "op": "subscribe",
                "user": "user1",
                "protocol": "tcp",
                "port": 8080,
                "lifetime_s": 3600,
                "nonce": None,
            },
            "user1 tcp/8080 is open for 3600 s",
        ),
    ],
)
def test_what_changes_the_lab(
    lab: Lab, nearcast: Run, words: tuple[str, ...], request_: dict[str, Any], said: str
) -> None:
    status, out, _ = nearcast(*words)
    assert (status, lab.asked) == (0, [request_])
    assert said in out
    status, out, _ = nearcast(*words, "--json")
    assert status == 0
    assert isinstance(json.loads(out), dict)


def test_metrics_are_text_or_samples(lab: Lab, nearcast: Run) -> None:
    assert nearcast("metrics")[:2] == (0, lab.answers["metrics"]["text"])
    status, out, _ = nearcast("metrics", "--json")
    assert (status, json.loads(out)) == (0, [{"name": "x_total", "labels": {"kind": "y"}, "value": 3.0}])


def test_what_the_lab_refuses_is_one_line(lab: Lab, nearcast: Run) -> None:
    lab.answers["drain"] = {"ok": False, "error": "no edge edge99", "usage": True}
    assert nearcast("drain", "edge99") == (2, "", "nearcast: no edge edge99\n")
    lab.answers["drain"] = {"ok": False, "error": "not synced within 30 s", "usage": False}
    assert nearcast("drain", "edge1") == (1, "", "nearcast: not synced within 30 s\n")


@pytest.mark.parametrize("service", ["8080", "tcp", "sctp/1", "tcp/0", "udp/65536", "tcp/x"])
def test_a_service_is_a_protocol_and_a_port(lab: Lab, nearcast: Run, service: str) -> None:
    status, _, complaint = nearcast("subscribe", "user1", service)
    assert (status, lab.asked) == (2, [])
    assert "expected tcp/PORT or udp/PORT" in complaint


def test_no_lab_is_up(nearcast: Run) -> None:
    assert nearcast("show", "routes") == (1, "", "nearcast: no lab is up; start one with `nearcast up`\n")


def test_several_labs_are_told_apart(cache: Path, nearcast: Run) -> None:
    first, second = Lab(), Lab()
    with lab_up(cache, first.answer, os.getpid()), lab_up(cache, second.answer, os.getppid()):
        status, _, complaint = nearcast("drain", "edge1")
        assert status == 2
        assert "2 labs are up; say which with --lab" in complaint
        assert nearcast("drain", "edge1", "--lab", str(os.getppid()))[0] == 0
        assert (first.asked, len(second.asked)) == ([], 1)
        assert nearcast("drain", "edge1", "--lab", "1")[0] == 2


def test_what_a_killed_lab_has_left_is_swept(cache: Path, nearcast: Run) -> None:
    folder = cache / "nearcast" / "labs"
    folder.mkdir(parents=True)
    for name in ("999999999.pid", "999999999.sock"):
        (folder / name).write_text("0")
    assert nearcast("metrics")[0] == 1
    assert list(folder.iterdir()) == []


def test_a_lab_that_is_not_listening(cache: Path, nearcast: Run) -> None:
    folder = cache / "nearcast" / "labs"
    folder.mkdir(parents=True)
    (folder / f"{os.getpid()}.pid").write_text(session._started(os.getpid()))
    status, _, complaint = nearcast("metrics")
    assert status == 1
    assert "cannot be reached" in complaint


def test_the_prompt_has_every_command() -> None:
    names = {entry.callback.__name__ for entry in live.app.registered_commands if entry.callback}
    assert set(LIVE_COMMANDS) == names


def test_commands_at_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    found = Lab()
    live.run_at_prompt("drain", "edge3", found.answer)
    live.run_at_prompt("show", "routes 'a1'", found.answer)
    assert [asked["op"] for asked in found.asked] == ["drain", "show"]
    found.answers["drain"] = {"ok": False, "error": "no such edge", "usage": True}
    for command, line in (
        ("drain", "edge9"),
        ("drain", ""),
        ("show", "routes --colour"),
        ("trace", "user1 'x"),
    ):
        live.run_at_prompt(command, line, found.answer)
    said = capsys.readouterr().out
    for complaint in ("no such edge", "Missing argument", "No such option", "No closing quotation"):
        assert complaint in said
    live.run_at_prompt("bind", "--help", found.answer)
    assert "bind" in capsys.readouterr().out


def test_a_lab_that_is_starting_says_so() -> None:
    assert "still starting" in Requests().answer({"op": "status"})["error"]


@pytest.mark.parametrize(
    ("status", "output", "complaint", "expected"),
    [
        (0, '{"ok": true, "port": 80}\n', "", {"ok": True, "result": {"ok": True, "port": 80}}),
        (1, '{"ok": false, "result": "NO_RESOURCES"}\n', "", ("the gateway refuses: NO_RESOURCES", False)),
        (1, '{"ok": false, "error": "no answer from fe80::1"}\n', "", ("no answer from fe80::1", False)),
        (
            2,
            "",
            "usage: pcp\npcp: error: --port is out of range\n",
            ("pcp: error: --port is out of range", True),
        ),
        (-9, "", "", ("the PCP client gave no reason", False)),
    ],
)
def test_how_a_subscription_ended(status: int, output: str, complaint: str, expected: Any) -> None:
    answer = outcome(status, output, complaint)
    if isinstance(expected, dict):
        assert answer == expected
    else:
        assert (answer["ok"], answer["error"], answer["usage"]) == (False, *expected)
