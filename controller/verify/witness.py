"""One concrete packet that shows what a proof has found, with its way through the tables.

The proof knows regions; the packet is searched for among those that the regions allow, likely ones first,
and counts only if the walk of this one packet, rule by rule, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv6Address
from itertools import islice, product

from controller.plan.facts import PortId
from controller.plan.pipeline import TableId
from controller.plan.rules import CtState
from controller.verify.atoms import Bits, bit_numbers
from controller.verify.checks import Finding
from controller.verify.ground import Ground
from controller.verify.network import Network
from controller.verify.packet import TCP, Packet
from controller.verify.regions import filled
from controller.verify.results import Tracked, Walk
from controller.verify.space import OTHER_PORT, Field, Flavour, Tag, Upper
from controller.verify.spread import Place
from controller.verify.walk import Connection, Connections, walk
from controller.wire.frames import ICMPV6, UDP, multicast_mac

MAX_TRIES = 8_000
_MAX_DESTINATIONS, _MAX_SENDERS, _MAX_UPPERS = 4, 64, 2
ENOUGH_HOPS, _MAX_WAY = 64, 8
_UNCHANGED = (Field.UPPER, Field.FRAGMENT, Field.SIZE, Field.SRC)
"""What no action changes; but a switch may know more sources apart than another."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet that a host sends, what connection tracking is taken to know of it at its own port and at the
    user's that it goes to, and its way."""

    sender: str
    packet: Packet
    own: CtState
    theirs: CtState
    mark: int
    walk: Walk


class Search:
    """Finds witnesses in a network while ports are down."""

    def __init__(self, ground: Ground, down: frozenset[PortId]) -> None:
        self._ground = ground
        self._down = down
        self._network = Network(ground.topology, ground.model.tables, ground.model.down | down)

    def find(
        self, finding: Finding, entries: Sequence[Place], shown: Callable[[Walk], bool]
    ) -> Witness | None:
        """A packet that comes in at one of some places and shows what was found; None when none was found
        among the likely ones."""
        tried = 0
        for number in islice(bit_numbers(finding.destinations), _MAX_DESTINATIONS):
            destination = 1 << number
            reaching = (entry for entry in entries if self._leads(entry, finding.place, destination))
            for entry in islice(reaching, _MAX_SENDERS):
                at = PortId(entry.switch, entry.in_port)
                zones = frozenset(zone for zone, port in self._ground.model.zone_owners.items() if port == at)
                sender = str(self._ground.model.wiring.far_ends[at])
                for packet in self._packets(entry, finding, destination):
                    for own, theirs, mark in self._states:
                        tried += 1
                        if tried > MAX_TRIES:
                            return None
                        way = walk(self._network, packet, at, _known(zones, own, theirs, mark))
                        if shown(way):
                            return Witness(sender, packet, own, theirs, mark, way)
                        if not any(isinstance(event, Tracked) for hop in way.hops for event in hop.events):
                            break
        return None

    def _leads(self, entry: Place, place: Place, destination: Bits) -> bool:
        """Whether packets for a destination come from one place to another."""
        model, waiting, known = self._ground.model, [entry], {entry}
        while waiting:
            here = waiting.pop()
            if here[:2] == place[:2]:
                return True
            for target, destinations in model.steps(here, self._down):
                if destinations & destination and target not in known:
                    known.add(target)
                    waiting.append(target)
        return False

    def _packets(self, entry: Place, finding: Finding, destination: Bits) -> Iterator[Packet]:
        """Packets that may come to where it happens, likely ones first."""
        ground, space = self._ground, self._ground.space
        sender = str(ground.model.wiring.far_ends[PortId(entry.switch, entry.in_port)])
        dst = space.dst.first(destination)
        shape = finding.place.flavour if finding.outcome is None else finding.outcome.flavour
        for part in self._parts(entry, shape, destination):
            uppers = space.uppers.values(part[Field.UPPER])[::-1][:_MAX_UPPERS]
            sizes = space.sizes.values(part[Field.SIZE])[:2]
            # Fragments stay fragments on their whole way.
            kinds = space.fragments.values(part[Field.FRAGMENT])[:1]
            limits = self._hop_limits(part, shape)
            looks = product(
                self._sources(sender, part[Field.SRC]),
                self._eth_dsts(entry, dst, part),
                self._eth_srcs(sender, part),
                self._tags(part),
            )
            for (src, eth_dst, eth_src, tags), upper, size, kind, limit in product(
                looks, uppers, sizes, kinds, limits
            ):
                packet = _packet(eth_src, eth_dst, src, dst, upper, size, tags, is_fragment=kind)
                yield replace(packet, hop_limit=limit)
                if not kind:
                    yield from self._to_opening(packet)

    def _to_opening(self, packet: Packet) -> Iterator[Packet]:
        """The same packet to the services that its receiver has subscribed to."""
        for address, protocol, port in self._ground.expected.openings or ():
            if address == packet.dst and protocol in (TCP, UDP) and port:
                yield replace(packet, ip_proto=protocol, port_src=OTHER_PORT, port_dst=port, icmpv6_type=None)

    def _parts(self, entry: Place, shape: Flavour, destination: Bits) -> Iterator[Flavour]:
        """What comes in at a place, as its first table tells it apart, as far as it may become `shape`."""
        model = self._ground.model.switches[entry.switch]
        verdict = model.lookup(TableId.INGRESS, entry.in_port, (entry.flavour, destination))
        parts = [(not (rule.actions or rule.goto), part) for rule, part, _ in verdict.hits]
        parts += [(True, part) for part, _ in verdict.missed]
        # What goes on comes first.
        for _, part in sorted(parts, key=lambda pair: pair[0]):
            fields = [part[place] & shape[place] for place in _UNCHANGED]
            if all(fields):
                yield filled(part, _UNCHANGED, fields)

    def _hop_limits(self, part: Flavour, shape: Flavour) -> list[int]:
        """Hop limits with which it may arrive as it should: many, or few and some more for the way."""
        space = self._ground.space
        if shape[Field.HOP_LIMIT] & part[Field.HOP_LIMIT] & space.many:
            return [ENOUGH_HOPS]
        wanted = space.hop_limits.values(shape[Field.HOP_LIMIT])
        return sorted({limit + further for limit in wanted for further in range(_MAX_WAY)})

    @cached_property
    def _states(self) -> list[tuple[CtState, CtState, int]]:
        """What connection tracking may say at the sender's port and at others, with a mark. First comes what
        is likely: a new connection, and one that the receiver has begun; a mark needs one that began
        somewhere."""
        marks = self._ground.space.marks.atoms
        theirs = (CtState.ESTABLISHED, CtState.NEW, CtState.RELATED, CtState.INVALID)
        found = list(product((CtState.NEW, CtState.ESTABLISHED, CtState.RELATED), theirs, marks))
        return sorted(found, key=lambda each: (each[2] != 0, each[0] is not CtState.NEW))

    def _sources(self, sender: str, sources: Bits) -> list[IPv6Address]:
        """Some of the sources, the sender's own first."""
        space, own = self._ground.space, self._ground.own_sources[sender]
        ordered = (*bit_numbers(sources & own), *bit_numbers(sources & ~own))
        # Of its own, an address that is bound is an atom of its own, and likelier than the rest of a prefix.
        firsts = [space.src.first(1 << number) for number in ordered]
        sizes = {address: space.src.size(space.src.containing(address)) for address in firsts}
        return sorted(firsts, key=lambda address: sizes[address] > 1)[:12]

    def _eth_dsts(self, entry: Place, dst: IPv6Address, part: Flavour) -> list[str]:
        router, macs = self._ground.addresses.router_macs[entry.switch], self._ground.space.macs
        likely = [multicast_mac(dst), router] if dst.is_multicast else [router]
        return self._within(part[Field.ETH_DST], likely) or list(macs.values(part[Field.ETH_DST]))[:2]

    def _within(self, bits: Bits, likely: Iterable[str]) -> list[str]:
        """The MACs that are among some atoms."""
        macs = self._ground.space.macs
        known = {mac: macs.of(mac) for mac in macs.atoms}
        return [mac for mac in dict.fromkeys(likely) if known.get(mac, macs.other) & bits]

    def _eth_srcs(self, sender: str, part: Flavour) -> list[str]:
        ground = self._ground
        switch, number = ground.ports[sender]
        named = [
            rule.match.eth_src
            for rule in ground.model.tables[switch].rules.values()
            if rule.match.in_port == number and rule.match.eth_src is not None
        ]
        own, macs = ground.addresses.hosts[sender].mac, ground.space.macs
        likely = (*named, own, *macs.values(macs.other))
        return self._within(part[Field.ETH_SRC], likely) or list(macs.values(part[Field.ETH_SRC])[:2])

    def _tags(self, part: Flavour) -> list[tuple[int, ...]]:
        tags = self._ground.space.tags.values(part[Field.TAG])
        return [() if tag is None else _vlans(tag) for tag in tags]


def _known(own_zones: frozenset[int], own: CtState, theirs: CtState, mark: int) -> Connections:
    """Connection tracking that says one thing in the sender's own memory, and another in all others."""
    return lambda zone, _: Connection(own if zone in own_zones else theirs, mark)


def _vlans(tag: Tag) -> tuple[int, ...]:
    return (tag.number, tag.number) if tag.is_double else (tag.number,)


def _packet(
    eth_src: str,
    eth_dst: str,
    src: IPv6Address,
    dst: IPv6Address,
    upper: Upper,
    size: int,
    tags: tuple[int, ...],
    *,
    is_fragment: bool,
) -> Packet:
    protocol, detail = upper
    is_icmp = protocol == ICMPV6 and not is_fragment
    has_ports = detail is not None and protocol != ICMPV6 and not is_fragment
    return Packet(
        eth_src, eth_dst, src, dst, protocol,
        port_src=OTHER_PORT if has_ports else None,
        port_dst=detail if has_ports else None,
        icmpv6_type=detail if is_icmp else None,
        frame_bytes=max(size, 100) if size <= 100 else size,
        tags=tags,
        is_fragment=is_fragment,
    )  # fmt: skip
