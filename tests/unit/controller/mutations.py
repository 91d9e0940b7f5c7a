"""Tables with one fault each, chosen by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from controller.plan.rules import (
    Group,
    Rule,
    Tables,
)
from tests.unit.controller.proof_cases import Case
from tests.unit.controller.table_faults import KINDS, Spot, groups_of


@dataclass(frozen=True)
class Mutant:
    """Tables with one fault. `rules` and `groups` are what the fault is in, before and after."""

    kind: str
    case: Case
    switch: str
    text: str
    rules: tuple[Rule, ...]
    groups: tuple[Group, ...]
    tables: Mapping[str, Tables]

    def __str__(self) -> str:
        return f"{self.kind} at {self.switch} of {self.case.name}: {self.text}"


def mutants(case: Case, seed: int, count: int) -> Iterator[Mutant]:
    """So many mutants, all kinds in turn."""
    random = Random(f"{case.name} {seed}")
    kinds, made = list(KINDS), 0
    while made < count:
        random.shuffle(kinds)
        for kind in kinds:
            mutant = _mutant(case, kind, random)
            if mutant is not None and made < count:
                made += 1
                yield mutant


_TRIES = 40


def _mutant(case: Case, kind: str, random: Random) -> Mutant | None:
    for _ in range(_TRIES):
        switch = random.choice(case.topology.switches)
        before = case.tables[switch]
        faulty = KINDS[kind](Spot(case, switch, before, random))
        if faulty is None:
            continue
        rules, groups = faulty
        gone = {rule.key for rule, _ in rules}
        made = {rule.key: rule for _, rule in rules if rule is not None}
        kept = {key: rule for key, rule in before.rules.items() if key not in gone}
        if made.keys() & kept.keys():
            continue
        changed = {number: group for group, new in groups for number in (group.number,)}
        after = Tables(
            kept | made,
            {number: group for number, group in before.groups.items() if number not in changed}
            | {new.number: new for _, new in groups if new is not None},
            before.meters,
        )
        if after == before:
            continue
        pairs: list[tuple[Rule | Group, Rule | Group | None]] = [*rules, *groups]
        text = "; ".join(f"{old} => {new or 'nothing'}" for old, new in pairs)
        involved = [rule for pair in rules for rule in pair if rule is not None]
        names = {group.number for group, _ in groups}
        users = (rule for rule in before.rules.values() if names & groups_of(rule))
        return Mutant(
            kind, case, switch, text,
            (*dict.fromkeys(involved), *users),
            tuple(group for pair in groups for group in pair if group is not None),
            {**case.tables, switch: after},
        )  # fmt: skip
    return None
