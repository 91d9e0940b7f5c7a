"""Extension headers, fragments and hop limits: to the service, which a user may reach, and past it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import (
    HAO,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    Jumbo,
    PadN,
    RouterAlert,
)
from scapy.packet import Raw

from controller.plan.rules import CtState
from controller.verify.packet import TCP
from controller.verify.parse import AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, NO_NEXT_HEADER
from controller.wire.frames import IPV6_LENGTH, UDP
from experiments.attack.frames import CLIENT_PORT, DISCARD, echo, frame, ipv6, tcp, udp
from experiments.attack.model import PUBLIC, TO_DNS, TO_SERVICE, Attack, Attacker, Family, Mark
from topologies.addressing import GATEWAY

_ESP, _MOBILITY, _HIP, _SHIM6, _EXPERIMENT = 50, 135, 139, 140, 253
_NEXT_HEADER = 6
_PIECE = 24
_LONG_CHAIN = 12
_HOPS = range(12)


def _public(a: Attacker) -> tuple[IPv6Address, IPv6Address]:
    return a.service, a.dns.address


def _forbidden(a: Attacker) -> tuple[IPv6Address, ...]:
    return (a.origin.address, a.edges[0].address, a.victim.address)


def _behind(a: Attacker, way: IPv6Address, headers: Any, upper: Any) -> bytes:
    """Extension headers before a packet whose checksum is the one without them: otherwise connection tracking
    would take it for damaged, and nobody would get as far as the headers."""
    plain = bytes(ipv6(a, way) / upper)
    headers.lastlayer().nh = plain[_NEXT_HEADER]
    return frame(a, ipv6(a, way) / headers / Raw(plain[IPV6_LENGTH:]))


def _routing_0(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """By way of a host that a user reaches to one that it does not."""
    for way in _public(a):
        for target in _forbidden(a):
            for left in (1, 2):
                via = IPv6ExtHdrRouting(type=0, segleft=left, addresses=[str(target)] * left)
                yield _behind(a, way, via, udp(mark()))


def _routing_other(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Types 2 (RFC 6275), 3 (RFC 6554), 4 (RFC 8754) and one for experiments."""
    for way in _public(a):
        for target in _forbidden(a):
            for kind in (2, 3, _EXPERIMENT):
                via = IPv6ExtHdrRouting(type=kind, segleft=1, addresses=[str(target)])
                yield _behind(a, way, via, udp(mark()))
            segments = IPv6ExtHdrSegmentRouting(addresses=[str(target), str(way)], segleft=1, lastentry=1)
            yield _behind(a, way, segments, udp(mark()))


def _routing_forbidden(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Straight to hosts that are hidden, on the last segment or with segments left."""
    for target in _forbidden(a):
        for left in (0, 1):
            via = IPv6ExtHdrRouting(type=0, segleft=left, addresses=[str(a.service)])
            yield frame(a, ipv6(a, target) / via / udp(mark()))


def _home_address(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """`I am the origin, away from home` (RFC 6275 section 6.3)."""
    for home in (a.origin.address, a.edges[0].address, a.victim.address):
        options = IPv6ExtHdrDestOpt(options=[HAO(hoa=str(home))])
        for target in _public(a):
            yield _behind(a, target, options, tcp(mark(), 80))


def _chain(mark: bytes) -> tuple[Any, ...]:
    pad = PadN(optdata=mark)
    return (
        IPv6ExtHdrHopByHop(options=[pad]),
        IPv6ExtHdrDestOpt(options=[pad]),
        IPv6ExtHdrHopByHop(options=[pad]) / IPv6ExtHdrDestOpt(options=[pad]),
        IPv6ExtHdrDestOpt(options=[pad]) / IPv6ExtHdrHopByHop(options=[pad]),
        IPv6ExtHdrHopByHop(options=[RouterAlert(value=0), pad]),
        IPv6ExtHdrHopByHop(options=[RouterAlert(value=65535), pad]),
    )


def _chains(a: Attacker, mark: Mark, *, to_service: bool) -> Iterator[bytes]:
    for target in (a.service,) if to_service else (*_forbidden(a), *a.routers[:1]):
        for chain in _chain(mark()):
            yield frame(a, ipv6(a, target) / chain / udp(mark()))
        long = IPv6ExtHdrDestOpt(options=[PadN(optdata=mark())])
        for _ in range(_LONG_CHAIN):
            long = long / IPv6ExtHdrDestOpt()
        yield frame(a, ipv6(a, target) / long / udp(mark()))


def _odd_protocols(a: Attacker, mark: Mark, *, to_service: bool) -> Iterator[bytes]:
    """Headers that firewalls do not see behind, and protocols that nobody has."""
    for target in (a.service,) if to_service else _forbidden(a):
        for protocol in (_ESP, NO_NEXT_HEADER, _MOBILITY, _HIP, _SHIM6, _EXPERIMENT, 0xFF, 132, 136):
            body = struct.pack("!BB6x", NO_NEXT_HEADER, 0) + mark()
            yield frame(a, ipv6(a, target, nh=protocol) / body)
        authentication = struct.pack("!BBHII4x", UDP, 2, 0, 0x6E63, 1) + bytes(udp(mark()))
        yield frame(a, ipv6(a, target, nh=AUTHENTICATION) / authentication)


def _damaged(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Lengths that lie, headers cut short, a wrong version, a jumbo payload that is none."""
    for target in (a.origin.address, a.victim.address):
        header = ipv6(a, target)
        yield frame(a, ipv6(a, target, plen=0xFFFF) / udp(mark()))
        yield frame(a, ipv6(a, target, plen=4) / udp(mark()))
        yield frame(a, ipv6(a, target, version=4) / udp(mark()))
        yield frame(
            a, ipv6(a, target, plen=0) / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=1 << 20)]) / mark()
        )
        yield frame(a, ipv6(a, target, nh=DESTINATION_OPTIONS) / (struct.pack("!BB", UDP, 200) + mark()))
        yield frame(a, ipv6(a, target, nh=FRAGMENT) / struct.pack("!BBH", UDP, 0, 0))
        yield frame(a, header / udp(mark()))[:50]
        yield frame(a, header / udp(mark()))[:20]


def _pieces(
    a: Attacker,
    target: IPv6Address,
    whole: bytes,
    protocol: int,
    number: int,
    places: tuple[tuple[int, int, int], ...],
) -> Iterator[bytes]:
    """Fragments of a packet's payload: (from, to, more) in bytes, in the order in which they are sent."""
    for begin, end, more in places:
        header = IPv6ExtHdrFragment(nh=protocol, id=number, offset=begin // 8, m=more)
        yield frame(a, ipv6(a, target) / header / whole[begin:end])


def _datagram(a: Attacker, target: IPv6Address, mark: bytes) -> bytes:
    return bytes((ipv6(a, target) / udp(mark * 8)).payload)


def _fragments(a: Attacker, mark: Mark, *, to_service: bool) -> Iterator[bytes]:
    """Whole packets in pieces that begin anywhere: in order, backwards, and with the ports in the second."""
    for number, target in enumerate((a.service,) if to_service else (*_forbidden(a), *a.routers[:1])):
        whole = _datagram(a, target, mark())
        end = len(whole)
        in_order = ((0, _PIECE, 1), (_PIECE, end, 0))
        yield from _pieces(a, target, whole, UDP, 2 * number, in_order)
        options = struct.pack("!BBBB4x", UDP, 0, 1, 4) + whole
        tiny = ((0, 8, 1), (8, end + 8, 0))
        yield from _pieces(a, target, options, DESTINATION_OPTIONS, 2 * number + 1, tiny[::-1])


def _overlapping(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Overlapping fragments (RFC 5722), some that never end, one beyond the largest packet."""
    for number, target in enumerate((a.service, *_forbidden(a))):
        whole = _datagram(a, target, mark())
        end = len(whole)
        overlapping = ((0, 32, 1), (16, end, 0), (0, 48, 1))
        yield from _pieces(a, target, whole, UDP, 0x100 + number, overlapping)
        yield from _pieces(a, target, whole, UDP, 0x200 + number, ((0, _PIECE, 1),))
        last = IPv6ExtHdrFragment(nh=UDP, id=0x300 + number, offset=0x1FFF, m=0)
        yield frame(a, ipv6(a, target) / last / whole[:_PIECE])


def _atomic(a: Attacker, mark: Mark, *, to_service: bool) -> Iterator[bytes]:
    """A fragment header on a packet that is whole (RFC 6946, 8021)."""
    for number, target in enumerate((a.service,) if to_service else (*_forbidden(a), *a.routers[:1])):
        for protocol, upper in ((UDP, udp(mark())), (TCP, tcp(mark(), 8081)), (58, echo(mark()))):
            whole = bytes((ipv6(a, target) / upper).payload)
            header = IPv6ExtHdrFragment(nh=protocol, id=number)
            yield frame(a, ipv6(a, target) / header / whole)


def _exhausted(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target in (*_public(a), *_forbidden(a), *a.routers[:2]):
        for hop_limit in (0, 1):
            yield frame(a, ipv6(a, target, hop_limit=hop_limit) / udp(mark()))


def _traceroute(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Every distance to those that a user may reach: where hop limits end is told by nobody's address."""
    for target in (*_public(a), a.strangers[-1].address if a.strangers else a.victim.address):
        for hop_limit in _HOPS:
            yield frame(a, ipv6(a, target, hop_limit=hop_limit) / udp(mark(), 33434 + hop_limit))


def _traced_plane(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target in (a.origin.address, a.edges[-1].address, *a.routers[-2:]):
        for hop_limit in _HOPS:
            yield frame(
                a, ipv6(a, target, hop_limit=hop_limit) / udp(mark(), DISCARD, CLIENT_PORT + hop_limit)
            )


def _link_local_hops(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Link-local destinations with hop limits that would carry them on."""
    for target in (GATEWAY, IPv6Address("fe80::"), *(user.link_local for user in a.users[:4])):
        for source in (a.me.link_local, a.me.address):
            for hop_limit in (2, 64, 255):
                yield frame(a, ipv6(a, target, src=source, hop_limit=hop_limit) / udp(mark()))


_HEADERS = partial(Attack, family=Family.HEADERS, claim="C8")
_FRAGMENTS = partial(Attack, family=Family.FRAGMENTS, claim="C8")
_LIMITS = partial(Attack, family=Family.HOPS, claim="C11")
_BOTH = TO_SERVICE | TO_DNS
ATTACKS = (
    _HEADERS(
        name="routing-0",
        reference="RFC 5095",
        tries="routing headers of type 0 by way of service and name server to origin, edge and user",
        frames=_routing_0,
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _HEADERS(
        name="routing-other",
        reference="RFC 6275, 6554, 8754",
        tries="routing headers of types 2, 3 and 4 by way of service and name server",
        frames=_routing_other,
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _HEADERS(
        name="routing-hidden",
        reference="RFC 5095",
        tries="routing headers in packets to origin, edge and user",
        frames=_routing_forbidden,
    ),
    _HEADERS(
        name="home-address",
        reference="RFC 6275 6.3",
        tries="a home address option that names the origin, an edge or another user as the sender",
        frames=_home_address,
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _HEADERS(
        name="chains",
        reference="RFC 7112, 9673, 9099",
        tries="hop-by-hop and destination options in any order and number to origin, edge, user, router",
        frames=partial(_chains, to_service=False),
    ),
    _HEADERS(
        name="chains-service",
        reference="RFC 7112, 9673",
        tries="hop-by-hop and destination options in any order and number to the service",
        frames=partial(_chains, to_service=True),
        may_reach=TO_SERVICE,
        because=PUBLIC,
    ),
    _HEADERS(
        name="protocols",
        reference="RFC 7045",
        tries="ESP, AH, mobility, HIP, Shim6, SCTP and unknown protocols to origin, edge and user",
        frames=partial(_odd_protocols, to_service=False),
    ),
    _HEADERS(
        name="protocols-service",
        reference="RFC 7045",
        tries="ESP, AH, mobility, HIP, Shim6, SCTP and unknown protocols to the service",
        frames=partial(_odd_protocols, to_service=True),
        may_reach=TO_SERVICE,
        because=PUBLIC,
    ),
    _HEADERS(
        name="damaged",
        reference="RFC 8200, 2675",
        tries="lengths that lie, headers cut short, another version, jumbo payloads",
        frames=_damaged,
    ),
    _FRAGMENTS(
        name="fragments",
        reference="RFC 7112, 8200 4.5",
        tries="fragments, also with the ports in the second one, to origin, edge, user and router",
        frames=partial(_fragments, to_service=False),
    ),
    _FRAGMENTS(
        name="fragments-service",
        reference="RFC 7112, 8200 4.5",
        tries="fragments, also with the ports in the second one, to the service",
        frames=partial(_fragments, to_service=True),
        may_reach=TO_SERVICE,
        because=PUBLIC,
    ),
    _FRAGMENTS(
        name="overlapping",
        reference="RFC 5722, 1858",
        tries="overlapping fragments, fragments without an end and beyond the largest packet",
        frames=_overlapping,
        tracked=CtState.INVALID,
    ),
    _FRAGMENTS(
        name="atomic",
        reference="RFC 6946, 8021",
        tries="atomic fragments to origin, edge, user and router",
        frames=partial(_atomic, to_service=False),
    ),
    _FRAGMENTS(
        name="atomic-service",
        reference="RFC 6946, 8021",
        tries="atomic fragments to the service",
        frames=partial(_atomic, to_service=True),
        may_reach=TO_SERVICE,
        because=PUBLIC,
    ),
    _LIMITS(
        name="exhausted",
        reference="RFC 8200 3, 4443",
        tries="hop limits 0 and 1 to everybody",
        frames=_exhausted,
    ),
    _LIMITS(
        name="traceroute",
        reference="RFC 7404",
        tries="every hop limit to service, name server and a far user, to see the routers",
        frames=_traceroute,
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _LIMITS(
        name="traceroute-hidden",
        reference="RFC 7404",
        tries="every hop limit to origin, edge and routers",
        frames=_traced_plane,
    ),
    _LIMITS(
        name="link-local-hops",
        reference="RFC 4291 2.5.6, 5082",
        tries="link-local destinations with hop limits that would carry them on",
        frames=_link_local_hops,
    ),
)
