"""What the captures saw: which frame at which host belongs to which attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from experiments.attack.model import Attack, Attacker, marked
from experiments.claims.isolation import SCOPED
from lab.pcap import CapturedFrame, decode_ipv6, source_mac
from topologies.spec import Topology

Sighting = tuple[int, str]
"""The number of an attack, and a host."""


@dataclass(frozen=True, slots=True)
class Slot:
    """When an attack was under way, in nanoseconds since the epoch."""

    number: int
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class Census:
    """Frames of attacks by (attack, host): those that came to an address that is for everybody, and those
    that came anywhere else. `answered` are the sources of what came back to the attacker; `strays` counts
    frames from the attacker at a time when it attacked nobody."""

    public: Mapping[Sighting, int]
    leaked: Mapping[Sighting, int]
    answered: frozenset[IPv6Address]
    strays: int

    def arrived(self, number: int) -> dict[str, int]:
        """The frames of one attack by host."""
        found: Counter[str] = Counter()
        for counts in (self.public, self.leaked):
            found.update({host: count for (attack, host), count in counts.items() if attack == number})
        return dict(sorted(found.items()))


def count(
    captures: Mapping[str, Iterable[CapturedFrame]],
    topology: Topology,
    attacker: Attacker,
    attacks: Mapping[int, Attack],
    slots: Sequence[Slot],
) -> Census:
    """Go through the inbound frames of hosts. A frame belongs to the attack whose mark it carries, or,
    without a mark, to the one during which it came from one of the attacker's addresses.

    At the attacker itself only multicast counts: the rest are answers.
    """
    public: Counter[Sighting] = Counter()
    leaked: Counter[Sighting] = Counter()
    answered: set[IPv6Address] = set()
    strays = 0
    for host, frames in captures.items():
        for record in frames:
            ip = decode_ipv6(record.frame)
            number = marked(record.frame)
            if host == attacker.me.name:
                if ip is None:
                    continue
                answered.add(ip.source)
                if ip.multicast_scope in SCOPED:
                    leaked[_at(slots, record.time_ns) if number is None else number, host] += 1
                continue
            if number is None and not _is_from(attacker, record.frame):
                continue
            if number is None:
                number = _at(slots, record.time_ns)
                strays += not number
            attack = attacks.get(number)
            is_open = attack is not None and topology.role(host) in attack.may_reach
            is_public = ip is not None and (
                ip.destination in (attacker.service, attacker.dns.address) or ip.multicast_scope is not None
            )
            (public if is_open and is_public else leaked)[number, host] += 1
    return Census(public, leaked, frozenset(answered), strays)


def _is_from(attacker: Attacker, frame: bytes) -> bool:
    ip = decode_ipv6(frame)
    if source_mac(frame) == attacker.me.mac:
        return True
    return ip is not None and (ip.source == attacker.me.link_local or _is_own(attacker, ip.source))


def _is_own(attacker: Attacker, address: IPv6Address) -> bool:
    others = {user.address for user in attacker.neighbours}
    return address in attacker.prefix and address not in others


def _at(slots: Sequence[Slot], time_ns: int) -> int:
    """The attack under way at a time, 0 for none."""
    for slot in slots:
        if slot.begin_ns <= time_ns < slot.end_ns:
            return slot.number
    return 0


def strangers(census: Census, attacker: Attacker, known: Iterable[IPv6Address]) -> frozenset[IPv6Address]:
    """Sources of answers that are neither `known` nor a host that a user may talk to."""
    expected = {attacker.service, attacker.dns.address, *known}
    expected |= {user.address for user in attacker.users}
    return census.answered - expected
