"""What held at every moment while tables changed, and proofs that keep what they know."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from controller.plan.compile import plan
from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Match, Prefix, Rule, Tables
from controller.verify.history import Watch, history_of
from controller.verify.proof import Prover, UndecidableError, prove
from tests.unit.controller.networks import facts_of, small

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
TABLES = plan(FACTS)
EMPTY = {switch: Tables() for switch in TOPOLOGY.switches}


@dataclass(frozen=True)
class At:
    """A moment."""

    t_s: float
    tables: Mapping[str, Tables]
    foreign: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    down_ports: frozenset[PortId] = frozenset()


def with_rules(switch: str, *rules: Rule) -> dict[str, Tables]:
    """The planned tables with more rules at a switch."""
    content = TABLES[switch]
    return TABLES | {switch: replace(content, rules={**content.rules, **{rule.key: rule for rule in rules}})}


def open_to_the_origin() -> dict[str, Tables]:
    """Users of a1 may send to the ULA plane."""
    infrastructure = Prefix.of(FACTS.addresses.infrastructure)
    leak = Match(source_class=1, ipv6_dst=infrastructure)
    return with_rules("a1", Rule(TableId.PERMIT, 100, leak, Origin.PERMIT, goto=TableId.GATEWAY))


def test_a_lapse_is_told_with_its_beginning_and_its_end() -> None:
    leaking = open_to_the_origin()
    history = history_of(TOPOLOGY, [At(1.0, TABLES), At(2.0, leaking), At(2.0025, TABLES), At(3.0, TABLES)])
    assert (history.moments, history.began_s, history.ended_s) == (3, 1.0, 3.0)
    (lapse,) = history.lapses
    assert (lapse.invariant, lapse.is_grave) == ("isolation", True)
    assert lapse.duration_ms == pytest.approx(2.5)
    assert "origin" in lapse.violations[0].sentence or "edge" in lapse.violations[0].sentence
    assert not history.holds


def test_what_does_not_hold_in_the_end_has_no_end() -> None:
    history = history_of(TOPOLOGY, [At(1.0, TABLES), At(2.0, open_to_the_origin())])
    assert [(lapse.ended_s, lapse.duration_ms) for lapse in history.lapses] == [(None, None)]


def test_starting_switches_leak_nothing() -> None:
    """Switch by switch from nothing to the plan, in any order: packets are lost, none goes astray."""
    order = list(TOPOLOGY.switches)
    random.Random(7).shuffle(order)
    moments, held = [At(0.0, EMPTY)], dict(EMPTY)
    for number, switch in enumerate(order, start=1):
        held = held | {switch: TABLES[switch]}
        moments.append(At(float(number), held))
    history = history_of(TOPOLOGY, moments)
    assert history.holds
    assert {lapse.invariant for lapse in history.lapses} <= {"no black holes"}


def test_a_watch_says_what_has_changed_only() -> None:
    watch = Watch(TOPOLOGY)
    assert watch.follow(At(0.0, TABLES)) == ((), ())
    assert watch.follow(At(1.0, open_to_the_origin()))[0] == ("isolation",)
    assert watch.follow(At(2.0, open_to_the_origin())) == ((), ())
    assert [lapse.invariant for lapse in watch.open] == ["isolation"]
    begun, ended = watch.follow(At(3.0, TABLES))
    assert (begun, [lapse.duration_ms for lapse in ended]) == ((), [2000.0])


def test_what_cannot_be_read_is_not_proved() -> None:
    with pytest.raises(UndecidableError, match=r"^a1: table 9$"):
        history_of(TOPOLOGY, [At(0.0, TABLES, {"a1": ("table 9",)})])
    with pytest.raises(ValueError, match="at least one moment"):
        history_of(TOPOLOGY, [])


def test_proving_again_and_again_says_what_proving_once_says() -> None:
    chance, prover = random.Random(3), Prover(TOPOLOGY)
    held = TABLES
    for _ in range(25):
        switch = chance.choice(list(held))
        rules = dict(held[switch].rules)
        if chance.random() < 0.5 and rules:
            del rules[chance.choice(list(rules))]
        else:
            rules = dict(TABLES[switch].rules)
        held = held | {switch: replace(held[switch], rules=rules)}
        down = {PortId(switch, 1)} if chance.random() < 0.2 else set()
        again = prover.prove(held, down=down, witnesses=False)
        once = Prover(TOPOLOGY).prove(held, down=down, witnesses=False)
        assert [(v.name, v.holds) for v in again.verdicts] == [(v.name, v.holds) for v in once.verdicts]


def test_a_violation_has_a_packet_and_its_way() -> None:
    proof = prove(TOPOLOGY, open_to_the_origin())
    isolation = next(verdict for verdict in proof.verdicts if verdict.name == "isolation")
    witness = isolation.violations[0].witness
    assert witness is not None
    assert witness.packet.dst in FACTS.addresses.infrastructure
    assert witness.walk.delivered
