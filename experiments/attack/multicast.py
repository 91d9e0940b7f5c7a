"""Multicast: joining the infrastructure's groups, sending to them, and speaking MLD for others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)

from controller.plan.rules import CtState
from controller.wire.frames import multicast_mac
from controller.wire.nd import ALL_NODES
from experiments.attack.frames import echo, frame, ipv6, udp
from experiments.attack.model import TO_SERVICE, Attack, Attacker, Family, Mark, Node
from topologies.addressing import GATEWAY, STATIC_GROUP

_ALL_MLD_ROUTERS = IPv6Address("ff02::16")
_GROUPS = (
    *("ff31::8000:1", "ff32::8000:1", "ff33::8000:1", "ff34::8000:1", "ff35::8000:1", "ff38::8000:1"),
    *("ff3e::8000:1", "ff05::8000:3", "ff08::8000:3", "ff0e::8000:3", "ff02::1", "ff02::16", "ff05::2"),
    *("ff02::1:2", "ff02::fb", "ff05::1:3", "ff75:30:2001:db8::1", "ff0f::1", "ff00::1"),
)
_INFRASTRUCTURE_GROUPS = tuple(
    str(group) for group in (STATIC_GROUP, "ff33::8000:2", "ff34::8000:2", "ff38::8000:2", "ff05::8000:3")
)
_FLUTE_PORT = 4001
_UNUSED_PORT = 4999
"""Where no receiver listens: what the origin sends to the groups for the test is not taken for content."""
_ALLOW, _TO_EXCLUDE, _BLOCK = 5, 4, 6


def _alert() -> Any:
    return IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])


def _report(kind: int, mark: bytes, group: str, sources: tuple[str, ...] = ()) -> Any:
    record = ICMPv6MLDMultAddrRec(rtype=kind, dst=group, sources=list(sources), auxdata=mark)
    return ICMPv6MLReport2(records=[record])


def _reports(a: Attacker, mark: Mark, *, senders: tuple[IPv6Address, ...] = ()) -> Iterator[bytes]:
    """Join every group, by MLDv2 with and without sources and by MLDv1."""
    for source in senders or (a.me.link_local,):
        header = ipv6(a, _ALL_MLD_ROUTERS, src=source, hop_limit=1)
        for group in (*_INFRASTRUCTURE_GROUPS, *_GROUPS):
            for sources in ((str(a.origin.address),), (str(a.edges[0].address),)):
                yield frame(a, header / _alert() / _report(_ALLOW, mark(), group, sources))
            yield frame(a, header / _alert() / _report(_TO_EXCLUDE, mark(), group))
            old = ipv6(a, group, src=source, hop_limit=1) / _alert() / ICMPv6MLReport(mladdr=group) / mark()
            yield frame(a, old)


def _for_others(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Leave the static group in the name of every edge."""
    for edge in a.edges:
        for by in (a.me.mac, edge.mac):
            header = ipv6(a, _ALL_MLD_ROUTERS, src=edge.link_local, hop_limit=1)
            blocked = _report(_BLOCK, mark(), str(a.static_group), (str(a.origin.address),))
            yield frame(a, header / _alert() / blocked, by=by)
            done = ICMPv6MLDone(mladdr=str(a.static_group))
            yield frame(
                a, ipv6(a, "ff02::2", src=edge.link_local, hop_limit=1) / _alert() / done / mark(), by=by
            )


def _join_as_edge(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from _reports(a, mark, senders=tuple(edge.link_local for edge in a.edges[:3]))


def _querier(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Queries of a querier below fe80::1, to silence the real one or to wake everybody."""
    for source in (IPv6Address("fe80::"), GATEWAY, a.me.link_local):
        header = ipv6(a, ALL_NODES, src=source, hop_limit=1)
        yield frame(a, header / _alert() / ICMPv6MLQuery2(mrd=0, QQIC=255) / mark())
        yield frame(a, header / _alert() / ICMPv6MLQuery(mrd=0) / mark())
        specific = ICMPv6MLQuery2(mladdr=str(a.static_group), mrd=0, sources=[str(a.origin.address)])
        to_group = ipv6(a, a.static_group, src=source, hop_limit=1)
        yield frame(a, to_group / _alert() / specific / mark())


def _injected(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Into the stream of the static content, as the origin."""
    for to in (multicast_mac(a.static_group), a.gateway_mac):
        for by in (a.me.mac, a.origin.mac, a.gateway_mac):
            for payload in (mark(), _flute_like(mark())):
                header = ipv6(a, a.static_group, src=a.origin.address)
                yield frame(a, header / udp(payload, _FLUTE_PORT, _FLUTE_PORT), to=to, by=by)


def _flute_like(mark: bytes) -> bytes:
    """An LCT header of TSI 1, TOI 0 (RFC 5651), and the mark as content."""
    return bytes.fromhex("10100400 00000000 00000001 00000000".replace(" ", "")) + mark


def _injected_everywhere(a: Attacker, mark: Mark) -> Iterator[bytes]:
    speakers: tuple[Node, ...] = (a.origin, *a.edges[:4])
    for node in speakers:
        for group in _GROUPS:
            yield frame(a, ipv6(a, group, src=node.address) / udp(mark(), _FLUTE_PORT), by=node.mac)


def _sent(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for group in _GROUPS:
        for source in (a.me.address, a.me.link_local):
            for to in (None, a.gateway_mac):
                header = ipv6(a, group, src=source)
                yield frame(a, header / udp(mark(), _FLUTE_PORT), to=to)
                yield frame(a, header / echo(mark()), to=to)


def _mld_routed(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """MLD to unicast addresses, with hop limits that would carry it on."""
    for target in (a.service, a.origin.address, a.users[-1].address):
        for hop_limit in (1, 64, 255):
            header = ipv6(a, target, hop_limit=hop_limit)
            yield frame(a, header / _alert() / _report(_ALLOW, mark(), str(a.static_group)))
            yield frame(a, header / ICMPv6MLQuery2(mladdr=str(a.static_group)) / mark())


def _from_origin(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """What the origin sends to the groups that the attacker has joined."""
    for group in _INFRASTRUCTURE_GROUPS:
        packet = ipv6(a, group, src=a.origin.address) / udp(mark(), _UNUSED_PORT)
        yield frame(a, packet, by=a.origin.mac)


_MULTICAST = partial(Attack, family=Family.MULTICAST, claim="C10")
ATTACKS = (
    _MULTICAST(
        name="join",
        reference="RFC 9777, 4607",
        tries="the host's own kernel joins the infrastructure's groups while the origin sends to them",
        frames=_reports,
        may_reach=TO_SERVICE,
        because="edges are members of the static group",
        joins=_INFRASTRUCTURE_GROUPS,
        heard=_from_origin,
    ),
    _MULTICAST(
        name="mld-reports",
        reference="RFC 9777 10",
        tries="forged reports of MLDv2 and MLDv1 for groups of every scope",
        frames=_reports,
    ),
    _MULTICAST(
        name="mld-as-edge",
        reference="RFC 9777 10",
        tries="forged reports in the name of edges",
        frames=_join_as_edge,
    ),
    _MULTICAST(
        name="mld-leave",
        reference="RFC 9777 10",
        tries="the edges leave the static group, says the attacker",
        frames=_for_others,
    ),
    _MULTICAST(
        name="mld-querier",
        reference="RFC 9777 10.1",
        tries="queries of a querier with a lower address",
        frames=_querier,
    ),
    _MULTICAST(
        name="mld-routed",
        reference="RFC 4890 4.3.3",
        tries="MLD addressed to hosts behind routers",
        frames=_mld_routed,
        tracked=CtState.INVALID,
    ),
    _MULTICAST(
        name="sg-injection",
        reference="RFC 4609, 4607 7.2",
        tries="packets into (S,G) of the static content with S spoofed",
        frames=_injected,
    ),
    _MULTICAST(
        name="sg-injection-all",
        reference="RFC 4609, 7346",
        tries="packets of origin and edges to groups of every scope",
        frames=_injected_everywhere,
    ),
    _MULTICAST(
        name="group-sender",
        reference="RFC 4609, 4007",
        tries="the attacker sends to groups of every scope as itself",
        frames=_sent,
    ),
)
