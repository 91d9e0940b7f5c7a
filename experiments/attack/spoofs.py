"""Spoofed sources: the attacker speaks as somebody else, or of somebody else's connections."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address

from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded

from controller.plan.rules import CtState
from experiments.attack.frames import echo, frame, ipv6, random_address, tcp, udp
from experiments.attack.model import Attack, Attacker, Family, Mark
from topologies.addressing import ERROR_SOURCE, GATEWAY

_NOBODY = ("::", "::1", "ff02::1", "ff35::8000:1", "::ffff:192.0.2.1", "2001:db8:dead::1", "3fff::1")
_QUOTED_MTU = 1280


def _as_edge(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for edge in a.edges:
        for mac in (a.me.mac, edge.mac):
            for packet in (tcp(mark(), 8080), udp(mark(), 4001), echo(mark())):
                yield frame(a, ipv6(a, a.origin.address, src=edge.address) / packet, by=mac)


def _as_origin(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for edge in a.edges:
        for mac in (a.me.mac, a.origin.mac):
            for packet in (tcp(mark(), 8081), udp(mark(), 4001), echo(mark())):
                yield frame(a, ipv6(a, edge.address, src=a.origin.address) / packet, by=mac)


def _as_service(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for user in a.users:
        for mac in (a.me.mac, a.edges[0].mac):
            for packet in (tcp(mark(), 40000, "SA", 80), tcp(mark(), 40000, "R", 80), udp(mark(), 40000, 80)):
                yield frame(a, ipv6(a, user.address, src=a.service) / packet, by=mac)


def _as_name_server(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for user in a.users:
        for mac in (a.me.mac, a.dns.mac):
            yield frame(a, ipv6(a, user.address, src=a.dns.address) / udp(mark(), 40000, 53), by=mac)


def _as_user(a: Attacker, mark: Mark, *, neighbours: bool) -> Iterator[bytes]:
    """Requests whose answers would go to somebody else, and resets of somebody else's connections."""
    for user in a.neighbours if neighbours else a.strangers:
        for mac in (a.me.mac, user.mac):
            for target in (a.service, a.dns.address, a.origin.address):
                for packet in (tcp(mark(), 80), tcp(mark(), 80, "R"), udp(mark(), 53), echo(mark())):
                    yield frame(a, ipv6(a, target, src=user.address) / packet, by=mac)


def _as_router(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for source in (GATEWAY, IPv6Address("fe80::"), ERROR_SOURCE, *a.routers[:4]):
        for mac in (a.me.mac, a.gateway_mac):
            for target in (a.victim.address, a.service, a.origin.address):
                yield frame(a, ipv6(a, target, src=source) / echo(mark()), by=mac)


def _as_nobody(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for source in _NOBODY:
        for target in (a.service, a.victim.address, a.origin.address):
            yield frame(a, ipv6(a, target, src=source) / udp(mark()))


def _link_local(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target in (a.service, a.victim.address, a.victim.link_local, a.origin.address):
        yield frame(a, ipv6(a, target, src=a.me.link_local) / udp(mark()))


def _own_prefix(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("own-prefix")
    for _ in range(8):
        source = random_address(chance, a.prefix)
        for target in (a.origin.address, a.victim.address):
            yield frame(a, ipv6(a, target, src=source) / udp(mark()))


def _subnet_anycast(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for source in (a.prefix[0], a.prefix[0xFDFF_FFFF_FFFF_FFFE]):
        for target in (a.service, a.victim.address):
            yield frame(a, ipv6(a, target, src=source) / udp(mark()))


def _land(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for address in (a.service, a.victim.address, a.origin.address):
        yield frame(a, ipv6(a, address, src=address) / tcp(mark(), 80, source_port=80))


def _errors(a: Attacker, mark: Mark, *, to_service: bool) -> Iterator[bytes]:
    """ICMPv6 errors about a connection of another user with the service."""
    for user in a.users:
        target, other = (a.service, user.address) if to_service else (user.address, a.service)
        port, other_port = (80, 40000) if to_service else (40000, 80)
        quoted = ipv6(a, other, src=target) / tcp(mark(), other_port, "A", port)
        for error in (
            ICMPv6PacketTooBig(mtu=_QUOTED_MTU),
            ICMPv6DestUnreach(code=1),
            ICMPv6TimeExceeded(),
            ICMPv6ParamProblem(code=1),
        ):
            yield frame(a, ipv6(a, target) / error / quoted)


_SPOOF = partial(Attack, family=Family.SPOOF)
ATTACKS = (
    _SPOOF(
        name="as-edge",
        claim="C8",
        reference="RFC 2827, 7039",
        tries="an edge's address, with its MAC too, to get at the origin",
        frames=_as_edge,
    ),
    _SPOOF(
        name="as-origin",
        claim="C8",
        reference="RFC 2827, 7039",
        tries="the origin's address to get at the edges' sync interface",
        frames=_as_origin,
    ),
    _SPOOF(
        name="as-service",
        claim="C9",
        reference="RFC 2827, 5961",
        tries="the service's address: answers and resets to other users' connections",
        frames=_as_service,
    ),
    _SPOOF(
        name="as-dns",
        claim="C9",
        reference="RFC 5452",
        tries="the name server's address: forged DNS answers to other users",
        frames=_as_name_server,
    ),
    _SPOOF(
        name="as-neighbour",
        claim="C9",
        reference="RFC 6620, 4953",
        tries="the address of a user of the same switch: reflection, resets",
        frames=partial(_as_user, neighbours=True),
    ),
    _SPOOF(
        name="as-stranger",
        claim="C9",
        reference="RFC 2827",
        tries="the address of a user of another switch: reflection, resets",
        frames=partial(_as_user, neighbours=False),
    ),
    _SPOOF(
        name="as-router",
        claim="C11",
        reference="RFC 7039",
        tries="addresses and MAC of the routers",
        frames=_as_router,
    ),
    _SPOOF(
        name="as-nobody",
        claim="C9",
        reference="RFC 6890",
        tries="unspecified, loopback, group, mapped and foreign sources",
        frames=_as_nobody,
    ),
    _SPOOF(
        name="from-link-local",
        claim="C9",
        reference="RFC 4291 2.5.6",
        tries="a link-local source beyond the link",
        frames=_link_local,
    ),
    _SPOOF(
        name="own-prefix",
        claim="C9",
        reference="RFC 6620",
        tries="unclaimed addresses of the own prefix to the origin and another user",
        frames=_own_prefix,
    ),
    _SPOOF(
        name="subnet-anycast",
        claim="C9",
        reference="RFC 2526",
        tries="the anycast addresses of the own subnet as source",
        frames=_subnet_anycast,
    ),
    _SPOOF(
        name="land",
        claim="C9",
        reference="CVE-1999-0016",
        tries="source and destination the same",
        frames=_land,
    ),
    _SPOOF(
        name="errors-to-users",
        claim="C9",
        reference="RFC 5927",
        tries="ICMPv6 errors about other users' connections, to those users",
        frames=partial(_errors, to_service=False),
        tracked=CtState.INVALID,
    ),
    _SPOOF(
        name="errors-to-service",
        claim="C9",
        reference="RFC 5927",
        tries="ICMPv6 errors about other users' connections, to the service",
        frames=partial(_errors, to_service=True),
        tracked=CtState.INVALID,
    ),
)
