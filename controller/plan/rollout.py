"""In which order the switches come to new tables, so that nothing is lost on the way (pure).

Bad news (something is down) goes to all switches at once: packets are being lost already. Good news can
wait, so it goes in stages; in each, every packet meets tables that work together:

0. Switches that come back to the others get all that is new: nobody sends to them yet, and what is sent to
   their hosts later on is answered from there.
1. What carries nothing yet is added: tagged paths, and branches of trees for the new way in.
2. Where the edge for new connections changes, every access switch tags what users send to the service
   for the edge it belongs to: nothing depends on the plain route any more.
3. Routes change, nearest to what has come back first (RFC 6976): whoever has changed sends to neighbours
   that have changed before it.
4. What carries nothing any more is taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Group, Rule, RuleKey, Tables, ToGroup

Stage = Mapping[str, Tables]
"""The tables of the switches that change in it."""


def stages(
    old: Mapping[str, Tables],
    new: Mapping[str, Tables],
    rank: Mapping[str, int],
    tagged: Mapping[str, Tables] | None = None,
    returning: Collection[str] = (),
) -> list[Stage]:
    """The stages that lead from `old` to `new`, without empty ones.

    `rank` says how far each switch is from what has come back; `tagged` are the new tables with every
    packet to the service tagged, where the choice of an edge changes; `returning` are switches that no other
    could reach.
    """
    sequence: list[dict[str, Tables]] = []
    known = {switch: old.get(switch, Tables()) for switch in new}
    target = new if tagged is None else tagged
    complete = {switch: kept_trees(known[switch], target[switch]) for switch in returning}
    sequence.append(known | complete)
    changing = {switch: added(known[switch], target[switch]) for switch in new} | complete
    sequence.append(dict(changing))
    if tagged is not None:
        changing = {switch: with_table(changing[switch], tagged[switch], TableId.FLOW) for switch in new}
        sequence.append(dict(changing))
    for distance in sorted({rank.get(switch, 0) for switch in new}):
        moved = {
            switch: kept_trees(known[switch], target[switch])
            for switch in new
            if rank.get(switch, 0) == distance
        }
        changing |= moved
        sequence.append(dict(changing))
    sequence.append(dict(new))
    return _differences(known, sequence)


def added(old: Tables, new: Tables) -> Tables:
    """The old tables, and of the new ones what no packet meets before something else changes."""
    rules = dict(old.rules)
    rules |= {key: rule for key, rule in new.rules.items() if key not in old.rules and _is_inert(rule)}
    return Tables(rules, dict(new.groups) | dict(old.groups), dict(new.meters) | dict(old.meters))


def with_table(base: Tables, source: Tables, table: TableId) -> Tables:
    """`base` with one table taken from `source`."""
    rules = {key: rule for key, rule in base.rules.items() if key.table != table}
    rules |= {key: rule for key, rule in source.rules.items() if key.table == table}
    return Tables(rules, base.groups, base.meters)


def kept_trees(old: Tables, new: Tables) -> Tables:
    """The new tables, and the branches of old trees: packets on the old way in must still be let through."""
    kept: dict[RuleKey, Rule] = {
        key: rule for key, rule in old.rules.items() if rule.origin is Origin.TREE and key not in new.rules
    }
    used = {action.group for rule in kept.values() for action in rule.actions if isinstance(action, ToGroup)}
    groups: dict[int, Group] = {number: old.groups[number] for number in used if number in old.groups}
    return Tables(kept | dict(new.rules), groups | dict(new.groups), new.meters)


def _is_inert(rule: Rule) -> bool:
    return (rule.origin is Origin.PIN and rule.table is not TableId.FLOW) or rule.origin is Origin.TREE


def _differences(old: Mapping[str, Tables], sequence: list[dict[str, Tables]]) -> list[Stage]:
    found: list[Stage] = []
    before = dict(old)
    for tables in sequence:
        changed = {switch: content for switch, content in tables.items() if content != before.get(switch)}
        before |= changed
        if changed:
            found.append(changed)
    return found
