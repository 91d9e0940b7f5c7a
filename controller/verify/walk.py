"""Follow one concrete packet through the tables of all switches, as OpenFlow would: which rules and groups
it meets at every hop, and where each of its copies ends.

The walk takes every meter to let the packet through, and every link to deliver it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.plan.facts import PortId
from controller.plan.pipeline import TableId
from controller.plan.rules import (
    Action,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Output,
    PopTag,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    ToGroup,
    Track,
)
from controller.verify.network import Network
from controller.verify.packet import Context, Packet
from controller.verify.results import (
    Committed,
    End,
    Event,
    Fate,
    GroupMet,
    Hop,
    Sent,
    Tracked,
    Walk,
)

MAX_HOPS = 4096
"""More copies than this of one packet are taken for a storm, which is a kind of loop."""
MAX_TAGS = 2
"""Open vSwitch knows of no more; a third one that is pushed takes the place of the innermost."""
MAX_EVENTS = 256
"""A packet that meets more at one switch goes round in its tables or groups."""


class Connection(NamedTuple):
    """What connection tracking knows of a packet; `mark` 0 stands for none."""

    state: CtState
    mark: int = 0


Connections = Callable[[int, Packet], Connection]
"""What connection tracking knows in a zone of a packet."""


def always(state: CtState, mark: int = 0) -> Connections:
    """Connection tracking that says the same of every packet."""
    connection = Connection(state, mark)
    return lambda _zone, _packet: connection


NEW = always(CtState.NEW)
ESTABLISHED = always(CtState.ESTABLISHED)


class Left(NamedTuple):
    """A copy that a switch sends out of a port, and the rule that sends it."""

    port: int
    packet: Packet
    rule: Rule


class Stayed(NamedTuple):
    """A copy that goes no further than a switch: dropped, punted or going round in it."""

    fate: Fate
    packet: Packet
    reason: str
    rule: Rule | None


class Visit(NamedTuple):
    """What one switch does with a packet: what the packet met, and what became of its copies, in order."""

    events: tuple[Event, ...]
    copies: tuple[Left | Stayed, ...]


def visit(network: Network, packet: Packet, at: PortId, connections: Connections = NEW) -> Visit:
    """What a switch does with a packet that comes in by one of its ports, the controller's included."""
    visiting = _Visiting(network, at, connections)
    visiting.table(TableId.INGRESS, packet, Context.arriving(at.number, packet))
    return Visit(tuple(visiting.events), tuple(visiting.copies))


def walk(network: Network, packet: Packet, at: PortId, connections: Connections = NEW) -> Walk:
    """Follow a packet that comes in by a port of a switch, the controller's port included."""
    walking = _Walking(network, connections)
    walking.arrivals.append(_Arrival(at, packet, None, 0.0))
    while walking.arrivals:
        if len(walking.hops) == MAX_HOPS:
            for late in walking.arrivals:
                walking.end(Fate.LOOPED, late, f"a storm of more than {MAX_HOPS} copies")
            break
        walking.arrive(walking.arrivals.pop())
    return Walk(tuple(walking.hops), tuple(walking.ends))


@dataclass(frozen=True, slots=True)
class _Arrival:
    at: PortId
    packet: Packet
    parent: int | None
    delay_ms: float


@dataclass(slots=True)
class _Walking:
    """A walk under way."""

    network: Network
    connections: Connections
    arrivals: list[_Arrival] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)

    def arrive(self, arrival: _Arrival) -> None:
        """A packet comes in at a switch."""
        if self._was_here(arrival):
            self.end(Fate.LOOPED, arrival, f"it was at {arrival.at.switch} port {arrival.at.number} before")
            return
        found = visit(self.network, arrival.packet, arrival.at, self.connections)
        place, switch, delay_ms = len(self.hops), arrival.at.switch, arrival.delay_ms
        self.hops.append(Hop(arrival.at, arrival.packet, arrival.parent, delay_ms, found.events))
        first_new = len(self.arrivals)
        for copy in found.copies:
            if isinstance(copy, Left):
                self._leave(copy, place, arrival)
            else:
                fate, packet, reason, rule = copy
                self.ends.append(End(fate, place, switch, packet, reason, delay_ms, rule))
        # Copies are followed in the order in which they were sent.
        self.arrivals[first_new:] = reversed(self.arrivals[first_new:])

    def end(self, fate: Fate, arrival: _Arrival, reason: str) -> None:
        """A copy ends on its way to a switch."""
        hop = 0 if arrival.parent is None else arrival.parent
        self.ends.append(End(fate, hop, arrival.at.switch, arrival.packet, reason, arrival.delay_ms))

    def _leave(self, copy: Left, place: int, arrival: _Arrival) -> None:
        """A copy leaves the switch at which `arrival` was, as hop number `place`, by a port."""
        port = PortId(arrival.at.switch, copy.port)
        if not self.network.is_live(port):
            reason, delay_ms = f"port {port.number} of {port.switch} is down", arrival.delay_ms
            self.ends.append(End(Fate.LOST, place, port.switch, copy.packet, reason, delay_ms, copy.rule))
            return
        link, far_end = self.network.follow(port)
        delay_ms = arrival.delay_ms + link.link.delay_ms
        if far_end is None:
            self.ends.append(End(Fate.DELIVERED, place, link.peer, copy.packet, "", delay_ms))
        else:
            self.arrivals.append(_Arrival(far_end, copy.packet, place, delay_ms))

    def _was_here(self, arrival: _Arrival) -> bool:
        place = arrival.parent
        while place is not None:
            hop = self.hops[place]
            if hop.at == arrival.at and _same_but_for_hop_limit(hop.packet, arrival.packet):
                return True
            place = hop.parent
        return False


def _same_but_for_hop_limit(one: Packet, other: Packet) -> bool:
    return one == replace(other, hop_limit=one.hop_limit)


class _Dropped(Exception):  # noqa: N818 (control flow within a visit, no error)
    """The packet goes no further at this switch; the text says why."""


class _Visiting:
    """One packet at one switch."""

    def __init__(self, network: Network, at: PortId, connections: Connections) -> None:
        self.events: list[Event] = []
        self.copies: list[Left | Stayed] = []
        self._network = network
        self._at = at
        self._connections = connections
        self._outputs = 0

    def table(self, table: TableId, packet: Packet, context: Context) -> None:
        """The packet comes to a table."""
        if len(self.events) >= MAX_EVENTS:
            self._end(Fate.LOOPED, packet, f"it goes round in the tables of {self._at.switch}")
            return
        met = self._network.lookup(self._at.switch, table, packet, context)
        self.events.append(met)
        rule = met.rule
        if rule is None:
            self._end(Fate.DROPPED, packet, f"no rule of {table.name.lower()} is for it")
            return
        before = self._outputs
        try:
            packet, context = self._run(rule.actions, packet, context, rule)
        except _Dropped as dropped:
            self._end(Fate.DROPPED, packet, str(dropped), rule)
            return
        if rule.source_class is not None:
            context = replace(context, source_class=rule.source_class)
        if rule.goto is not None:
            self.table(rule.goto, packet, context)
        elif self._outputs == before:
            reason = f"the rule of {table.name.lower()} for {rule.origin.name.lower()} sends it nowhere"
            self._end(Fate.DROPPED, packet, reason, rule)

    def _run(
        self, actions: Iterable[Action], packet: Packet, context: Context, rule: Rule
    ) -> tuple[Packet, Context]:
        """Carry out actions in order; the packet as they leave it. Raises _Dropped.

        Connection tracking makes Open vSwitch forget what it has found of the packet, but for the copy that
        goes on in the next table.
        """
        for action in actions:
            match action:
                case DecHopLimit():
                    if packet.hop_limit <= 1:
                        raise _Dropped("its hop limit is exhausted")
                    packet = replace(packet, hop_limit=packet.hop_limit - 1)
                case SetEthSrc(mac):
                    packet = replace(packet, eth_src=mac)
                case SetEthDst(mac):
                    packet = replace(packet, eth_dst=mac)
                case PushTag(tag):
                    packet = replace(packet, tags=(tag, *packet.tags)[:MAX_TAGS])
                case PopTag():
                    packet = replace(packet, tags=packet.tags[1:])
                case CheckLarger(frame_bytes, bit):
                    others = context.too_big - {bit}
                    found = others | {bit} if packet.frame_bytes > frame_bytes else others
                    context = replace(context, too_big=found)
                case Commit(zone, mark):
                    self.events.append(Committed(zone, mark))
                    context = replace(context, ct_state=None, ct_mark=0)
                case Track(zone, table):
                    state, mark_known = self._connections(zone, packet)
                    self.events.append(Tracked(zone, state, mark_known))
                    self._outputs += 1
                    self.table(table, packet, replace(context, ct_state=state, ct_mark=mark_known))
                    context = replace(context, ct_state=None, ct_mark=0)
                case Punt():
                    self._outputs += 1
                    self._end(Fate.PUNTED, packet, rule.origin.name.lower().replace("_", " "), rule)
                case Output(port):
                    self._outputs += 1
                    self._output(port, packet, rule)
                case ToGroup(number):
                    self._group(number, packet, context, rule)
        return packet, context

    def _group(self, number: int, packet: Packet, context: Context, rule: Rule) -> None:
        """Every bucket has a copy of its own; what it does to it is not seen after the group."""
        buckets = self._network.group(self._at.switch, number)
        if buckets is None:
            raise _Dropped(f"there is no group {number:#x}")
        if len(self.events) >= MAX_EVENTS:
            raise _Dropped(f"it goes round in the groups of {self._at.switch}")
        self.events.append(GroupMet(number, tuple(place for place, _ in buckets)))
        if not buckets:
            self._outputs += 1
            self._end(Fate.DROPPED, packet, f"no bucket of group {number:#x} is alive", rule)
        for _, bucket in buckets:
            try:
                self._run(bucket.actions, packet, context, rule)
            except _Dropped as dropped:
                self._outputs += 1
                self._end(Fate.DROPPED, packet, str(dropped), rule)

    def _output(self, number: int, packet: Packet, rule: Rule) -> None:
        if number == self._at.number:
            self._end(Fate.DROPPED, packet, f"it would leave by port {number}, where it came in", rule)
            return
        self.events.append(Sent(number))
        self.copies.append(Left(number, packet, rule))

    def _end(self, fate: Fate, packet: Packet, reason: str, rule: Rule | None = None) -> None:
        self.copies.append(Stayed(fate, packet, reason, rule))
