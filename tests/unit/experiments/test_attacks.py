"""The attack catalogue, what is made of proofs and captures, and the claims about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.l2 import Ether

from controller.plan.compile import plan
from controller.plan.facts import Binding, port_id
from experiments.attack.catalogue import CATALOGUE, numbered
from experiments.attack.census import Slot, count, strangers
from experiments.attack.judgement import Done, Known, attack_row, attack_states
from experiments.attack.model import MARK_BYTES, Attacker, Family, Node, marked, marks
from experiments.attack.proof import Outcome, Proof, Prover, together
from experiments.attack.records import AttackRow, AttackState
from experiments.attack.turns import Turn, timetable
from experiments.attacks import SERVICE_FLOODS, scenarios
from experiments.claims.attacks import WINDOW
from experiments.claims.catalogue import claims_of
from experiments.claims.model import Claim, Evidence
from experiments.options import Options
from experiments.records import CaptureCount, LinkSample, ScenarioRecords
from experiments.report import attack_families
from experiments.scenario import Mode
from lab.pcap import CapturedFrame
from tests.unit.controller.networks import facts_of
from tests.unit.experiments.synthetic import frame
from tests.unit.experiments.synthetic_windows import Scenarios, request, write_capture
from topologies.addressing import ERROR_SOURCE, GATEWAY, ROUTER_PREFIX, plan_addresses
from topologies.files import load
from topologies.spec import Role

TOPOLOGY = load("figure2")
PLAN = plan_addresses(TOPOLOGY)
ME = "user1"
USERS = TOPOLOGY.of_role(Role.USER)
EDGES = TOPOLOGY.of_role(Role.EDGE)
ACCESS = TOPOLOGY.access_port(ME)
LARGEST_FRAME_BYTES = 1514


def node(name: str) -> Node:
    mac = PLAN.hosts[name].mac
    if TOPOLOGY.role(name) is not Role.USER:
        return Node(name, mac, PLAN.hosts[name].unicast)
    prefix = PLAN.user_prefixes[TOPOLOGY.access_port(name).node]
    return Node(name, mac, prefix[0x100 + TOPOLOGY.access_port(name).number])


ATTACKER = Attacker(
    me=node(ME),
    prefix=PLAN.user_prefixes[ACCESS.node],
    router_macs=(PLAN.router_macs[ACCESS.node], PLAN.router_macs["core1"]),
    routers=(ROUTER_PREFIX[1], ERROR_SOURCE),
    origin=node("origin"),
    edges=tuple(map(node, EDGES)),
    dns=node("dns"),
    neighbours=(node("user2"),),
    strangers=tuple(map(node, USERS[2:])),
    service=PLAN.service,
    infrastructure=PLAN.infrastructure,
    user_prefixes=PLAN.user_prefixes,
    static_group=PLAN.static_group,
    seed=1,
)


@lru_cache(maxsize=1)
def turns() -> dict[str, Turn]:
    return {turn.attack.name: turn for turn in timetable(ATTACKER)}


@lru_cache(maxsize=1)
def prover() -> Prover:
    facts = replace(
        facts_of(TOPOLOGY),
        bindings=tuple(
            Binding(port_id(TOPOLOGY.access_port(user)), node(user).address, node(user).mac) for user in USERS
        ),
    )
    return Prover(TOPOLOGY, plan(facts))


def proof_of(name: str) -> Proof:
    turn = turns()[name]
    parts = [prover().proof(turn.frames, port_id(ACCESS), turn.attack.tracked)]
    if turn.heard:
        parts.append(prover().proof(turn.heard, port_id(TOPOLOGY.access_port("origin"))))
    return together(parts)


def test_the_catalogue_is_large_and_its_names_are_unique() -> None:
    names = [attack.name for attack in CATALOGUE]
    assert len(names) == len(set(names))
    assert 40 <= len(names) < 255
    assert {attack.family for attack in CATALOGUE} == set(Family)
    assert {attack.claim for attack in CATALOGUE} == {"C8", "C9", "C10", "C11"}
    assert set(SERVICE_FLOODS) <= set(names)


@pytest.mark.parametrize("attack", CATALOGUE, ids=lambda attack: attack.name)
def test_an_attack_says_what_it_is_and_makes_frames_that_fit_a_link(attack: object) -> None:
    turn = next(turn for turn in turns().values() if turn.attack == attack)
    assert turn.attack.tries
    assert turn.attack.reference
    assert bool(turn.attack.because) == bool(turn.attack.may_reach)
    assert turn.frames
    for data in (*turn.frames[:200], *turn.heard):
        assert 14 <= len(data) <= LARGEST_FRAME_BYTES
        assert Ether(data).src == data[6:12].hex(":")
    assert {marked(data) for data in turn.frames} <= {turn.number, None}


@pytest.mark.parametrize("attack", CATALOGUE, ids=lambda attack: attack.name)
def test_the_planned_tables_let_an_attack_come_no_further_than_it_may(attack: object) -> None:
    turn = next(turn for turn in turns().values() if turn.attack == attack)
    proof = proof_of(turn.attack.name)
    assert {TOPOLOGY.role(host) for host in proof.hosts} <= turn.attack.may_reach
    assert sum(proof.outcomes.values()) == len(turn.frames) + len(turn.heard)
    assert proof.text


def test_turns_follow_one_another_and_the_same_seed_makes_the_same_frames() -> None:
    ordered = list(turns().values())
    for one, other in pairwise(ordered):
        assert other.at_s == pytest.approx(one.end_s)
    for turn in timetable(ATTACKER, ("ula-sweep", "flood-ns")):
        assert turn.frames == turns()[turn.attack.name].frames
    with pytest.raises(KeyError, match="no-such"):
        numbered(("no-such",))


def test_a_mark_is_found_wherever_it_is() -> None:
    mark = marks(7)
    assert len(mark()) == MARK_BYTES
    assert marked(b"before" + mark() + b"after") == 7
    assert marked(b"nothing") is None
    assert marked(mark()[:5]) is None


def test_a_proof_is_told_in_one_line() -> None:
    assert proof_of("origin-ports").text == "refused at access1 (no route, 100/s)"
    assert proof_of("arp").text == "dropped at access1: not IPv6"
    assert "1 delivered to edge1, edge2 and edge3" in proof_of("join").text
    assert proof_of("service-ports").outcomes == {Outcome.DELIVERED: 11}


def sniffed(*frames: bytes, at_ns: int = 0) -> list[CapturedFrame]:
    return [CapturedFrame(at_ns, len(data), data) for data in frames]


def marked_frame(number: int, destination: str | IPv6Address, source: str | None = None) -> bytes:
    head = frame("02:6e:63:01:00:01", source or str(ATTACKER.me.address), str(destination))
    return head + bytes(8) + marks(number)()


def test_frames_are_known_by_their_mark_or_by_whom_they_come_from() -> None:
    numbers = {attack.name: number for number, attack in numbered().items()}
    public, hidden = numbers["service-ports"], numbers["origin-ports"]
    own, other = (str(ATTACKER.me.address), str(ATTACKER.neighbours[0].address))
    plain = frame("02:6e:63:01:00:01", own, str(PLAN.service))
    captures = {
        "edge1": [
            *sniffed(marked_frame(public, PLAN.service), at_ns=5),
            *sniffed(marked_frame(public, ATTACKER.edges[0].address), at_ns=5),
            *sniffed(plain, at_ns=5),
            *sniffed(frame("02:6e:63:01:00:01", other, str(PLAN.service)), at_ns=5),
            *sniffed(plain, at_ns=99),
        ],
        "origin": sniffed(marked_frame(hidden, ATTACKER.origin.address, str(ATTACKER.edges[0].address))),
        "user2": sniffed(marked_frame(public, other)),
        ME: [
            *sniffed(frame("02:6e:63:01:00:01", str(ERROR_SOURCE), own)),
            *sniffed(frame("02:6e:63:01:00:01", "2001:db8:fffd::3", own)),
            *sniffed(frame("02:6e:63:01:00:01", "fd6e:6361:7374::4", "ff35::8000:1"), at_ns=15),
            *sniffed(b"\0" * 20),
        ],
    }
    slots = [Slot(public, 0, 10), Slot(hidden, 10, 20)]
    found = count(captures, TOPOLOGY, ATTACKER, numbered(), slots)
    assert found.public == {(public, "edge1"): 2}
    assert found.leaked == {
        (public, "edge1"): 1,
        (0, "edge1"): 1,
        (hidden, "origin"): 1,
        (public, "user2"): 1,
        (hidden, ME): 1,
    }
    assert found.strays == 1
    assert found.arrived(public) == {"edge1": 3, "user2": 1}
    known = (GATEWAY, ERROR_SOURCE)
    seen = {str(address) for address in strangers(found, ATTACKER, known)}
    assert seen == {"2001:db8:fffd::3", "fd6e:6361:7374::4"}
    turn = turns()["service-ports"]
    row = attack_row(turn, Done(slots[0], 11), 0, proof_of("service-ports"), proof_of("service-ports"), found)
    assert (row.arrived, row.allowed, row.leaked) == ("edge1:3 user2:1", 2, 2)
    assert row.contradictions == {"user2"}


def test_what_the_attacker_does_to_itself_is_no_harm() -> None:
    status = {
        name: [] for name in ("edges_accepting", "edges_alive", "edges_drained", "switches", "foreign_rules")
    }
    own = {"host": ME, "address": "2001:db8:1::66", "mac": "02::1", "open": []}
    other = {"host": "user2", "address": "2001:db8:1::5", "mac": "02::2", "open": []}
    membership = {"host": ME, "group": "ff3e::8000:1", "source": None}
    nothing = count({}, TOPOLOGY, ATTACKER, {}, [])
    before, after = Known(status, [other], []), Known(status, [other, own], [membership])
    assert all(state.is_unharmed for state in attack_states(ATTACKER, before, after, nothing))
    opened = Known(status, [{**other, "open": ["tcp/8080"]}], [{**membership, "group": "ff35::8000:1"}])
    harmed = [
        state.what for state in attack_states(ATTACKER, before, opened, nothing) if not state.is_unharmed
    ]
    assert harmed == [
        "addresses of others, and what they have opened",
        "groups of limited scope the attacker is in",
    ]


def row(name: str, claim: str, arrived: str = "", proved: str = "", leaked: int = 0) -> AttackRow:
    allowed = sum(int(item.split(":")[1]) for item in arrived.split()) - leaked
    return AttackRow(
        attack=name,
        family="scans",
        claim=claim,
        reference="RFC",
        tries="something",
        because="it may",
        begin_s=1.0,
        end_s=2.0,
        distinct=10,
        sent=10,
        proof="refused",
        dropped=4,
        refused=6,
        controller=0,
        delivered=0,
        proved=proved,
        arrived=arrived,
        allowed=allowed,
        leaked=leaked,
        large_sent=1,
        large_received=1,
    )


def sound(folder: Path) -> Scenarios:
    """Nothing leaks, nobody notices."""
    acts = [{"kind": "attack", "arguments": {"user": ME, "measured": ["flood-service"]}}]
    facts = {"scenario": {"acts": acts}}
    links = tuple(
        LinkSample("flood-service", t_s, "dist1-access1", "access1", "dist1", "distribution", size, 0, 0)
        for t_s, size in ((1.0, 100), (2.0, 200))
    )
    requests = tuple(
        request(WINDOW, user, 10 + tick / 10, EDGES[place // 2])
        for tick in range(20)
        for place, user in enumerate(USERS)
        if user != ME
    )
    edge = ScenarioRecords(
        "edge",
        folder / "edge",
        TOPOLOGY,
        links=links,
        requests=requests,
        attacks=(
            row("origin-ports", "C8"),
            row("service-ports", "C8", "edge1:11", "edge1"),
            row("join", "C10", "edge1:1 edge2:1 edge3:1", "edge1 edge2 edge3"),
        ),
        attack_states=(
            AttackState("C9", "edges accepting", "edge1", "edge1", True),
            AttackState("C10", "members of groups", "", "", True),
            AttackState("C11", "others that answered", "", "", True),
        ),
        attack_captures=tuple(CaptureCount(host, "inbound", 5, 5, 0) for host in TOPOLOGY.hosts),
        facts=facts,
    )
    flooded = tuple(replace(sample, bytes=sample.bytes * 10_000) for sample in links)
    central = ScenarioRecords(
        "central",
        folder / "central",
        TOPOLOGY,
        links=flooded,
        captures=(CaptureCount("origin", "inbound", 1, 1, 0),),
        facts=facts,
    )
    write_capture(central, "origin", [frame(PLAN.hosts[ME].mac, str(ATTACKER.me.address), str(PLAN.service))])
    return {"edge": edge, "calm": replace(edge, name="calm", attacks=()), "central": central}


def claims(found: Scenarios) -> list[Claim]:
    return claims_of("attacks", Evidence(TOPOLOGY, found))


def test_a_sound_run_holds_every_claim(tmp_path: Path) -> None:
    found = claims(sound(tmp_path))
    assert [(claim.statement, claim.notes) for claim in found if not claim.holds] == []
    assert {claim.id for claim in found} == {"C8", "C9", "C10", "C11"}


def spoiled(**changes: Any) -> Callable[[ScenarioRecords], ScenarioRecords]:
    return lambda records: replace(records, **changes)


def with_row(*rows: AttackRow) -> Callable[[ScenarioRecords], ScenarioRecords]:
    return lambda records: replace(records, attacks=(*records.attacks, *rows))


def with_state(claim: str) -> Callable[[ScenarioRecords], ScenarioRecords]:
    state = AttackState(claim, "something", "old", "new", False)
    return lambda records: replace(records, attack_states=(*records.attack_states, state))


def last_request(edge: str = "edge1", **changes: Any) -> Callable[[ScenarioRecords], ScenarioRecords]:
    late = request(WINDOW, "user2", 12, edge, **changes)
    return lambda records: replace(records, requests=(*records.requests, late))


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        (with_row(row("as-edge", "C8", "origin:1", "origin", leaked=1)), {"at the origin"}),
        (with_row(row("martians", "C8", "edge2:1", "edge2", leaked=1)), {"at the origin"}),
        (with_row(row("rogue-ra", "C9", "user2:1", "user2", leaked=1)), {"at other users"}),
        (with_row(row("sg-injection", "C10", "edge3:1", "edge3", leaked=1)), {"to groups", "at the origin"}),
        (with_row(row("curious", "C9", f"{ME}:1", ME, leaked=1)), {"to groups"}),
        (with_row(row("routing-0", "C8", "", "edge1")), {"different stories"}),
        (with_row(row("routing-0", "C8", "edge1:5", "")), {"different stories"}),
        (with_state("C9"), {"the network knows"}),
        (with_state("C10"), {"memberships"}),
        (with_state("C11"), {"signs of routers"}),
        (last_request(error="timeout"), {"failed during"}),
        (last_request(edge="edge3"), {"failed during"}),
        (last_request(total_s=1.0), {"slowest request"}),
        (spoiled(requests=()), {"failed during", "median", "95th", "slowest"}),
        (with_row(replace(row("flood", "C9"), large_received=0)), {"several fragments"}),
        (spoiled(attack_states=()), {"the network knows", "memberships", "signs of routers"}),
        (spoiled(links=()), {"between switches"}),
        (
            spoiled(attack_captures=()),
            {"at the origin", "different stories", "at other users", "to groups"},
        ),
    ],
)
def test_what_goes_wrong_breaks_the_claims_it_concerns(
    tmp_path: Path, spoil: Callable[[ScenarioRecords], ScenarioRecords], broken: set[str]
) -> None:
    found = sound(tmp_path)
    found["edge"] = spoil(found["edge"])
    failing = [claim.statement for claim in claims(found) if not claim.holds]
    assert len(failing) == len(broken)
    assert all(any(words in statement for statement in failing) for words in broken)


def test_a_baseline_that_shows_nothing_breaks_what_it_is_for(tmp_path: Path) -> None:
    found = sound(tmp_path)
    del found["central"], found["calm"]
    failing = {claim.statement.split()[0] for claim in claims(found) if not claim.holds}
    assert failing == {"frames", "requests", "median", "95th", "slowest", "bytes"}


def test_the_report_has_the_attacks_by_family(tmp_path: Path) -> None:
    ((family, rows),) = attack_families(sound(tmp_path))
    assert (family, len(rows)) == ("scans", 3)
    assert [found.saw for found in rows[:2]] == ["nothing", "edge1 11 (it may)"]
    assert row("x", "C8", "origin:1", leaked=1).saw == "origin 1: a leak"


def test_the_scenarios_are_the_attacks_a_calm_run_and_a_flooded_cloud() -> None:
    found = {scenario.name: scenario for scenario in scenarios(Options(TOPOLOGY, 1, site=Path("/site")))}
    assert set(found) == {"edge", "calm", "central"}
    assert found["central"].mode is Mode.CENTRAL
    assert found["calm"].acts[0].arguments == {"user": ME, "sends": False, "judges": False}
