"""Where a user's connections with the service lead: new ones to the nearest edge, known ones to the edge at
which they began."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from controller.plan.facts import PortId
from controller.plan.pipeline import TableId
from controller.plan.rules import Commit, CtState, Output, PopTag, PushTag, ToGroup
from controller.verify.checks import BELONGING, Finding
from controller.verify.ground import Ground
from controller.verify.outcomes import Outcome, Remembered, Sent
from controller.verify.results import Committed, Tracked, Walk
from controller.verify.space import Field, Memory
from controller.verify.spread import Model, Place
from topologies.spec import Role, Topology


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the sender's own memory says of a packet; `mark` None stands for any."""

    state: CtState
    mark: int | None = None

    def fits(self, ground: Ground, outcome: Sent | Remembered) -> bool:
        """Whether an outcome at the first switch is for such packets."""
        space, flavour = ground.space, outcome.flavour
        if self.mark is not None and not flavour[Field.MARK] & space.marks.of(self.mark):
            return False
        return bool(flavour[Field.CT] & space.said(Memory.OWN, (self.state,)))


def reached(ground: Ground, start: Place, beginning: Beginning) -> dict[str, Outcome]:
    """The hosts that packets from a place to the service reach."""
    model, found = ground.model, dict[str, Outcome]()
    waiting, known = [start], {start}
    while waiting:
        place = waiting.pop()
        for outcome in model.outcomes(place):
            if not isinstance(outcome, Sent) or not outcome.destinations & ground.service:
                continue
            if place == start and not beginning.fits(ground, outcome):
                continue
            host, target = model.host(place, outcome), model.target(place, outcome)
            if host is not None:
                found.setdefault(host, outcome)
            if target is not None and target not in known:
                known.add(target)
                waiting.append(target)
    return found


class Nearest:
    """New connections begin at the nearest of the edges that are to answer, by path delay and against a
    shortest-path search of its own, or at the one that a user is bound to; known ones go on to where they
    began."""

    name = "nearest"

    def __init__(self, ground: Ground, places: Iterable[Place], edges: tuple[str, ...]) -> None:
        """`places` are where users send to the service, `edges` those that are to answer."""
        self._ground = ground
        self._edges = edges
        self._places: dict[str, Place] = {}
        self._tagged = tagged_edges(ground)
        self._kept: dict[tuple[str, int], frozenset[str]] = {}
        self._marks: dict[str, tuple[int, ...]] = {}
        for place in places:
            user = ground.model.wiring.far_ends[PortId(*place[:2])]
            if isinstance(user, str) and ground.topology.role(user) is Role.USER:
                self._places[user] = place

    def findings(self) -> Iterator[Finding]:
        """What begins at the wrong edge, or does not stay where it began."""
        for user, place in self._places.items():
            hosts = reached(self._ground, place, Beginning(CtState.NEW))
            yield from self._not_nearest(user, place, hosts)
            yield from self._not_kept(user, place, hosts)

    def _not_nearest(self, user: str, place: Place, hosts: dict[str, Outcome]) -> Iterator[Finding]:
        right = self._right.get(user, frozenset())
        for host, outcome in hosts.items():
            if right and host not in right:
                sentence = f"{user} is served by {host}; the nearest is {' or '.join(sorted(right))}"
                yield Finding(self.name, sentence, place, outcome, self._ground.service)

    def _not_kept(self, user: str, place: Place, new: dict[str, Outcome]) -> Iterator[Finding]:
        for mark in self._told_apart(place.switch):
            found = [reached(self._ground, place, Beginning(state, mark)) for state in BELONGING]
            if self._is_begun(place, mark):
                found.insert(0, new)
            kept = {edge for edge in self._wanted(place, mark) if user in self._near(edge)}
            right = frozenset(kept or next((set(hosts) for hosts in found if hosts), set[str]()))
            for hosts in found:
                if hosts and hosts.keys() != right:
                    self._kept[user, mark] = right
                    sentence = f"what {user} has begun under the mark {mark} does not stay at its edge"
                    yield Finding(
                        self.name, sentence, place, next(iter(hosts.values())), self._ground.service
                    )

    def _told_apart(self, switch: str) -> tuple[int, ...]:
        """The marks that a switch tells apart or gives, and one of all the others."""
        known = self._marks.get(switch)
        if known is None:
            rules = self._ground.model.tables[switch].rules.values()
            named = {rule.match.ct_mark for rule in rules if rule.match.ct_mark is not None}
            named |= {
                action.mark or 0 for rule in rules for action in rule.actions if isinstance(action, Commit)
            }
            others = (mark for mark in self._ground.space.marks.atoms if mark not in named)
            known = self._marks[switch] = (*islice(others, 1), *sorted(named))
        return known

    def _is_begun(self, place: Place, mark: int) -> bool:
        """Whether new connections get this mark."""
        return any(
            isinstance(action, Commit) and (action.mark or 0) == mark
            for outcome in self._ground.model.outcomes(place)
            if isinstance(outcome, Remembered)
            and outcome.destinations & self._ground.service
            and Beginning(CtState.NEW).fits(self._ground, outcome)
            for action in outcome.rule.actions
        )

    def _wanted(self, place: Place, mark: int) -> set[str]:
        """The edge that packets of a mark are tagged for, if they are and a switch knows the tag."""
        return {
            edge
            for rule in self._ground.model.tables[place.switch].rules.values()
            if rule.match.in_port == place.in_port and rule.match.ct_mark == mark
            for action in rule.actions
            if isinstance(action, PushTag) and (edge := self._tagged.get(action.tag))
        }

    @cached_property
    def _right(self) -> dict[str, frozenset[str]]:
        """The edges where a user's new connections may begin."""
        found = nearest_roots(self._ground.topology, self._ground.model, self._edges)
        for user, edge in self._ground.expected.bound.items():
            if edge in self._edges and user in self._near(edge):
                found[user] = frozenset({edge})
        return found

    def _near(self, edge: str) -> dict[str, frozenset[str]]:
        """What is connected with an edge."""
        return nearest_roots(self._ground.topology, self._ground.model, (edge,))

    def shown(self, walk: Walk) -> bool:
        """A new connection begins at the wrong edge, or a known one does not stay at its own."""
        user = self._ground.model.wiring.far_ends.get(walk.hops[0].at) if walk.hops else None
        if not isinstance(user, str) or user not in self._places:
            return False
        states = [event for event in walk.hops[0].events if isinstance(event, Tracked)]
        marks = [event.mark or 0 for event in walk.hops[0].events if isinstance(event, Committed)]
        rights = [self._kept.get((user, mark)) for mark in marks]
        for event in states[:1]:
            if event.state is CtState.NEW:
                rights.append(self._right.get(user))
            elif event.state in BELONGING:
                rights.append(self._kept.get((user, event.mark)))
        return any(right and end.where not in right for right in rights for end in walk.delivered)


def tagged_edges(ground: Ground) -> dict[int, str]:
    """The edges by their tags, as the switches in front of them know them."""
    found: dict[int, str] = {}
    for switch, content in ground.model.tables.items():
        for rule in content.rules.values():
            if rule.table is TableId.UNICAST and rule.match.edge_tag and PopTag() in rule.actions:
                for action in rule.actions:
                    group = content.groups.get(action.group) if isinstance(action, ToGroup) else None
                    for output in group.buckets[0].actions if group and group.buckets else (action,):
                        number = output.port if isinstance(output, Output) else 0
                        far = ground.model.wiring.far_ends.get(PortId(switch, number))
                        if isinstance(far, str):
                            found[rule.match.edge_tag] = far
    return found


def nearest_roots(topology: Topology, model: Model, roots: Iterable[str]) -> dict[str, frozenset[str]]:
    """For every node the roots with the least path delay to it over links that are up; hosts forward
    nothing."""
    found: dict[str, frozenset[str]] = {}
    delays: dict[str, int] = {}
    waiting = [(0, root, root) for root in roots]
    while waiting:
        delay, node, root = heapq.heappop(waiting)
        if root in found.get(node, frozenset()) or delay > delays.get(node, delay):
            continue
        delays[node] = delay
        found[node] = found.get(node, frozenset()) | {root}
        if node != root and not topology.role(node).is_switch:
            continue
        for port in topology.ports[node]:
            there = topology.port(port.peer, node)
            if not {PortId(node, port.number), PortId(port.peer, there.number)} & model.down:
                further = delay + round(port.link.delay_ms * 1_000_000)
                heapq.heappush(waiting, (further, port.peer, root))
    return found
