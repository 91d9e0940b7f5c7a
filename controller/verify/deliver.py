"""What must happen: planned packets arrive where they should, once, and nothing of them dies on the way.

Packets that are too big, whose hop limit runs out, or that belong to no connection may end on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Action, CtState, GroupKind, Output, Prefix, Rule, ToGroup, Track
from controller.verify.atoms import Bits
from controller.verify.checks import BELONGING, Finding
from controller.verify.ground import Ground
from controller.verify.outcomes import Ended, Ending, LookedUp, Outcome, Sent
from controller.verify.packet import ETHERNET_BYTES
from controller.verify.planned import PLANNED_HOPS, Planned
from controller.verify.results import Committed, End, Fate, Walk
from controller.verify.results import Tracked as TrackedMet
from controller.verify.space import Field, Flavour, Memory, Tracked
from controller.verify.spread import NONE_DOWN, Place, Spread
from topologies.spec import Role

_UNPROTECTED = (Ending.DEAD, Ending.HAIRPIN)


class Delivery:
    """Planned packets arrive, and where they should. `unprotected` collects the destinations that are lost
    at a port that is down until the controller acts."""

    name = "no black holes"
    kinds = (Sent, Ended, LookedUp)

    def __init__(self, planned: Planned) -> None:
        self._ground = planned.ground
        self._planned = planned
        self._all = 0
        self._owned: dict[str, Bits] = {}
        for owner in planned.owners:
            self._all |= owner.destinations
            for host in owner.hosts:
                self._owned[host] = self._owned.get(host, 0) | owner.destinations
        space = planned.ground.space
        self._may_end = {
            TableId.FLOW: space.said(Memory.OWN, (CtState.INVALID,)),
            TableId.DELIVER: space.said(Memory.THEIRS, (CtState.NEW, CtState.INVALID)),
        }
        self._not_spent = space.hops_above(PLANNED_HOPS // 2)
        self._unknown = space.tracked.other | space.tracked.of(Tracked(Memory.OWN, CtState.NEW))
        self.unprotected: Bits = 0

    def seen(
        self, place: Place, outcome: Outcome, destinations: Bits, down: frozenset[PortId] = NONE_DOWN
    ) -> Iterator[Finding]:
        """What ends on its way, at the wrong host or in too many copies, while ports are down."""
        ground = self._ground
        if isinstance(outcome, Sent | LookedUp):
            sender = ground.model.wiring.far_ends.get(PortId(place.switch, place.in_port))
            is_user = isinstance(sender, str) and ground.topology.role(sender) is Role.USER
            if is_user and outcome.flavour[Field.CT] & self._unknown:
                sentence = f"{sender} begins a connection that its port does not remember"
                yield Finding(self.name, sentence, place, outcome, destinations)
        if isinstance(outcome, Sent):
            if destinations & ~ground.multicast and self._copies(place, outcome.rule.actions, down) > 1:
                sentence = f"{place.switch} sends more than one copy on"
                yield Finding(self.name, sentence, place, outcome, destinations & ~ground.multicast)
            far = ground.model.wiring.far_ends.get(PortId(place.switch, outcome.port))
            if far is None:
                yield self._dies(
                    place, outcome, destinations, f"leaves by port {outcome.port}, which is none"
                )
            elif isinstance(far, str):
                macs = ground.space.macs.where(self._planned.macs.get(far, ()))
                if macs and outcome.flavour[Field.ETH_DST] & ~macs and destinations & ~ground.multicast:
                    sentence = f"{far} gets a frame that is for another"
                    yield Finding(self.name, sentence, place, outcome, destinations & ~ground.multicast)
                wrong = destinations & ~self._owned.get(far, 0) & ~self._planned.groups
                if wrong & ground.service and self._began_there(place, outcome, far):
                    wrong &= ~ground.service
                if wrong:
                    sentence = f"{far} gets what belongs to {self._owner_of(wrong)}"
                    yield Finding(self.name, sentence, place, outcome, wrong)
            return
        if not isinstance(outcome, Ended) or not outcome.flavour[Field.HOP_LIMIT] & self._not_spent:
            return
        if outcome.rule is not None and outcome.rule.origin is Origin.TOO_BIG:
            frame_bytes = outcome.rule.argument + ETHERNET_BYTES
            if not outcome.flavour[Field.SIZE] & ~ground.space.larger(frame_bytes):
                return
        may_end = self._may_end.get(outcome.table, 0)
        if outcome.table is TableId.DELIVER and self._is_opened(outcome, destinations):
            may_end &= ~ground.space.said(Memory.THEIRS, (CtState.NEW,))
        if may_end and not outcome.flavour[Field.CT] & ~may_end:
            return
        is_next_to_it = any(port.switch == place.switch for port in down)
        if outcome.ending in _UNPROTECTED and is_next_to_it and not self._has_way_out(place, outcome, down):
            self.unprotected |= destinations
            return
        yield self._dies(place, outcome, destinations, _how(outcome))

    def _copies(self, place: Place, actions: Sequence[Action], down: frozenset[PortId]) -> int:
        """How many copies of a packet go on."""
        found, closed = 0, down | {PortId(place.switch, place.in_port)}
        for action in actions:
            if isinstance(action, Track):
                found += 1
            elif isinstance(action, Output):
                found += PortId(place.switch, action.port) not in closed
            elif isinstance(action, ToGroup):
                group = self._ground.model.tables[place.switch].groups.get(action.group)
                if group is not None:
                    copies = [self._copies(place, bucket.actions, down) for bucket in group.buckets]
                    found += sum(copies) if group.kind is GroupKind.ALL else max(copies, default=0)
        return found

    def _has_way_out(self, place: Place, outcome: Ended, down: frozenset[PortId]) -> bool:
        """Whether a group has a bucket that would have sent on what is lost."""
        groups = self._ground.model.tables[place.switch].groups
        named = () if outcome.rule is None else outcome.rule.actions
        found = [groups.get(action.group) for action in named if isinstance(action, ToGroup)]
        return any(
            isinstance(action, Output)
            and action.port != place.in_port
            and (port := PortId(place.switch, action.port)) not in down | self._ground.model.down
            and port in self._ground.model.wiring.far_ends
            for group in found
            if group is not None and group.kind is GroupKind.FAST_FAILOVER
            for bucket in group.buckets
            for action in bucket.actions
        )

    def _is_opened(self, outcome: Ended, destinations: Bits) -> bool:
        """Whether a user has subscribed to some of it."""
        if not outcome.flavour[Field.FRAGMENT] & self._ground.space.fragments.other:
            return False
        uppers = outcome.flavour[Field.UPPER]
        return any(destinations & to and uppers & wanted for to, wanted in self._opened)

    @cached_property
    def _opened(self) -> list[tuple[Bits, Bits]]:
        """The services that users have subscribed to: destinations and upper layers."""
        space, found = self._ground.space, list[tuple[Bits, Bits]]()
        for address, protocol, port in self._ground.expected.openings or ():
            known = [upper for upper in space.uppers.atoms if upper.protocol == protocol]
            named = [upper for upper in known if port and upper.detail == port] or known
            if space.dst.knows(Prefix.of(address)):
                found.append((space.dst.of(Prefix.of(address)), space.uppers.where(named)))
        return found

    def _began_there(self, place: Place, outcome: Sent, host: str) -> bool:
        """Whether what an edge gets of the service can only belong to connections that it has already: it was
        tagged on its way, or is known at the sender's port. An edge that takes no new ones keeps the old."""
        space = self._ground.space
        if self._ground.topology.role(host) is not Role.EDGE:
            return False
        is_tagged = not place.flavour[Field.TAG] & space.tags.other
        return is_tagged or not outcome.flavour[Field.CT] & ~space.said(Memory.OWN, BELONGING)

    def _dies(self, place: Place, outcome: Outcome, destinations: Bits, how: str) -> Finding:
        to = self._owner_of(destinations)
        return Finding(self.name, f"a packet for {to} {how} at {place.switch}", place, outcome, destinations)

    def _owner_of(self, destinations: Bits) -> str:
        for owner in self._planned.owners:
            if owner.destinations & destinations:
                return " or ".join(sorted(owner.hosts)) if len(owner.hosts) <= 2 else "the service"
        return str(self._ground.space.dst.first(destinations))

    def shown(self, walk: Walk) -> bool:
        """A copy dies or arrives at the wrong host, there are several, or its connection is not remembered,
        while connection tracking knows of nothing that speaks against it."""
        if not walk.hops or self._is_for_its_sender(walk):
            return False
        is_group = walk.hops[0].packet.dst.is_multicast
        if any(self._is_wrong(walk, end) for end in walk.delivered):
            return True
        if not self._may_go_on(walk):
            return False
        if any(self._is_wrong(walk, end) for end in walk.ends):
            return True
        return not is_group and (len(walk.delivered) > 1 or self._is_not_remembered(walk))

    def _is_for_its_sender(self, walk: Walk) -> bool:
        ground, first = self._ground, walk.hops[0]
        sender = ground.model.wiring.far_ends.get(first.at)
        own = self._owned.get(sender, 0) if isinstance(sender, str) else 0
        return bool(own & ground.space.dst.containing(first.packet.dst))

    def _may_go_on(self, walk: Walk) -> bool:
        """Whether no memory has called it invalid, and a receiver's has called it new only if the receiver
        has subscribed to it."""
        ground, first = self._ground, walk.hops[0]
        openings = ground.expected.openings or ()
        packet = first.packet
        is_opened = any((packet.dst, packet.ip_proto, port) in openings for port in (0, packet.port_dst))
        return not any(
            isinstance(event, TrackedMet)
            and event.state not in BELONGING
            and (
                event.state is CtState.INVALID
                or (ground.model.zone_owners.get(event.zone) != first.at and not is_opened)
            )
            for hop in walk.hops
            for event in hop.events
        )

    def _is_wrong(self, walk: Walk, end: End) -> bool:
        """Whether it ends at the wrong host, or on its way and not for its size."""
        ground, first = self._ground, walk.hops[0].packet
        if end.fate is Fate.DELIVERED:
            destination = ground.space.dst.containing(first.dst)
            if not first.dst.is_multicast and end.packet.eth_dst not in self._planned.macs.get(
                end.where, frozenset({end.packet.eth_dst})
            ):
                return True
            is_edge = ground.topology.role(end.where) is Role.EDGE
            is_kept = is_edge and destination & ground.service and self._is_known(walk, end)
            return not (first.dst.is_multicast or is_kept or destination & self._owned.get(end.where, 0))
        rule = end.rule
        if rule is None:
            return True
        if end.fate is Fate.LOST:
            return self._is_to_be_kept(end, rule)
        return rule.origin is not Origin.TOO_BIG or first.frame_bytes <= rule.argument + ETHERNET_BYTES

    def _is_to_be_kept(self, end: End, rule: Rule) -> bool:
        """Whether a rule must not lose what it sends: by a port that is none, or where a group protects."""
        groups = self._ground.model.tables[end.where].groups
        named = [groups[a.group] for a in rule.actions if isinstance(a, ToGroup) and a.group in groups]
        actions = [*rule.actions, *(a for group in named for bucket in group.buckets for a in bucket.actions)]
        ports = [PortId(end.where, a.port) for a in actions if isinstance(a, Output)]
        is_none = any(port not in self._ground.model.wiring.far_ends for port in ports)
        return is_none or any(group.kind is GroupKind.FAST_FAILOVER for group in named)

    def _is_known(self, walk: Walk, end: End) -> bool:
        """Whether a copy belongs to a connection that the sender's port knows: it is tagged, or has met one
        switch only."""
        path = walk.path(end)
        states = [event.state for event in path[0].events if isinstance(event, TrackedMet)]
        return any(hop.packet.tags for hop in path) or (len(path) == 1 and states[:1] != [CtState.NEW])

    def _is_not_remembered(self, walk: Walk) -> bool:
        ground, first = self._ground, walk.hops[0]
        sender = ground.model.wiring.far_ends.get(first.at)
        if not isinstance(sender, str) or ground.topology.role(sender) is not Role.USER:
            return False
        events = [event for event in first.events if isinstance(event, TrackedMet | Committed)]
        own = [event for event in events if ground.model.zone_owners.get(event.zone) == first.at]
        is_known = any(isinstance(event, TrackedMet) and event.state in BELONGING for event in own)
        return not is_known and not any(isinstance(event, Committed) for event in own)


_HOW: Mapping[Ending, str] = {
    Ending.PUNTED: "is handed to the controller",
    Ending.MISSED: "meets no rule",
    Ending.DROPPED: "is dropped",
    Ending.EXHAUSTED: "runs out of hops",
    Ending.HAIRPIN: "would leave by the port where it came in",
    Ending.DEAD: "finds its port down",
    Ending.NO_GROUP: "is sent to a group that is not there",
    Ending.TWO_TAGS: "has two VLAN tags",
    Ending.CIRCLES: "goes round in the tables",
}


def _how(outcome: Ended) -> str:
    return f"{_HOW[outcome.ending]} in {outcome.table.name.lower()}"


class Once:
    """Nobody gets a packet of a group twice."""

    def shown(self, walk: Walk) -> bool:
        """It comes to one port twice."""
        ends = [end.where for end in walk.delivered] + [str(hop.at) for hop in walk.hops]
        return len(ends) > len(set(ends))


def duplicates(spread: Spread, ground: Ground, groups: Bits) -> Iterator[Finding]:
    """Ports that a packet of a group leaves by twice: two copies were made of it, or it came two ways."""
    left: dict[PortId, list[tuple[Flavour, Bits]]] = {}
    for place, outcome, destinations in spread.outcomes():
        if isinstance(outcome, Sent) and destinations & groups:
            port, to = PortId(place.switch, outcome.port), destinations & groups
            for known, known_to in left.setdefault(port, []):
                is_same = all(known[field] & outcome.flavour[field] for field in _UNCHANGED)
                if is_same and to & known_to:
                    far = ground.model.wiring.far_ends.get(port)
                    who = far.switch if isinstance(far, PortId) else far
                    sentence = f"{who} gets a packet of a group twice"
                    yield Finding("no black holes", sentence, place, outcome, to & known_to)
            left[port].append((outcome.flavour, to))


_UNCHANGED = (Field.UPPER, Field.FRAGMENT, Field.SIZE, Field.SRC)
"""What no action changes."""
