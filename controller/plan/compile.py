"""`plan`: one pure function from the facts to the complete tables of every switch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from controller.plan.access import plan_access
from controller.plan.anycast import plan_service
from controller.plan.facts import Facts, Paths
from controller.plan.rules import Group, Rule, Tables
from controller.plan.trees import plan_trees
from controller.plan.unicast import plan_routes


def plan(facts: Facts, paths: Paths | None = None) -> dict[str, Tables]:
    """The desired tables of every switch, by name.

    `paths` may be handed over to reuse trees; it must be for the topology and the down links of the facts.
    """
    if paths is None:
        paths = Paths(facts.topology, facts.down_links)
    rules: dict[str, list[Rule]] = {switch: [] for switch in facts.topology.switches}
    groups: dict[str, list[Group]] = {switch: [] for switch in facts.topology.switches}
    items = chain(
        plan_access(facts), plan_routes(facts, paths), plan_service(facts, paths), plan_trees(facts, paths)
    )
    for switch, item in items:
        if isinstance(item, Rule):
            rules[switch].append(item)
        else:
            groups[switch].append(item)
    return {switch: Tables.of(rules[switch], groups[switch]) for switch in facts.topology.switches}


def render(tables: Mapping[str, Tables]) -> str:
    """The tables as text, for people and for golden files."""
    lines = []
    for switch, content in tables.items():
        lines.append(f"== {switch}")
        lines += [str(content.groups[number]) for number in sorted(content.groups)]
        table = None
        ordered = sorted(content.rules.values(), key=lambda rule: (rule.table, -rule.priority, str(rule)))
        for rule in ordered:
            if rule.table != table:
                table = rule.table
                lines.append(f"-- {table.value} {table.name.lower()}")
            lines.append(str(rule))
    return "\n".join(lines) + "\n"
