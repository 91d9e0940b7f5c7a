"""`nearcast verify`: saved snapshots, a lab that is up, exit statuses, what is said and saved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from controller.openflow.snapshot import Snapshot
from controller.plan.compile import plan
from controller.plan.facts import Opening
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import CtState, Match, Prefix, Rule, Tables
from experiments.frames import same_packet
from experiments.live import run_at_prompt
from experiments.proofs import proof_to_json, prove_snapshot
from lab.pcap import decode_ipv6, read_pcap
from lab.relay import failed
from tests.unit.controller.networks import facts_of, user_address
from tests.unit.controller.test_snapshot import port_description, replies_of
from tests.unit.experiments.live_labs import Run, lab_up, run_nearcast
from topologies.files import load

FIGURE2 = load("figure2")
FACTS = facts_of(FIGURE2)
ORIGINS = Prefix.of(IPv6Network("fd6e:6361:7374::/64"))
LEAK = Rule(
    TableId.PERMIT,
    900,
    Match(source_class=SourceClass.USER, ipv6_dst=ORIGINS),
    Origin.PERMIT,
    goto=TableId.ROUTER,
)
"""Lets users send to the origin."""
INVARIANTS = 9


Openings = frozenset[Opening]


@cache
def planned(openings: Openings) -> Mapping[str, Tables]:
    return plan(replace(FACTS, openings=openings))


@cache
def replies(switch: str, openings: Openings, more: tuple[Rule, ...]) -> tuple[bytes, ...]:
    """What a switch says that holds what is planned, and some rules more."""
    held = planned(openings)[switch]
    tables = Tables.of((*held.rules.values(), *more), held.groups.values(), held.meters.values())
    ports = (port_description(port.number) for port in FIGURE2.ports[switch])
    return replies_of(tables, *ports)


def snapshot(
    openings: Openings = frozenset(), more: Mapping[str, tuple[Rule, ...]] | None = None
) -> Snapshot:
    said = {switch: replies(switch, openings, (more or {}).get(switch, ())) for switch in FIGURE2.switches}
    return Snapshot(7.5, FIGURE2, said)


LEAKING = {"access1": (LEAK,)}
EXPECTED = {"edges": ["edge1", "edge2", "edge3"], "bound": {}, "openings": []}


class Lab:
    """Answers like a lab, and remembers what it was asked."""

    def __init__(self, found: Snapshot, expected: dict[str, Any] | None = EXPECTED) -> None:
        self.asked: list[dict[str, Any]] = []
        self.controller = (
            None if expected is None else {"expected": expected, "synced": True, "is_steady": True}
        )
        self.arrived = ["origin"]
        self.found = found

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(dict(request))
        match request["op"]:
            case "snapshot":
                return {"ok": True, "snapshot": self.found.to_json(), "controller": self.controller}
            case "replay":
                return {"ok": True, "arrived": self.arrived}
            case _:
                return failed("ofproto/trace is out of order")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def nearcast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(run_nearcast, monkeypatch, capsys)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Snapshot], str]:
    def save(taken: Snapshot) -> str:
        taken.save(tmp_path / "tables.json")
        return str(tmp_path / "tables.json")

    return save


@pytest.fixture
def asking(own_cache: Path, nearcast: Run) -> Callable[..., tuple[int, str, str]]:
    """`nearcast verify` while a lab is up."""

    def ask(lab: Lab, *words: str) -> tuple[int, str, str]:
        with lab_up(own_cache, lab.answer, os.getpid()):
            return nearcast("verify", *words)

    return ask


def test_a_saved_snapshot_is_proved(nearcast: Run, saved: Callable[[Snapshot], str]) -> None:
    status, out, _ = nearcast("verify", saved(snapshot()), "-t", "figure2")
    assert status == 0
    assert f"proved: all {INVARIANTS}" in out
    assert out.count("│ proved  │") == INVARIANTS
    assert "6 switches with" in out
    assert "taken from the tables" in out


def test_the_json_is_the_proof_and_the_time_beside_it(
    nearcast: Run, saved: Callable[[Snapshot], str]
) -> None:
    status, out, complaint = nearcast("verify", saved(snapshot()), "--json")
    assert (status, complaint) == (0, "")
    result = json.loads(out)
    assert list(result) == ["topology", "t_s", "controller", "proof", "seconds"]
    assert (result["topology"], result["t_s"], result["controller"]) == ("figure2", 7.5, None)
    assert set(result["seconds"]) == {"read", "prove"}
    proof, seconds = prove_snapshot(snapshot())
    assert set(seconds) == {"decode", "prove"}
    assert result["proof"] == proof_to_json(proof, FIGURE2)
    assert [entry["holds"] for entry in result["proof"]["invariants"]] == [True] * INVARIANTS
    assert result["proof"]["figures"]["rules"] == snapshot().rule_count


def test_failures_can_be_left_out(nearcast: Run, saved: Callable[[Snapshot], str]) -> None:
    _, out, _ = nearcast("verify", saved(snapshot()), "--json", "--no-failures")
    assert json.loads(out)["proof"]["figures"]["failures"] == 0


def test_a_violation_comes_with_its_packet(
    nearcast: Run, saved: Callable[[Snapshot], str], tmp_path: Path
) -> None:
    folder = tmp_path / "packets"
    status, out, _ = nearcast("verify", saved(snapshot(more=LEAKING)), "--pcap", str(folder), "--no-failures")
    assert status == 1
    assert "isolation: a packet from a user reaches origin" in out
    assert "user1 sends 2001:db8:1::1" in out
    assert "permit     900 source_class=1" in out
    assert "cookie 0x6e63000000000005" in out
    assert "delivered to origin" in out
    assert "ofproto/trace" not in out, "there is no switch to ask"
    files = sorted(folder.iterdir())
    assert files[0].name == "01-isolation.pcap"
    (record,) = read_pcap(files[0])
    decoded = decode_ipv6(record.frame)
    assert decoded is not None
    assert decoded.destination == FACTS.addresses.hosts["origin"].unicast
    assert decoded.destination_mac == FACTS.addresses.router_macs["access1"]


def test_the_same_after_a_failure_is_a_line(nearcast: Run, saved: Callable[[Snapshot], str]) -> None:
    path = saved(snapshot(more=LEAKING))
    _, out, _ = nearcast("verify", path)
    assert "  the same after the failure of " in out
    violations = json.loads(nearcast("verify", path, "--json")[1])["proof"]["invariants"][0]["violations"]
    assert violations[0]["failure"] == ""
    assert any(violation["failure"] for violation in violations)
    assert set(violations[0]) == {"sentence", "failure", "witness", "ofproto_trace", "replay", "pcap"}


def test_a_lab_is_asked_for_its_switches(asking: Callable[..., tuple[int, str, str]]) -> None:
    lab = Lab(snapshot())
    status, out, _ = asking(lab)
    assert (status, lab.asked) == (0, [{"op": "snapshot"}])
    assert "edges that are to answer: edge1, edge2, edge3" in out


def test_a_lab_without_a_controller_is_proved_too(asking: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = asking(Lab(snapshot(), None))
    assert status == 0
    assert "no controller has said" in out


def test_a_controller_that_is_not_done_is_told(asking: Callable[..., tuple[int, str, str]]) -> None:
    lab = Lab(snapshot())
    assert lab.controller is not None
    lab.controller["is_steady"] = False
    assert "was changing things" in asking(lab)[1]
    lab.controller["synced"] = False
    assert "not have all of the newest plan" in asking(lab)[1]


def test_what_the_controller_says_counts(asking: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = asking(Lab(snapshot(), EXPECTED | {"edges": ["edge2", "edge3"]}))
    assert status == 1
    assert "user1 is served by edge1; the nearest is edge2" in out
    bound = EXPECTED | {"bound": {"user1": "edge3"}}
    assert "user1 is served by edge1; the nearest is edge3" in asking(Lab(snapshot(), bound))[1]


def test_an_opening_is_told_and_one_too_many_is_a_violation(
    asking: Callable[..., tuple[int, str, str]],
) -> None:
    address = user_address(FIGURE2, "user1")
    opened = snapshot(frozenset({Opening(address, 6, 8080)}))
    status, out, _ = asking(Lab(opened, EXPECTED | {"openings": [[str(address), 6, 8080]]}))
    assert status == 0
    (said,) = (line for line in out.splitlines() if line.startswith("open by subscription: "))
    assert str(address) in said
    assert "8080" in said
    status, out, _ = asking(Lab(opened))
    assert status == 1
    assert "gateway: user1 gets what it has not asked for" in out


def test_what_was_saved_is_proved_again_the_same(
    asking: Callable[..., tuple[int, str, str]], nearcast: Run, tmp_path: Path
) -> None:
    path = tmp_path / "kept.json"
    lab = Lab(snapshot(), EXPECTED | {"edges": ["edge2", "edge3"]})
    first = json.loads(asking(lab, "--save", str(path), "--json")[1])
    second = json.loads(nearcast("verify", str(path), "--json")[1])
    for one in (first, second):
        del one["seconds"]
        for entry in one["proof"]["invariants"]:
            for violation in entry["violations"]:
                violation["ofproto_trace"] = None
    assert first == second


def test_a_replay_sends_the_packet(asking: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    lab = Lab(snapshot(more=LEAKING))
    status, out, _ = asking(lab, "--replay", "--pcap", str(tmp_path))
    assert status == 1
    assert "replay: sent, and it arrived at origin, as the proof says" in out
    assert "ofproto/trace: not asked, ofproto/trace is out of order" in out
    sent = [request for request in lab.asked if request["op"] == "replay"]
    assert (sent[0]["sender"], sent[0]["expected"]) == ("user1", ["origin"])
    (record,) = read_pcap(tmp_path / "01-isolation.pcap")
    assert same_packet(bytes.fromhex(sent[0]["frame"]), record.frame)
    asked = [request for request in lab.asked if request["op"] == "ovs"]
    assert asked[0] == {"op": "ovs", "method": "dpif/show", "parameters": []}


def test_a_replay_that_goes_astray_is_told(asking: Callable[..., tuple[int, str, str]]) -> None:
    lab = Lab(snapshot(more=LEAKING))
    lab.arrived = []
    status, out, _ = asking(lab, "--replay", "--no-failures")
    assert status == 1
    assert "replay: sent, and it arrived nowhere, not at origin" in out


def test_what_a_single_packet_cannot_show_is_not_sent(asking: Callable[..., tuple[int, str, str]]) -> None:
    user1 = user_address(FIGURE2, "user1")
    held = planned(frozenset())["access1"].rules.values()
    deliver = next(
        rule
        for rule in held
        if rule.table is TableId.DELIVER and rule.match.ipv6_dst == Prefix.of(user1) and rule.actions
    )
    invalid = replace(deliver, match=replace(deliver.match, ct_state=CtState.INVALID))
    lab = Lab(snapshot(more={"access1": (invalid,)}))
    status, out, _ = asking(lab, "--replay", "--no-failures")
    assert status == 1
    assert "replay: not sent, connection tracking would have to know it as invalid" in out
    assert not [request for request in lab.asked if request["op"] == "replay"]


def test_after_a_failure_nothing_is_sent(asking: Callable[..., tuple[int, str, str]]) -> None:
    result = json.loads(asking(Lab(snapshot(more=LEAKING)), "--replay", "--json")[1])
    later = [
        violation for violation in result["proof"]["invariants"][0]["violations"] if violation["failure"]
    ]
    assert later
    for violation in later:
        for check in ("replay", "ofproto_trace"):
            assert violation[check] == {"agrees": None, "why": f"{violation['failure']} has not failed now"}


def test_what_is_not_modelled_is_not_decidable(
    nearcast: Run, saved: Callable[[Snapshot], str], asking: Callable[..., tuple[int, str, str]]
) -> None:
    taken = snapshot()
    foreign = bytearray(b"".join(taken.replies["access1"]))
    place = foreign.index((0x6E63_0000_0000_0005).to_bytes(8))
    foreign[place] = 0
    messages, rest = [], bytes(foreign)
    while rest:
        length = int.from_bytes(rest[2:4])
        messages.append(rest[:length])
        rest = rest[length:]
    taken = replace(taken, replies={**taken.replies, "access1": tuple(messages)})
    for status, out, complaint in (nearcast("verify", saved(taken)), asking(Lab(taken), "--json")):
        assert (status, out) == (2, "")
        said = complaint.splitlines()[-1]
        assert said.startswith(
            "nearcast: nothing is proved: access1: table 1 priority 100 cookie 0x63000000000005"
        )
        assert said.endswith("that is not modelled, remove it from the switch (docs/verify.md)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is proved: no lab is up; start one with `nearcast up`; or give a saved snapshot"),
        (("-t", "metro"), "a topology alone has no tables: start it with `nearcast up -t metro`"),
        (("{file}", "--lab", "7"), "--lab needs a lab that is up; leave out "),
        (("{file}", "--replay"), "--replay needs a lab that is up; leave out "),
        (("{file}", "-t", "metro"), "--topology metro: the switches are those of figure2"),
        (("{file}", "-t", "moon"), "moon: does not exist"),
        (("nowhere.json",), "nothing is proved: nowhere.json: No such file or directory"),
        (("{damaged}",), "this is no snapshot of a lab's switches"),
        (("{odd}",), "what the controller said is damaged"),
        (("{odder}",), "what is expected of it is damaged"),
        (("{file}", "--policy", "nowhere.yaml"), "--policy nowhere.yaml: cannot be read"),
        (("{file}", "--save", "/nowhere/x"), "nothing is proved: /nowhere/x: No such file or directory"),
    ],
)
def test_what_proves_nothing_is_exit_status_2(
    nearcast: Run, saved: Callable[[Snapshot], str], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    paths = {"file": saved(snapshot())}
    data = snapshot().to_json()
    for name, content in (
        ("damaged", {"switches": {}}),
        ("odd", data | {"controller": "says no"}),
        ("odder", data | {"controller": {"expected": {"edges": 7}}}),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        paths[name] = str(tmp_path / name)
    status, out, complaint = nearcast("verify", *(word.format(**paths) for word in words))
    assert (status, out) == (2, "")
    assert said in " ".join(complaint.split())
    assert "Traceback" not in complaint


def test_verify_at_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab(snapshot())
    run_at_prompt("verify", "--no-failures", lab.answer)
    assert f"proved: all {INVARIANTS}" in capsys.readouterr().out
    run_at_prompt("verify", "-t metro", lab.answer)
    assert "--topology metro: the switches are those of figure2" in capsys.readouterr().out
    lab.found = snapshot(more=LEAKING)
    run_at_prompt("verify", "--replay", lab.answer)
    assert "arrived at origin, as the proof says" in capsys.readouterr().out
