"""How packets spread from ports through the whole network: all of them at once, to a fixed point.

A place is a port of a switch and a flavour that comes in by it; what has arrived there is a set of
destinations. Places are few, because a switch forgets what the one before knew, and because sources that
no switch on the way tells apart count as one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

from controller.plan.facts import PortId, port_id
from controller.plan.rules import Commit, Prefix, Tables, Track
from controller.verify.atoms import Bits
from controller.verify.outcomes import Outcome, Sent
from controller.verify.space import Field, Flavour, Space
from controller.verify.transfer import SwitchModel
from topologies.spec import Topology

NONE_DOWN: frozenset[PortId] = frozenset()
Key = TypeVar("Key", int, PortId)


class Place(NamedTuple):
    """Where packets of a flavour come in."""

    switch: str
    in_port: int
    flavour: Flavour


class Step(NamedTuple):
    """Packets to these destinations go on to another place."""

    target: Place
    destinations: Bits


class Wiring:
    """Which port leads where: to a port of another switch, or to a host."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.far_ends: dict[PortId, PortId | str] = {}
        self.leads: dict[str, dict[int, PortId | str]] = {switch: {} for switch in topology.switches}
        for switch in topology.switches:
            for port in topology.ports[switch]:
                is_link = topology.role(port.peer).is_switch
                far = port_id(topology.port(port.peer, switch)) if is_link else port.peer
                self.far_ends[port_id(port)] = self.leads[switch][port.number] = far

    def is_backbone(self, port: PortId) -> bool:
        """Whether a port leads to another switch."""
        return isinstance(self.far_ends.get(port), tuple)

    def closed(self, down: Iterable[PortId]) -> frozenset[PortId]:
        """The ports that are down because they, or the other end of their link, are."""
        found = set(down)
        found |= {far for port in found if isinstance(far := self.far_ends.get(port), tuple)}
        return frozenset(found)


class Model:
    """The tables of all switches, compiled, and the links between them. `down` are ports that are down.

    What has been found out about `before`, a model of the same network, is taken from it for switches that
    hold the same tables.
    """

    def __init__(
        self,
        wiring: Wiring,
        tables: Mapping[str, Tables],
        down: Iterable[PortId] = (),
        besides: tuple[Iterable[Prefix], Iterable[str], Iterable[Tables]] = ((), (), ()),
        before: Model | None = None,
    ) -> None:
        """`besides` are addresses, MACs and further tables that the atoms are to be fine enough for."""
        self.tables = tables
        self.wiring = wiring
        self.down = wiring.closed(down)
        old = before.tables if before is not None else {}
        self._changed = [switch for switch, content in tables.items() if old.get(switch) != content]
        self.space: Space
        if before is not None and all(before.space.knows(tables[switch]) for switch in self._changed):
            self.space = before.space
        else:
            prefixes, macs, foreseen = besides
            self.space, before = Space([*tables.values(), *foreseen], prefixes, macs), None
        self._renew(before)

    def _renew(self, before: Model | None) -> None:
        """Compile what is not known yet."""
        self._tracking: dict[str, Counter[tuple[int, int]]] = {} if before is None else dict(before._tracking)
        self._sources: dict[str, frozenset[Prefix]] = {} if before is None else dict(before._sources)
        self._watched_in_vain: dict[str, frozenset[int]] = (
            {} if before is None else dict(before._watched_in_vain)
        )
        for switch in self.tables if before is None else self._changed:
            self._tracking[switch] = _zones(self.tables[switch])
            self._sources[switch] = self._told_apart(switch)
            self._watched_in_vain[switch] = frozenset(
                bucket.watch_port
                for group in self.tables[switch].groups.values()
                for bucket in group.buckets
                if bucket.watch_port is not None
                and PortId(switch, bucket.watch_port) not in self.wiring.far_ends
            )
        votes = Counter(
            {
                (PortId(switch, number), zone): count
                for switch, zones in self._tracking.items()
                for (number, zone), count in zones.items()
            }
        )
        self.zone_owners = {zone: port for port, zone in _agreed(votes).items()}
        self.switches: dict[str, SwitchModel] = {} if before is None else dict(before.switches)
        for switch in self.tables if before is None else self._changed:
            self.switches[switch] = SwitchModel(
                self.space, switch, self.tables[switch], _agreed(self._tracking[switch])
            )
        self._kinds = self._source_kinds()
        self._same_kind: dict[Bits, Bits] = {}
        self._down_here: dict[tuple[str, frozenset[PortId]], frozenset[int]] = {}
        self._known_steps: dict[str, dict[tuple[Place, frozenset[int]], tuple[Step, ...]]] = {
            switch: {} for switch in self.tables
        }
        if before is not None and before._kinds == self._kinds:
            kept = self.tables.keys() - set(self._changed)
            self._known_steps |= {switch: before._known_steps[switch] for switch in kept}

    def outcomes(self, place: Place, down: frozenset[PortId] = NONE_DOWN) -> Sequence[Outcome]:
        """What becomes of packets at a place while, besides `self.down`, these ports are down."""
        here = self._here(place.switch, down)
        return self.switches[place.switch].outcomes(place.in_port, place.flavour, here)

    def changes(self, place: Place, before: frozenset[PortId], down: frozenset[PortId]) -> Sequence[Outcome]:
        """What happens otherwise at a place once other ports are down than before."""
        old, new = (self._here(place.switch, ports) for ports in (before, down))
        return self.switches[place.switch].changes(place.in_port, place.flavour, old, new)

    def _here(self, switch: str, down: frozenset[PortId]) -> frozenset[int]:
        """The ports of a switch that are not up, those that it has not with them."""
        found = self._down_here.get((switch, down))
        if found is None:
            found = self._down_here[switch, down] = self._watched_in_vain[switch] | {
                port.number for port in self.down | down if port.switch == switch
            }
        return found

    def steps(self, place: Place, down: frozenset[PortId] = NONE_DOWN) -> tuple[Step, ...]:
        """Where packets go on to from a place, if it is another switch."""
        known, key = self._known_steps[place.switch], (place, self._here(place.switch, down))
        steps = known.get(key)
        if steps is None:
            found: dict[Place, Bits] = {}
            for outcome in self.outcomes(place, down):
                target = self.target(place, outcome)
                if target is not None:
                    found[target] = found.get(target, 0) | outcome.destinations
            steps = known[key] = tuple(Step(*pair) for pair in found.items())
        return steps

    def target(self, place: Place, outcome: Outcome) -> Place | None:
        """Where what leaves a switch comes in at the next one; None when it does not."""
        if isinstance(outcome, Sent):
            far = self.wiring.leads[place.switch].get(outcome.port)
            if isinstance(far, PortId):
                return Place(far.switch, far.number, self.arriving(outcome.flavour))
        return None

    def host(self, place: Place, outcome: Outcome) -> str | None:
        """The host that what leaves a switch is delivered to, if it is one."""
        if isinstance(outcome, Sent):
            far = self.wiring.leads[place.switch].get(outcome.port)
            return None if isinstance(far, PortId) else far
        return None

    def arriving(self, flavour: Flavour) -> Flavour:
        """A flavour as the next switch sees it."""
        forgotten = self.space.forgotten(flavour)
        sources = flavour[Field.SRC]
        same = self._same_kind.get(sources)
        if same is None:
            same = 0
            for kind in self._kinds:
                if kind & sources:
                    same |= kind
            self._same_kind[sources] = same
        return (*forgotten[: Field.SRC], same)

    def _told_apart(self, switch: str) -> frozenset[Prefix]:
        """The sources that rules of a switch name for packets that come from another."""
        return frozenset(
            rule.match.ipv6_src
            for rule in self.tables[switch].rules.values()
            if rule.match.ipv6_src is not None
            and (rule.match.in_port is None or self.wiring.is_backbone(PortId(switch, rule.match.in_port)))
        )

    def _source_kinds(self) -> list[Bits]:
        """The sets of sources that no rule for packets between switches tells apart."""
        kinds = [self.space.src.all]
        for prefix in sorted(frozenset[Prefix]().union(*self._sources.values())):
            bits = self.space.src.of(prefix)
            parts = (part for kind in kinds for part in (kind & bits, kind & ~bits))
            kinds = [part for part in parts if part]
        return kinds


def _zones(tables: Tables) -> Counter[tuple[int, int]]:
    """How many rules of a switch say that what comes in by a port is looked up or remembered in a zone."""
    return Counter(
        (rule.match.in_port, action.zone)
        for rule in tables.rules.values()
        if rule.match.in_port is not None
        for action in rule.actions
        if isinstance(action, Track | Commit)
    )


def _agreed(votes: Counter[tuple[Key, int]]) -> dict[Key, int]:
    """The zone of each port. Where rules differ, most of them decide."""
    found: dict[Key, int] = {}
    taken: set[int] = set()
    for (port, zone), _ in votes.most_common():
        if port not in found and zone not in taken:
            found[port] = zone
            taken.add(zone)
    return found


class Spread:
    """What arrives where while, besides those of the model, the ports in `down` are down.

    `base` is a spread with other ports down: what it knows of switches that have none of the ports is used.
    """

    def __init__(self, model: Model, down: frozenset[PortId] = NONE_DOWN, base: Spread | None = None) -> None:
        self.model = model
        self.down = down
        self.arrived: dict[Place, Bits] = {}
        self._base = base
        self._changed = {port.switch for port in down}
        self._steps: dict[Place, tuple[Step, ...]] = {}

    def add(self, sources: Mapping[Place, Bits]) -> None:
        """Let packets come in at places, and follow them everywhere."""
        waiting: deque[Place] = deque()
        new: dict[Place, Bits] = {}

        def arrive(place: Place, bits: Bits) -> None:
            before = self.arrived.get(place, 0)
            fresh = bits & ~before
            if fresh:
                self.arrived[place] = before | fresh
                if place not in new:
                    waiting.append(place)
                new[place] = new.get(place, 0) | fresh

        for place, bits in sources.items():
            arrive(place, bits)
        while waiting:
            place = waiting.popleft()
            fresh = new.pop(place)
            for target, destinations in self.steps(place):
                passed = fresh & destinations
                if passed:
                    arrive(target, passed)

    def steps(self, place: Place) -> tuple[Step, ...]:
        """Where packets go on to from a place."""
        if self._base is not None and place.switch not in self._changed:
            return self._base.steps(place)
        found = self._steps.get(place)
        if found is None:
            found = self._steps[place] = self.model.steps(place, self.down)
        return found

    def outcomes(self) -> Iterator[tuple[Place, Outcome, Bits]]:
        """Everything that happens: where, what, and to packets for which destinations. Of a detour, only
        what does not happen without it."""
        for place, arrived in self.arrived.items():
            bits = arrived
            if self._base is not None and place.switch not in self._changed:
                bits &= ~self._base.arrived.get(place, 0)
                if not bits:
                    continue
            for outcome in self.model.outcomes(place, self.down):
                both = outcome.destinations & bits
                if both:
                    yield place, outcome, both

    def circling(self) -> dict[Place, Bits]:
        """What goes round in circles: destinations, by the places on the circle or behind it.

        Takes away, again and again, what comes from nowhere; what is left comes from itself.
        """
        left = dict(self.arrived)
        into: dict[Place, list[Step]] = {}
        for place in left:
            for target, destinations in self.steps(place):
                into.setdefault(target, []).append(Step(place, destinations))
        waiting, queued = deque(left), set(left)
        while waiting:
            place = waiting.popleft()
            queued.discard(place)
            fed = 0
            for origin, bits in into.get(place, ()):
                fed |= left[origin] & bits
            kept = left[place] & fed
            if kept != left[place]:
                left[place] = kept
                again = [step.target for step in self.steps(place) if step.target in left]
                waiting += [target for target in again if target not in queued]
                queued.update(again)
        return {place: bits for place, bits in left.items() if bits}

    def detour(self, down: frozenset[PortId]) -> tuple[Spread, list[tuple[Place, Outcome, Bits]]]:
        """What else happens once ports go down, as a spread of the packets that are sent another way, and
        what is new at the switches that have the ports.

        It takes it that what arrives at those switches now still does; so it may find too much, never too
        little. What comes in by the ports themselves is left out.
        """
        closed = self.model.wiring.closed(down)
        spread = Spread(self.model, closed, self)
        changed: list[tuple[Place, Outcome, Bits]] = []
        sources: dict[Place, Bits] = {}
        for switch in dict.fromkeys(port.switch for port in closed):
            for place in self._at.get(switch, ()):
                if PortId(switch, place.in_port) in closed:
                    continue
                arrived = self.arrived[place]
                for outcome in self.model.changes(place, self.down, closed):
                    both = outcome.destinations & arrived
                    if both:
                        changed.append((place, outcome, both))
                        target = self.model.target(place, outcome)
                        if target is not None:
                            sources[target] = sources.get(target, 0) | both
        spread.add(sources)
        return spread, changed

    @cached_property
    def _at(self) -> Mapping[str, list[Place]]:
        """The places of each switch, once everything has arrived."""
        found: dict[str, list[Place]] = {}
        for place in self.arrived:
            found.setdefault(place.switch, []).append(place)
        return found
