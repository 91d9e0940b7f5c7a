"""What a table says of a region: which rules win, each with its part of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.plan.rules import Rule
from controller.verify.atoms import Bits
from controller.verify.outcomes import Ambiguous
from controller.verify.regions import cut, filled, rest
from controller.verify.space import Condition, Flavour, Region


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rules of a table win in a region, each with its part, rules that do the same to the same flavour
    as one; the parts that no rule is for; and where OpenFlow leaves open which rule wins."""

    hits: tuple[tuple[Rule, Flavour, Bits], ...]
    missed: tuple[Region, ...]
    ambiguous: tuple[Ambiguous, ...]

    def of(self, flavour: Flavour, asked: Sequence[int], destinations: Bits) -> Verdict:
        """The same for packets that have the fields of `flavour` where the table does not ask, to some
        destinations only."""

        def own(part: Flavour) -> Flavour:
            return filled(flavour, asked, [part[place] for place in asked])

        return Verdict(
            tuple((rule, own(part), both) for rule, part, to in self.hits if (both := to & destinations)),
            tuple((own(part), both) for part, to in self.missed if (both := to & destinations)),
            tuple(
                Ambiguous(item.one, item.other, own(item.flavour), both)
                for item in self.ambiguous
                if (both := item.destinations & destinations)
            ),
        )


def look_up(rules: Sequence[tuple[Rule, Condition]], region: Region) -> Verdict:
    """Which of the rules, the first to win first, are for the packets of a region."""
    pending, ambiguous = [region], list[Ambiguous]()
    priority, level = -1, list[tuple[Rule, Region]]()
    level_destinations = 0
    alike: dict[tuple[object, ...], tuple[Rule, Flavour, Bits]] = {}
    for rule, condition in rules:
        if rule.priority != priority:
            if not pending:
                break
            priority, level, level_destinations = rule.priority, [], 0
        if level_destinations & condition[1]:
            ambiguous += _rivals(level, rule, condition)
        left: list[Region] = []
        for part in pending:
            hit = cut(part, condition)
            if hit is None:
                left.append(part)
                continue
            flavour, destinations = hit
            level.append((rule, hit))
            level_destinations |= destinations
            key = rule.actions, rule.goto, rule.source_class, rule.origin, rule.argument, flavour
            known = alike.get(key)
            alike[key] = (
                (rule, flavour, destinations) if known is None else (*known[:2], known[2] | destinations)
            )
            left += rest(part, condition)
        pending = left
    return Verdict(tuple(alike.values()), tuple(pending), tuple(ambiguous))


def _rivals(level: Sequence[tuple[Rule, Region]], rule: Rule, condition: Condition) -> Iterator[Ambiguous]:
    """Where a rule is for packets that another of its priority has taken, and does something else."""
    for before, taken in level:
        both = cut(taken, condition)
        if both is not None and _effect(before) != _effect(rule):
            yield Ambiguous(before, rule, *both)


def _effect(rule: Rule) -> tuple[object, ...]:
    return rule.actions, rule.goto, rule.source_class, rule.meter
