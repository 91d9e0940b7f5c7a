"""`plan`: one pure function from the facts to the complete tables of every switch; `Planner` does the same
again and again, and makes anew only what depends on facts that have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, cast

from controller.plan.access import plan_access
from controller.plan.anycast import ServiceRoutes, chosen
from controller.plan.facts import Binding, Facts
from controller.plan.forest import Forest
from controller.plan.gateway import plan_gateway
from controller.plan.meters import plan_meters
from controller.plan.permit import plan_permits
from controller.plan.routing import Routing
from controller.plan.rules import Group, Meter, Rule, RuleKey, Tables
from controller.plan.trees import plan_trees
from controller.plan.unicast import Fragment, Routes, fragment, plan_users

Item = tuple[str, Rule | Group | Meter]
Part = dict[str, Tables]
"""What one section of the plan puts into each switch."""


def plan(facts: Facts, plain_choices: Mapping[str, str] | None = None) -> dict[str, Tables]:
    """The desired tables of every switch, by name.

    `plain_choices` are the edges that the plain routes of the access switches are taken to lead to, by
    default those that they do lead to; where there are none, all that users send to the service is tagged.
    """
    network = _Network(facts, lambda _: _Section(plan_trees, facts.topology.switches))
    return network.tables(facts, plain_choices)


class Planner:
    """Plans again and again. `facts` and `choices` are those of the last plan."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        self.choices: Mapping[str, str] = {}
        self._network: _Network | None = None

    def plan(self, facts: Facts, plain_choices: Mapping[str, str] | None = None) -> dict[str, Tables]:
        """The same as `plan`. Switches to which nothing new applies get the same object as before."""
        network = self._network
        if network is None or not network.is_of(facts):
            network = self._network = _Network(facts, Forest)
        tables = network.tables(facts, plain_choices)
        self.facts, self.choices = facts, network.choices
        return tables


class _Trees(Protocol):
    """What plans multicast."""

    part: Part

    def update(self, facts: Facts, routing: Routing) -> set[str]:
        """The switches for which it has changed."""


class _Network:
    """The sections of the plan of one network, and the tables put together from them."""

    def __init__(self, facts: Facts, make_trees: Callable[[Routing], _Trees]) -> None:
        self._topology, self._addresses = facts.topology, facts.addresses
        self.choices: Mapping[str, str] = {}
        self._routing = Routing(facts.topology, facts.down_links)
        self._routes = Routes(facts.topology, facts.addresses, self._routing.backbone)
        self._service = ServiceRoutes(self._routes.hops)
        self._served: tuple[object, ...] = ()
        self._bindings: dict[str, list[Binding]] = {}
        self._sections = {
            make: _Section(make, facts.topology.switches)
            for make in (plan_access, plan_permits, plan_gateway, plan_meters)
        }
        self._trees = make_trees(self._routing)
        self._routed: Part = dict(self._routes.of(self._routing, facts.topology.switches))
        self._to_service: Part = {}
        self._to_users: Part = {switch: Tables() for switch in facts.topology.switches}
        sections = [section.part for section in self._sections.values()]
        self._parts = [self._routed, self._to_service, self._to_users, self._trees.part, *sections]
        self._tables: dict[str, Tables] = {}

    def is_of(self, facts: Facts) -> bool:
        """Whether the facts are about this network."""
        return facts.topology is self._topology and facts.addresses is self._addresses

    def tables(self, facts: Facts, plain_choices: Mapping[str, str] | None) -> dict[str, Tables]:
        """The tables of every switch."""
        changed = self._reroute(facts) | self._serve(facts) | self._bind(facts)
        taken = self.choices if plain_choices is None else plain_choices
        for make, section in self._sections.items():
            changed |= section.update(facts, taken) if make is plan_gateway else section.update(facts)
        changed |= self._trees.update(facts, self._routing)
        merging = changed if self._tables else self._topology.switches
        _replace(
            self._tables, {switch: _merged([part[switch] for part in self._parts]) for switch in merging}
        )
        return {switch: self._tables[switch] for switch in self._topology.switches}

    def _reroute(self, facts: Facts) -> set[str]:
        toggled = self._routing.down_links ^ facts.down_links
        if not toggled:
            return set()
        self._routing = Routing(self._topology, facts.down_links, self._routing)
        backbone = self._routing.backbone
        moved = {backbone.switches[place] for place in self._routing.changed.tolist()}
        moved |= {port.node for port in backbone.hosts.values() if port.link.name in toggled}
        return _replace(self._routed, dict(self._routes.of(self._routing, sorted(moved))))

    def _serve(self, facts: Facts) -> set[str]:
        hosts, policy = facts.service_hosts, (facts.accepting, facts.alive, facts.pins, facts.bound)
        depends = (self._routing, hosts, *policy)
        if depends == self._served:
            return set()
        self._served = depends
        nearest = self._routing.nearest(hosts)
        self.choices = chosen(facts, self._routing, nearest)
        return _replace(self._to_service, self._service.of(facts, self._routing, nearest))

    def _bind(self, facts: Facts) -> set[str]:
        """The rules for bound users, made anew where the bindings of a switch have changed."""
        found: dict[str, list[Binding]] = {}
        for binding in facts.bindings:
            found.setdefault(binding.port.switch, []).append(binding)
        changed = {
            switch
            for switch in self._bindings.keys() | found.keys()
            if self._bindings.get(switch) != found.get(switch)
        }
        for switch in changed:
            bindings = found.get(switch, ())
            self._to_users[switch] = Tables.of(plan_users(facts, self._routes.hops[switch], bindings))
        self._bindings = found
        return changed


class _Section:
    """A part of the plan, made anew when a fact that it has looked at is another."""

    def __init__(self, make: Callable[..., Iterator[Item]], switches: Iterable[str]) -> None:
        self.part: Part = {switch: Tables() for switch in switches}
        self._make = make
        self._arguments: tuple[object, ...] | None = None
        self._seen: dict[str, object] = {}

    def update(self, facts: Facts, *arguments: object) -> set[str]:
        """The switches for which it has changed."""
        if arguments == self._arguments and all(
            _same(getattr(facts, name), value) for name, value in self._seen.items()
        ):
            return set()
        watched = _Watched(facts)
        found = _collected(list(self._make(cast(Facts, watched), *arguments)))
        self._arguments, self._seen = arguments, watched.seen
        return _replace(self.part, {switch: found.get(switch, Tables()) for switch in self.part})


class _Watched:
    """Facts that remember what was asked of them."""

    def __init__(self, facts: Facts) -> None:
        self.seen: dict[str, object] = {}
        self._facts = facts

    def __getattr__(self, name: str) -> object:
        value = self.seen[name] = getattr(self._facts, name)
        return value


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def _replace(part: Part, new: Part) -> set[str]:
    """Take up what is new for the switches that it has; the switches where it differs. What is equal stays
    the same object."""
    changed = {switch for switch, tables in new.items() if part.get(switch) != tables}
    for switch in changed:
        part[switch] = new[switch]
    return changed


def _collected(items: Sequence[Item]) -> Part:
    """The items of each switch. Raises ValueError when two different rules claim the same packets."""
    rules: dict[str, Fragment] = {}
    groups: dict[str, list[Group]] = {}
    meters: dict[str, list[Meter]] = {}
    # Many switches have the very same rule: its key is made and hashed once.
    fragments: dict[int, Fragment] = {}
    repeated = set[str]()
    for switch, item in items:
        if isinstance(item, Rule):
            made = fragments.get(id(item))
            if made is None:
                made = fragments[id(item)] = fragment(item)
            known = rules.setdefault(switch, {})
            count = len(known)
            known.update(made)
            if len(known) == count:
                repeated.add(switch)
        elif isinstance(item, Group):
            groups.setdefault(switch, []).append(item)
        else:
            meters.setdefault(switch, []).append(item)
    for switch in repeated:
        Tables.of(item for where, item in items if where == switch and isinstance(item, Rule))
    return {
        switch: Tables(
            rules.get(switch, {}),
            Tables.of((), groups.get(switch, ())).groups,
            {meter.number: meter for meter in meters.get(switch, ())},
        )
        for switch in rules.keys() | groups.keys() | meters.keys()
    }


def _merged(parts: Sequence[Tables]) -> Tables:
    """All of them together. Raises ValueError when two different rules claim the same packets."""
    rules: dict[RuleKey, Rule] = {}
    groups: dict[int, Group] = {}
    meters: dict[int, Meter] = {}
    for part in parts:
        rules.update(part.rules)
        groups.update(part.groups)
        meters.update(part.meters)
    if len(rules) < sum(len(part.rules) for part in parts):
        return Tables.of(
            (rule for part in parts for rule in part.rules.values()), groups.values(), meters.values()
        )
    return Tables(rules, groups, meters)


def render(tables: Mapping[str, Tables]) -> str:
    """The tables as text, for people and for golden files."""
    lines = []
    for switch, content in tables.items():
        lines.append(f"== {switch}")
        lines += [str(content.meters[number]) for number in sorted(content.meters)]
        lines += [str(content.groups[number]) for number in sorted(content.groups)]
        table = None
        ordered = sorted(content.rules.values(), key=lambda rule: (rule.table, -rule.priority, str(rule)))
        for rule in ordered:
            if rule.table != table:
                table = rule.table
                lines.append(f"-- {table.value} {table.name.lower()}")
            lines.append(str(rule))
    return "\n".join(lines) + "\n"
