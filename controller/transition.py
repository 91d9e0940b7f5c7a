"""A plan on its way: the stages that are still to come, and when the next may begin (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.plan.anycast import choices
from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Pin
from controller.plan.rollout import Stage, stages
from controller.plan.rules import Tables
from topologies.spec import Role


class Transition:
    """The stages of one plan that are still to come, and what the switches are to hold meanwhile."""

    def __init__(self) -> None:
        self._waiting: deque[Stage] = deque()
        self._held: dict[str, Tables] = {}
        self._settled_s = self._overdue_s = 0.0

    @property
    def is_running(self) -> bool:
        """Whether stages are still to come."""
        return bool(self._waiting)

    def deadline_s(self, confirmed: bool) -> float | None:
        """When the next stage begins, if nothing else happens; None when there is none."""
        if not self._waiting:
            return None
        return self._settled_s if confirmed else self._overdue_s

    def now(self, final: Mapping[str, Tables]) -> Mapping[str, Tables]:
        """What every switch is to hold in the present stage; `final` when there is no more to come."""
        return self._held if self._waiting else final

    def begin(self, held: Mapping[str, Tables], sequence: Sequence[Stage]) -> None:
        """Replace whatever was under way by these stages, from what the switches hold."""
        self._waiting = deque(sequence)
        self._held = dict(held)
        self._settled_s = self._overdue_s = 0.0

    def ready(self, now_s: float, confirmed: bool) -> bool:
        """Whether the next stage may begin: all switches have confirmed the one before and it has settled,
        or one of them takes too long."""
        moment_s = self.deadline_s(confirmed)
        return moment_s is not None and moment_s <= now_s

    def next_stage(self, settled_s: float, overdue_s: float) -> Mapping[str, Tables]:
        """Begin the next stage, which has settled at `settled_s` and is waited for until `overdue_s`; the
        tables of all switches in it."""
        self._held |= self._waiting.popleft()
        self._settled_s, self._overdue_s = settled_s, overdue_s
        return self._held


def transition_stages(
    held: Mapping[str, Tables],
    tables: Mapping[str, Tables],
    before: Facts | None,
    facts: Facts,
    urgent: bool,
) -> list[Stage]:
    """The stages from what the switches hold to the new tables; one when the news is bad or concerns hosts
    only."""
    changed = {switch: new for switch, new in tables.items() if held.get(switch) != new}
    if not changed:
        return []
    if before is None or urgent:
        return [changed]
    mended = before.down_links - facts.down_links
    old_choices, new_choices = choices(before), choices(facts)
    moved = {switch for switch, edge in new_choices.items() if old_choices.get(switch, edge) != edge}
    if not mended and not moved:
        return [changed]
    tagged = plan(_tagged(facts, old_choices), plain_choices={}) if moved else None
    return stages(held, tables, _ranks(facts, mended), tagged, _returning(before, facts))


def _tagged(facts: Facts, old_choices: Mapping[str, str]) -> Facts:
    """The facts with every user bound to its new choice and every access switch pinned to the old one."""
    new_choices = choices(facts)
    topology = facts.topology
    users = {user: topology.ports[user][0].peer for user in topology.of_role(Role.USER)}
    bound = {policy.user: policy for policy in facts.bound if policy.edge in facts.accepting}
    for user, switch in users.items():
        if switch in new_choices:
            bound.setdefault(user, Bound(user, new_choices[switch]))
    pins = {Pin(switch, edge) for switch, edge in old_choices.items()} | facts.pins
    return replace(facts, bound=frozenset(bound.values()), pins=frozenset(pins))


def _returning(before: Facts, facts: Facts) -> frozenset[str]:
    """The switches that were cut off from most of the others, and are no more."""
    parts = _parts(before)
    main = max(parts, key=len)
    back = next(part for part in _parts(facts) if main & part)
    return frozenset[str]().union(*(part & back for part in parts if part is not main))


def _parts(facts: Facts) -> list[frozenset[str]]:
    """The switches in sets of those that reach each other, in the order of the topology."""
    topology, parts = facts.topology, list[frozenset[str]]()
    for start in topology.switches:
        if any(start in part for part in parts):
            continue
        part, waiting = {start}, [start]
        while waiting:
            for port in topology.ports[waiting.pop()]:
                is_link = port.link.name not in facts.down_links and topology.role(port.peer).is_switch
                if is_link and port.peer not in part:
                    part.add(port.peer)
                    waiting.append(port.peer)
        parts.append(frozenset(part))
    return parts


def _ranks(facts: Facts, mended: frozenset[str]) -> dict[str, int]:
    """How many hops each switch is from the nearest mended link."""
    topology = facts.topology
    ends = {end for link in topology.links if link.name in mended for end in (link.a, link.b)}
    ranks = {end: 0 for end in ends if topology.role(end).is_switch}
    frontier = list(ranks)
    while frontier:
        following: list[str] = []
        for switch in frontier:
            for port in topology.ports[switch]:
                is_open = port.link.name not in facts.down_links
                if is_open and port.peer not in ranks and topology.role(port.peer).is_switch:
                    ranks[port.peer] = ranks[switch] + 1
                    following.append(port.peer)
        frontier = following
    return ranks
