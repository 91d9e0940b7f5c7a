"""Fragments in the proof: rules that only they meet are found, and shown by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.plan.compile import plan
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Match, Rule, Tables
from controller.verify.proof import Proof, prove
from tests.unit.controller.networks import facts_of, small

TOPOLOGY = small()
TABLES = plan(facts_of(TOPOLOGY))


def proof(switch: str, change: Callable[[Rule], Rule], *more: Rule) -> Proof:
    """What is proved when the rules of a switch are changed."""
    held = TABLES[switch]
    rules = [*map(change, held.rules.values()), *more]
    changed = Tables.of(rules, held.groups.values(), held.meters.values())
    return prove(TOPOLOGY, TABLES | {switch: changed}, failures=False)


def dropped(rule: Rule) -> Rule:
    return replace(rule, actions=()) if rule.origin is Origin.FRAGMENT else rule


def test_fragments_of_planned_pairs_are_delivered() -> None:
    assert prove(TOPOLOGY, TABLES).holds


@pytest.mark.parametrize(
    ("switch", "change", "more"),
    [
        ("a1", dropped, ()),
        ("c1", lambda rule: rule, (Rule(TableId.ROUTER, 9999, Match(is_fragment=True), Origin.ROUTE),)),
    ],
)
def test_fragments_that_are_lost_are_shown(
    switch: str, change: Callable[[Rule], Rule], more: tuple[Rule, ...]
) -> None:
    found = proof(switch, change, *more)
    (broken,) = [verdict for verdict in found.verdicts if not verdict.holds]
    assert broken.violations
    for violation in broken.violations:
        assert f"at {switch}" in violation.sentence
        assert violation.witness is not None
        assert violation.witness.packet.is_fragment
        assert violation.witness.packet.port_dst is None


def test_what_only_whole_packets_meet_is_shown_by_one() -> None:
    lost = Rule(TableId.ROUTER, 9999, Match(is_fragment=False), Origin.ROUTE)
    (broken,) = [verdict for verdict in proof("c1", lambda rule: rule, lost).verdicts if not verdict.holds]
    assert broken.violations
    assert not any(
        violation.witness is None or violation.witness.packet.is_fragment for violation in broken.violations
    )
