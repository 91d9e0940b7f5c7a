"""What must never happen, as questions about everything that does: one class for each invariant.

A check looks at one outcome at a time, whoever sent the packets and whatever is down. It says what is wrong
in a sentence, and it knows a packet's way that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin
from controller.plan.rules import CtState, Output
from controller.verify.atoms import Bits
from controller.verify.ground import Ground
from controller.verify.outcomes import Ambiguous, Ended, Ending, LookedUp, Outcome, Remembered, Sent
from controller.verify.results import Committed, End, Fate, Hop, RuleMet, Tracked, Walk
from controller.verify.space import Field, Memory
from controller.verify.spread import Place
from topologies.spec import Role

BELONGING = (CtState.ESTABLISHED, CtState.RELATED)
Opening = tuple[IPv6Address, int, int]
"""A service that a user has subscribed to: its address, protocol and port (0: any)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: the invariant and a sentence, where it happens, by which outcome, and to packets for
    which destinations."""

    invariant: str
    sentence: str
    place: Place
    outcome: Outcome | None
    destinations: Bits


class Shows(Protocol):
    """What knows a way that breaks its invariant."""

    def shown(self, walk: Walk) -> bool:
        """Whether the way of one packet shows it."""


class Check(Shows, Protocol):
    """One invariant."""

    @property
    def name(self) -> str:
        """Its name in a policy."""

    @property
    def kinds(self) -> tuple[type[Outcome], ...]:
        """The outcomes that it looks at."""

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What is wrong with something that happens."""


class Reach:
    """No host gets what it is forbidden: `forbidden` gives the destinations by host."""

    kinds = (Sent,)

    def __init__(self, ground: Ground, name: str, sentence: str, forbidden: Mapping[str, Bits]) -> None:
        self.name = name
        self._ground, self._sentence, self._forbidden = ground, sentence, forbidden

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What is delivered."""
        host = self._ground.model.host(place, outcome)
        if host is not None:
            wrong = destinations & self._forbidden.get(host, 0)
            if wrong:
                yield Finding(self.name, self._sentence.format(host=host), place, outcome, wrong)

    def shown(self, walk: Walk) -> bool:
        """It is delivered."""
        dst = self._ground.space.dst
        return any(
            dst.containing(end.packet.dst) & self._forbidden.get(end.where, 0) for end in walk.delivered
        )


class Zoned:
    """Groups of limited scope stay in their zone (RFC 4007), and only hosts of the infrastructure send and
    hear them."""

    name = "scope"
    kinds = (Sent,)

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What leaves a zone, comes in from another, or reaches a user."""
        ground = self._ground
        if not isinstance(outcome, Sent) or not destinations & ground.multicast:
            return
        entered, left = PortId(place.switch, place.in_port), PortId(place.switch, outcome.port)
        host, sender = ground.model.host(place, outcome), ground.model.wiring.far_ends.get(entered)
        is_of_user = isinstance(sender, str) and ground.topology.role(sender) is Role.USER
        for wrong, sentence in (
            (ground.boundaries.get(left, 0), f"a packet of a scoped group leaves its zone at {left.switch}"),
            (ground.boundaries.get(entered, 0), f"a packet of another zone is let in at {place.switch}"),
            (ground.multicast if is_of_user else 0, f"{sender} sends to a group, and is heard"),
            (
                ground.hidden_groups if host and ground.topology.role(host) is Role.USER else 0,
                f"{host} hears a group that is not for users",
            ),
        ):
            if destinations & wrong:
                yield Finding(self.name, sentence, place, outcome, destinations & wrong)
        if isinstance(sender, str) and outcome.flavour[Field.SRC] & ~ground.own_sources[sender]:
            yield Finding(
                self.name, f"{sender} sends to a group in another's name", place, outcome,
                destinations & ground.multicast,
            )  # fmt: skip

    def shown(self, walk: Walk) -> bool:
        """A copy crosses a boundary, or is heard by somebody who may not, or sent by somebody else."""
        ground = self._ground
        for end in walk.delivered:
            is_user = ground.topology.role(end.where) is Role.USER
            if is_user and ground.space.dst.containing(end.packet.dst) & ground.hidden_groups:
                return True
        sender = ground.model.wiring.far_ends.get(walk.hops[0].at) if walk.hops else None
        packet = walk.hops[0].packet if walk.hops else None
        if isinstance(sender, str) and packet is not None and packet.dst.is_multicast and _is_sent(walk):
            own = ground.space.src.containing(packet.src) & ground.own_sources[sender]
            if ground.topology.role(sender) is Role.USER or not own:
                return True
        return any(
            ground.boundaries.get(hop.at, 0) & ground.space.dst.containing(hop.packet.dst)
            for hop in walk.hops[1:]
        )


class NeighboursOnly:
    """Routers are spoken to by their neighbours only: nothing for a link-local address or for a router's own
    is forwarded (RFC 4291 section 2.5.6, RFC 7404)."""

    name = "private routing"
    kinds = (Sent, Ended)

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What is forwarded, or handed to a router that is not a neighbour."""
        wrong = destinations & self._ground.neighbours_only
        if not wrong:
            return
        if isinstance(outcome, Sent):
            sentence = f"{place.switch} forwards a packet that is for a neighbour only"
            yield Finding(self.name, sentence, place, outcome, wrong)
        elif isinstance(outcome, Ended) and outcome.ending is Ending.PUNTED and outcome.rule is not None:
            is_far = self._ground.model.wiring.is_backbone(PortId(place.switch, place.in_port))
            if outcome.rule.origin is Origin.REQUEST and is_far:
                sentence = f"the router {place.switch} answers somebody who is no neighbour"
                yield Finding(self.name, sentence, place, outcome, wrong)

    def shown(self, walk: Walk) -> bool:
        """It goes further than the first router."""
        ground = self._ground
        if not walk.hops or not (
            ground.space.dst.containing(walk.hops[0].packet.dst) & ground.neighbours_only
        ):
            return False
        return len(walk.hops) > 1 or bool(walk.delivered)


class Unsolicited:
    """What comes in to a user belongs to something that the user has asked for (RFC 6092), and nobody else
    opens its gateway."""

    name = "gateway"
    kinds = (Sent, Remembered, LookedUp)

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._belonging = ground.space.said(Memory.THEIRS, BELONGING)
        self._new = ground.space.said(Memory.THEIRS, (CtState.NEW,))
        self._known: dict[Place, list[tuple[str, Outcome]]] = {}
        self.openings: dict[Opening, str] = {}

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What is delivered to a user unasked, or remembered as if the user had sent it."""
        ground = self._ground
        if isinstance(outcome, Remembered):
            owner = ground.model.zone_owners.get(outcome.zone)
            if owner != PortId(place.switch, place.in_port) and not self._is_opening(outcome, destinations):
                who = ground.model.wiring.far_ends.get(owner) if owner else f"zone {outcome.zone}"
                sentence = f"a packet of somebody else opens the gateway of {who}"
                yield Finding(self.name, sentence, place, outcome, destinations)
            return
        if isinstance(outcome, LookedUp):
            yield from self._looked_up(place, outcome, destinations)
        host = ground.model.host(place, outcome)
        if host is None or ground.topology.role(host) is not Role.USER or not isinstance(outcome, Sent):
            return
        unicast = destinations & ~ground.multicast
        is_known = not outcome.flavour[Field.CT] & ~self._belonging
        if unicast and not is_known and not self._is_opening(outcome, unicast):
            yield Finding(self.name, f"{host} gets what it has not asked for", place, outcome, unicast)

    def _looked_up(self, place: Place, outcome: LookedUp, destinations: Bits) -> Iterator[Finding]:
        """What goes to one user because another's memory knows it."""
        ground, owner = self._ground, self._ground.model.zone_owners.get(outcome.zone)
        for host, sent in self._to_users(place):
            wrong = sent.destinations & destinations & ~ground.multicast
            is_next = isinstance(sent, Sent) and sent.rule.table is outcome.table
            if is_next and wrong and ground.ports[host] != owner:
                sentence = f"{host} gets what another's memory knows"
                yield Finding(self.name, sentence, place, sent, wrong)

    def _to_users(self, place: Place) -> list[tuple[str, Outcome]]:
        """What leaves a switch for users."""
        found = self._known.get(place)
        if found is None:
            ground = self._ground
            pairs = ((ground.model.host(place, sent), sent) for sent in ground.model.outcomes(place))
            found = self._known[place] = [
                (host, sent)
                for host, sent in pairs
                if host is not None and ground.topology.role(host) is Role.USER
            ]
        return found

    def _is_opening(self, outcome: Sent | Remembered, destinations: Bits) -> bool:
        """Whether it is there because a user has subscribed to it; it is noted then."""
        rule = outcome.rule
        if rule.origin is not Origin.REQUEST or outcome.flavour[Field.CT] & ~(self._new | self._belonging):
            return False
        openings = self._openings(outcome, destinations)
        if isinstance(outcome, Remembered):
            owner = self._ground.model.zone_owners.get(outcome.zone)
            if owner is None or Output(owner.number) not in rule.actions:
                return False
        self.openings |= dict.fromkeys(openings, str(rule.match))
        return bool(openings)

    def _openings(self, outcome: Sent | Remembered, destinations: Bits) -> list[Opening]:
        """The services that packets are for, if they are for nothing else: those that are expected; or, where
        none are known, the one that a rule is for."""
        space, match = self._ground.space, outcome.rule.match
        if self._ground.expected.openings is None:
            if match.ipv6_dst is None or match.ip_proto is None or match.ipv6_dst.length != 128:
                return []
            return [(IPv6Address(match.ipv6_dst.value), match.ip_proto, match.port_dst or 0)]
        found, left = list[Opening](), destinations
        for address, protocol, port in self._ground.expected.openings:
            known = (upper for upper in space.uppers.atoms if upper.protocol == protocol)
            uppers = space.uppers.where(upper for upper in known if port in (0, upper.detail))
            if left & space.dst.containing(address) and not outcome.flavour[Field.UPPER] & ~uppers:
                left &= ~space.dst.containing(address)
                found.append((address, protocol, port))
        return [] if left else found

    def shown(self, walk: Walk) -> bool:
        """It is delivered to a user without the user's memory knowing of it, or changes that memory."""
        return any(self._is_wrong(walk, end) for end in walk.delivered) or any(
            isinstance(event, Committed)
            and self._ground.model.zone_owners.get(event.zone) != hop.at
            and not self._is_by_opening(hop)
            for hop in walk.hops
            for event in hop.events
        )

    def _is_by_opening(self, hop: Hop) -> bool:
        """Whether a packet comes in because a user has subscribed to it."""
        met = [event for event in hop.events if isinstance(event, RuleMet)]
        rule, packet = met[-1].rule if met else None, hop.packet
        return (
            rule is not None
            and rule.origin is Origin.REQUEST
            and any((packet.dst, packet.ip_proto, port) in self.openings for port in (0, packet.port_dst))
        )

    def _is_wrong(self, walk: Walk, end: End) -> bool:
        ground = self._ground
        if self._is_by_opening(walk.hops[end.hop]):
            return False
        if ground.topology.role(end.where) is not Role.USER or end.packet.dst.is_multicast:
            return False
        return not any(
            isinstance(event, Tracked)
            and ground.model.zone_owners.get(event.zone) == ground.ports[end.where]
            and event.state in BELONGING
            for event in walk.hops[end.hop].events
        )


class OwnSources:
    """What leaves a host's port has a source that is the host's own (RFC 2827, RFC 7039)."""

    name = "anti-spoofing"
    kinds = (Sent, Remembered)

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.emitted: dict[str, Bits] = {}
        self.entries: dict[str, tuple[Place, Outcome, Bits]] = {}

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """What goes on from a host's port with another's source."""
        ground = self._ground
        sender = ground.model.wiring.far_ends.get(PortId(place.switch, place.in_port))
        if not isinstance(sender, str) or not isinstance(outcome, Sent | Remembered):
            return
        sources = outcome.flavour[Field.SRC]
        self.emitted[sender] = self.emitted.get(sender, 0) | sources
        self.entries.setdefault(sender, (place, outcome, destinations))
        foreign = sources & ~ground.own_sources[sender]
        if foreign:
            example = ground.space.src.first(foreign)
            sentence = f"{sender} sends from {example}, which is not its own"
            yield Finding(self.name, sentence, place, outcome, destinations)

    def shared(self) -> Iterator[Finding]:
        """Sources that two users send from, once everything was seen."""
        ground, taken = self._ground, dict[str, Bits]()
        for host, sources in self.emitted.items():
            if ground.topology.role(host) is Role.USER:
                for other, theirs in taken.items():
                    if sources & theirs:
                        example = ground.space.src.first(sources & theirs)
                        sentence = f"{host} and {other} both send from {example}"
                        yield Finding(self.name, sentence, *self.entries[host])
                taken[host] = sources

    def shown(self, walk: Walk) -> bool:
        """It leaves the first switch with a source that is not its sender's."""
        ground = self._ground
        if not walk.hops or not _is_sent(walk):
            return False
        sender = ground.model.wiring.far_ends.get(walk.hops[0].at)
        if not isinstance(sender, str):
            return False
        source = ground.space.src.containing(walk.hops[0].packet.src)
        users = ground.topology.of_role(Role.USER)
        others = (self.emitted.get(user, 0) for user in users if user != sender and sender in users)
        return not source & ground.own_sources[sender] or any(source & bits for bits in others)


class Loops:
    """Nothing goes round in circles. `Spread.circling` finds it."""

    name = "no loops"
    kinds: tuple[type[Outcome], ...] = ()

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """Nothing: one outcome is no circle."""
        del place, outcome, destinations
        return iter(())

    def shown(self, walk: Walk) -> bool:
        """A copy comes by again."""
        return any(end.fate is Fate.LOOPED for end in walk.ends)


class OneWinner:
    """No packet is for two rules of one priority that do different things: which wins is not defined."""

    name = "no ambiguity"
    kinds = (Ambiguous,)

    def __init__(self, ground: Ground) -> None:
        del ground

    def seen(self, place: Place, outcome: Outcome, destinations: Bits) -> Iterator[Finding]:
        """Where rules overlap."""
        if isinstance(outcome, Ambiguous):
            sentence = f"two rules of {place.switch} for one packet do different things"
            yield Finding(self.name, sentence, place, outcome, destinations)

    def shown(self, walk: Walk) -> bool:
        """It meets such rules."""
        return any(isinstance(event, RuleMet) and event.rivals for hop in walk.hops for event in hop.events)


def _is_sent(walk: Walk) -> bool:
    """Whether anything of it leaves the first switch."""
    return len(walk.hops) > 1 or any(end.fate in (Fate.DELIVERED, Fate.LOST) for end in walk.ends)
