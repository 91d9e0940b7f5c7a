"""One concrete packet that shows what a proof has found, with its way through the tables.

The proof knows regions; the packet is searched for among those that the regions allow, likely ones first,
and counts only if the walk of this one packet, rule by rule, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import islice, product

from controller.plan.facts import PortId
from controller.plan.rules import CtState
from controller.verify.atoms import Bits, bit_numbers
from controller.verify.checks import Finding
from controller.verify.ground import Ground
from controller.verify.network import Network
from controller.verify.outcomes import Sent
from controller.verify.packet import Packet
from controller.verify.results import Walk
from controller.verify.space import OTHER_MAC, OTHER_PORT, Field, Tag, Upper
from controller.verify.spread import Place
from controller.verify.walk import Connection, Connections, walk
from controller.wire.frames import ICMPV6, multicast_mac

MAX_TRIES = 20_000
_MAX_DESTINATIONS, _MAX_SENDERS = 4, 64


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
                for sender, packet, own, theirs, mark in self._packets(entry, finding, destination):
                    tried += 1
                    if tried > MAX_TRIES:
                        return None
                    at, zones = PortId(entry.switch, entry.in_port), self._ground.model.zone_owners
                    connections = _known(frozenset(z for z in zones if zones[z] == at), own, theirs, mark)
                    way = walk(self._network, packet, at, connections)
                    if shown(way):
                        return Witness(sender, packet, own, theirs, mark, way)
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

    def _packets(
        self, entry: Place, finding: Finding, destination: Bits
    ) -> Iterator[tuple[str, Packet, CtState, CtState, int]]:
        ground, space = self._ground, self._ground.space
        sender = str(ground.model.wiring.far_ends[PortId(entry.switch, entry.in_port)])
        flavours = [entry.flavour]
        if finding.outcome is not None and finding.place[:2] == entry[:2]:
            flavours = [finding.outcome.flavour]
        else:
            found = [
                outcome.flavour
                for outcome in ground.model.outcomes(entry, self._down)
                if isinstance(outcome, Sent) and outcome.destinations & destination
            ]
            flavours = list(dict.fromkeys(found)) or flavours
        dst = space.dst.first(destination)
        states = list(product((CtState.NEW, CtState.ESTABLISHED), CtState, space.marks.atoms))
        # Established ones with a mark come last: they need a connection that began somewhere.
        states.sort(key=lambda each: (each[2] != 0, each[0] is not CtState.NEW))
        for flavour in flavours:
            sources = self._sources(sender, flavour[Field.SRC])
            uppers = space.uppers.values(flavour[Field.UPPER])[::-1]
            sizes = space.sizes.values(flavour[Field.SIZE])[:2]
            looks = product(sources, self._eth_dsts(entry, dst), self._eth_srcs(sender), self._tags(entry))
            for (src, eth_dst, eth_src, tags), upper, size in product(looks, uppers, sizes):
                packet = _packet(eth_src, eth_dst, src, dst, upper, size, tags)
                for own, theirs, mark in states:
                    yield sender, packet, own, theirs, mark

    def _sources(self, sender: str, sources: Bits) -> list[IPv6Address]:
        """Some of the sources, the sender's own first."""
        space, own = self._ground.space, self._ground.own_sources[sender]
        ordered = (*bit_numbers(sources & own), *bit_numbers(sources & ~own))
        # Of its own, an address that is bound is an atom of its own, and likelier than the rest of a prefix.
        firsts = [space.src.first(1 << number) for number in ordered]
        sizes = {address: space.src.size(space.src.containing(address)) for address in firsts}
        return sorted(firsts, key=lambda address: sizes[address] > 1)[:12]

    def _eth_dsts(self, entry: Place, dst: IPv6Address) -> list[str]:
        router = self._ground.addresses.router_macs[entry.switch]
        if dst.is_multicast:
            return [multicast_mac(dst), router]
        return list(dict.fromkeys((router, *self._ground.space.macs.values(entry.flavour[Field.ETH_DST]))))

    def _eth_srcs(self, sender: str) -> list[str]:
        ground = self._ground
        switch, number = ground.ports[sender]
        named = [
            rule.match.eth_src
            for rule in ground.model.tables[switch].rules.values()
            if rule.match.in_port == number and rule.match.eth_src is not None
        ]
        own = ground.addresses.hosts[sender].mac
        return list(dict.fromkeys((*named, own, OTHER_MAC)))

    def _tags(self, entry: Place) -> list[tuple[int, ...]]:
        tags = self._ground.space.tags.values(entry.flavour[Field.TAG])
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
) -> Packet:
    protocol, detail = upper
    is_icmp = protocol == ICMPV6
    has_ports = detail is not None and not is_icmp
    return Packet(
        eth_src, eth_dst, src, dst, protocol,
        port_src=OTHER_PORT if has_ports else None,
        port_dst=detail if has_ports else None,
        icmpv6_type=detail if is_icmp else None,
        frame_bytes=max(size, 100) if size <= 100 else size,
        tags=tags,
    )  # fmt: skip
