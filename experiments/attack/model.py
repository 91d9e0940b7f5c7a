"""What an attack is, whom it knows, and the mark by which its frames are known wherever they turn up."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from random import Random

from controller.plan.rules import CtState
from experiments.claims.isolation import link_local
from topologies.spec import Role

_MAGIC = b"\xd7nca\xa5"
_MARK = struct.Struct(f"!{len(_MAGIC)}sBH")
MARK_BYTES = _MARK.size
FLOOD_PER_S = 10_000
FLOOD_FRAMES = 5_000


class Family(StrEnum):
    """What attacks have in common."""

    SCAN = "scans"
    SPOOF = "spoofed sources"
    DISCOVERY = "neighbour discovery"
    MULTICAST = "multicast"
    HEADERS = "extension headers"
    FRAGMENTS = "fragments"
    HOPS = "hop limits"
    TUNNEL = "tunnels"
    LINK = "link layer"
    CONTROL = "control plane"
    FLOOD = "floods"


@dataclass(frozen=True, slots=True)
class Node:
    """A host as an attacker knows it: its name, Ethernet address and unicast address."""

    name: str
    mac: str
    address: IPv6Address

    @property
    def link_local(self) -> IPv6Address:
        """Its link-local address."""
        return link_local(self.mac)


@dataclass(frozen=True)
class Attacker:
    """The user that attacks, and all that it knows: everything. `neighbours` are users of its own access
    switch, `strangers` those of others; `routers` are all addresses that a router has or might have, and
    `router_macs` the Ethernet addresses of all of them, its own gateway's first.
    """

    me: Node
    prefix: IPv6Network
    router_macs: tuple[str, ...]
    routers: tuple[IPv6Address, ...]
    origin: Node
    edges: tuple[Node, ...]
    dns: Node
    neighbours: tuple[Node, ...]
    strangers: tuple[Node, ...]
    service: IPv6Address
    infrastructure: IPv6Network
    user_prefixes: Mapping[str, IPv6Network]
    static_group: IPv6Address
    seed: int

    @property
    def gateway_mac(self) -> str:
        """The Ethernet address of its own gateway."""
        return self.router_macs[0]

    @property
    def users(self) -> tuple[Node, ...]:
        """All other users."""
        return self.neighbours + self.strangers

    @property
    def victim(self) -> Node:
        """The user next to it, or any other where it is alone at its switch."""
        return self.users[0]

    def chance(self, name: str) -> Random:
        """The randomness of one attack."""
        return Random(f"{self.seed} {name}")


Mark = Callable[[], bytes]
"""Gives the next mark of an attack, `MARK_BYTES` bytes, to be put into a frame."""
Build = Callable[[Attacker, Mark], Iterable[bytes]]
"""Makes the distinct frames of an attack."""


@dataclass(frozen=True)
class Attack:
    """One attack: what it tries, in a sentence, and the frames it consists of.

    `claim` is what would break if it succeeded; `may_reach` are the roles of hosts to whose public address
    (the service, the name server) its frames may come, `because` says why. The frames are sent one after the
    other, `count` in all (None: each once) at `per_s`. `tracked` is what connection tracking makes of them;
    INVALID stands also for fragments that it never gets together.

    With `urls` the frames are not sent: they stand for what curl sends when it asks for these. With `joins`
    the host's own kernel joins these groups of the origin's, the frames standing for its reports, and the
    origin sends `heard` meanwhile.
    """

    name: str
    family: Family
    claim: str
    reference: str
    tries: str
    frames: Build
    may_reach: frozenset[Role] = frozenset()
    because: str = ""
    count: int | None = None
    per_s: int = 1000
    tracked: CtState = CtState.NEW
    urls: Callable[[Attacker], tuple[str, ...]] | None = None
    joins: tuple[str, ...] = ()
    heard: Build | None = None


def flood(
    name: str,
    claim: str,
    reference: str,
    tries: str,
    frames: Build,
    *,
    may_reach: frozenset[Role] = frozenset(),
    tracked: CtState = CtState.NEW,
    count: int = FLOOD_FRAMES,
) -> Attack:
    """An attack by numbers, at `FLOOD_PER_S`."""
    return Attack(
        name,
        Family.FLOOD,
        claim,
        reference,
        tries,
        frames,
        may_reach=may_reach,
        because=PUBLIC if may_reach else "",
        count=count,
        per_s=FLOOD_PER_S,
        tracked=tracked,
    )


PUBLIC = "service and name server take packets from every user"
TO_SERVICE = frozenset({Role.EDGE})
TO_DNS = frozenset({Role.DNS})


def marks(number: int) -> Mark:
    """The marks of attack `number` (1 to 255), counted from 0; the count starts again after 65,536."""
    sequence = -1

    def mark() -> bytes:
        nonlocal sequence
        sequence += 1
        return _MARK.pack(_MAGIC, number, sequence & 0xFFFF)

    return mark


def marked(frame: bytes) -> int | None:
    """The number of the attack that a frame belongs to, None when it has no mark."""
    at = frame.find(_MAGIC)
    return frame[at + len(_MAGIC)] if 0 <= at < len(frame) - len(_MAGIC) else None
