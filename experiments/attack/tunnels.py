"""Tunnelled traffic, and what is not IPv6 or not as Ethernet has it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from controller.wire.frames import ETH_TYPE_IPV6
from experiments.attack.frames import frame, ipv6, tcp, udp
from experiments.attack.model import PUBLIC, TO_DNS, TO_SERVICE, Attack, Attacker, Family, Mark

_ESP, _L2TP, _ETHERIP = 50, 115, 97
_UDP_TUNNELS = (500, 1701, 2152, 3544, 4500, 4754, 4789, 5072, 6081, 6635, 51820)
"""IKE, L2TP, GTP, Teredo, ESP in UDP, GRE in UDP, VXLAN, AYIYA, Geneve, MPLS in UDP, WireGuard."""
_BROADCAST = "ff:ff:ff:ff:ff:ff"
_CONTROL_MACS = ("01:80:c2:00:00:00", "01:80:c2:00:00:03", "01:80:c2:00:00:0e", "01:00:0c:cc:cc:cc")
_NO_IPV6 = (0x0842, 0x8035, 0x8808, 0x8847, 0x8863, 0x8864, 0x888E, 0x88CC, 0x88E5, 0x88F7, 0x22F3, 0x893F)
"""Wake-on-LAN, RARP, pause, MPLS, PPPoE, EAPOL, LLDP, MACsec, PTP, TRILL, 802.1BR."""


def _inner(a: Attacker, mark: bytes, source: IPv6Address | None = None) -> Any:
    """What the tunnel would carry: a request to the origin, as one of the plane."""
    sender = a.edges[0].address if source is None else source
    return ipv6(a, a.origin.address, src=sender) / tcp(mark, 8080)


def _ways(a: Attacker, *, is_public: bool) -> tuple[IPv6Address, ...]:
    if is_public:
        return a.service, a.dns.address
    return a.origin.address, a.edges[0].address, a.victim.address, a.routers[0]


def _in_ipv6(a: Attacker, mark: Mark, *, is_public: bool) -> Iterator[bytes]:
    """IPv6 (RFC 2473), IPv4, GRE (RFC 7676) and Ethernet in IPv6."""
    for way in _ways(a, is_public=is_public):
        for source in (a.edges[0].address, a.me.address):
            yield frame(a, ipv6(a, way) / _inner(a, mark(), source))
        yield frame(a, ipv6(a, way) / IP(src="192.0.2.1", dst="192.0.2.2") / udp(mark()))
        yield frame(a, ipv6(a, way) / GRE(proto=ETH_TYPE_IPV6) / _inner(a, mark()))
        inner = bytes(Ether(src=a.edges[0].mac, dst=a.origin.mac) / _inner(a, mark()))
        yield frame(a, ipv6(a, way, nh=_ETHERIP) / (b"\x30\x00" + inner))


def _encrypted(a: Attacker, mark: Mark, *, is_public: bool) -> Iterator[bytes]:
    """ESP, ESP in UDP (RFC 3948) and L2TPv3."""
    for way in _ways(a, is_public=is_public):
        esp = struct.pack("!II", 0x6E63_6174, 1) + mark() + bytes(_inner(a, mark()))
        yield frame(a, ipv6(a, way, nh=_ESP) / esp)
        yield frame(a, ipv6(a, way) / udp(esp, 4500, 4500))
        yield frame(a, ipv6(a, way, nh=_L2TP) / (struct.pack("!I", 1) + mark()))


def _in_udp(a: Attacker, mark: Mark, *, is_public: bool) -> Iterator[bytes]:
    for way in _ways(a, is_public=is_public):
        for port in _UDP_TUNNELS:
            inner = mark() + bytes(Ether(src=a.edges[0].mac, dst=a.origin.mac) / _inner(a, mark()))
            yield frame(a, ipv6(a, way) / udp(inner, port, port))


def _in_ipv4(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """6in4, 6to4 and Teredo on a network without IPv4."""
    for target in ("192.88.99.1", "255.255.255.255", "224.0.0.1", "192.0.2.1"):
        for to in (a.gateway_mac, _BROADCAST):
            outer = Ether(src=a.me.mac, dst=to) / IP(src="192.0.2.9", dst=target)
            yield bytes(outer / _inner(a, mark()))
            yield bytes(outer / udp(mark() + bytes(_inner(a, mark())), 3544))


def _tags(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """The tags by which switches lead a connection to its edge, and others."""
    for tag in (0, *range(1, len(a.edges) + 2), 4094, 4095):
        for target in (a.service, a.origin.address):
            header = Ether(src=a.me.mac, dst=a.gateway_mac) / Dot1Q(vlan=tag, prio=7)
            yield bytes(header / ipv6(a, target) / udp(mark()))


def _tags_of_tags(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target in (a.service, a.origin.address, a.victim.address):
        for outer in (Dot1Q, Dot1AD):
            ether = Ether(src=a.me.mac, dst=a.gateway_mac)
            yield bytes(ether / outer(vlan=1) / Dot1Q(vlan=2) / ipv6(a, target) / udp(mark()))
            yield bytes(ether / outer(vlan=1) / outer(vlan=2) / Dot1Q(vlan=3) / ipv6(a, target) / udp(mark()))
        yield bytes(Ether(src=a.me.mac, dst=a.gateway_mac) / Dot1AD(vlan=1) / ipv6(a, target) / udp(mark()))


def _destinations(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """IPv6 past the router: to the Ethernet addresses of other routers and hosts, to groups, to everybody."""
    macs = (*a.router_macs[1:], a.origin.mac, *(node.mac for node in (*a.edges, *a.users[:4])))
    for mac in (*macs, _BROADCAST, "33:33:00:00:00:01", "01:00:5e:00:00:01"):
        for target in (a.service, a.origin.address, a.victim.address, a.victim.link_local):
            yield frame(a, ipv6(a, target) / udp(mark()), to=mac)


def _sources(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Its own addresses behind the Ethernet addresses of others."""
    for mac in (
        *a.router_macs[:2],
        a.origin.mac,
        a.edges[0].mac,
        a.victim.mac,
        _BROADCAST,
        "00:00:00:00:00:00",
    ):
        for target in (a.origin.address, a.victim.address):
            yield frame(a, ipv6(a, target) / udp(mark()), by=mac)


def _arp(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for operation in (1, 2):
        arp = ARP(op=operation, hwsrc=a.me.mac, psrc="192.0.2.1", pdst="192.0.2.2")
        yield bytes(Ether(src=a.me.mac, dst=_BROADCAST) / arp / Raw(mark()))
        yield bytes(Ether(src=a.me.mac, dst=a.victim.mac) / arp / Raw(mark()))


def _link_control(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Spanning tree, pause, LLDP, discovery protocols, and IPv6 under the names of others."""
    for mac in _CONTROL_MACS:
        yield bytes(Dot3(src=a.me.mac, dst=mac) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP() / Raw(mark()))
        for kind in _NO_IPV6:
            yield bytes(Ether(src=a.me.mac, dst=mac, type=kind) / Raw(mark() + bytes(_inner(a, mark()))))
    for kind in _NO_IPV6:
        inner = bytes(ipv6(a, a.origin.address) / udp(mark()))
        yield bytes(Ether(src=a.me.mac, dst=a.gateway_mac, type=kind) / Raw(mark() + inner))
    yield bytes(Ether(src=a.me.mac, dst=a.gateway_mac, type=0x0800) / IPv6(dst=str(a.service)) / Raw(mark()))


def _snap(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """IPv6 in IEEE 802.2 frames, which Open vSwitch takes for IPv6."""
    for target in (a.origin.address, a.edges[0].address, a.victim.address):
        for source in (a.me.address, a.edges[0].address):
            packet = ipv6(a, target, src=source) / udp(mark())
            snap = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=ETH_TYPE_IPV6)
            yield bytes(Dot3(src=a.me.mac, dst=a.gateway_mac) / snap / packet)


_TUNNEL = partial(Attack, family=Family.TUNNEL, claim="C8")
_LINK = partial(Attack, family=Family.LINK, claim="C8")
_BOTH = TO_SERVICE | TO_DNS
ATTACKS = (
    _TUNNEL(
        name="ip-in-ip",
        reference="RFC 2473, 7676",
        tries="IPv6, IPv4, GRE and Ethernet in IPv6 to service and name server, inside to the origin",
        frames=partial(_in_ipv6, is_public=True),
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _TUNNEL(
        name="ip-in-ip-hidden",
        reference="RFC 2473, 7676",
        tries="the same tunnels to origin, edge, user and router",
        frames=partial(_in_ipv6, is_public=False),
    ),
    _TUNNEL(
        name="esp",
        reference="RFC 4303, 3948",
        tries="ESP, ESP in UDP and L2TPv3 to service and name server",
        frames=partial(_encrypted, is_public=True),
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _TUNNEL(
        name="esp-hidden",
        reference="RFC 4303, 3948",
        tries="ESP, ESP in UDP and L2TPv3 to origin, edge, user and router",
        frames=partial(_encrypted, is_public=False),
    ),
    _TUNNEL(
        name="in-udp",
        reference="RFC 7348, 8926, 4380",
        tries="VXLAN, Geneve, Teredo, GTP, WireGuard and other tunnels in UDP to service and name server",
        frames=partial(_in_udp, is_public=True),
        may_reach=_BOTH,
        because=PUBLIC,
    ),
    _TUNNEL(
        name="in-udp-hidden",
        reference="RFC 7348, 8926, 4380",
        tries="the same tunnels in UDP to origin, edge, user and router",
        frames=partial(_in_udp, is_public=False),
    ),
    _TUNNEL(
        name="in-ipv4",
        reference="RFC 4213, 3056, 6169",
        tries="6in4, 6to4 and Teredo in IPv4",
        frames=_in_ipv4,
    ),
    _LINK(
        name="vlan-tags",
        reference="IEEE 802.1Q",
        tries="frames tagged for each edge, as switches tag them",
        frames=_tags,
    ),
    _LINK(
        name="vlan-stacks",
        reference="IEEE 802.1ad",
        tries="frames with several VLAN tags",
        frames=_tags_of_tags,
    ),
    _LINK(
        name="past-the-router",
        claim="C9",
        reference="RFC 4861 7.2",
        tries="IPv6 in frames to the MACs of other routers and hosts, to groups and to everybody",
        frames=_destinations,
    ),
    _LINK(
        name="mac-spoofing",
        claim="C9",
        reference="RFC 7039",
        tries="its own address behind other MACs",
        frames=_sources,
    ),
    _LINK(
        name="arp",
        claim="C9",
        reference="RFC 826",
        tries="ARP requests and answers",
        frames=_arp,
    ),
    _LINK(
        name="link-control",
        claim="C9",
        reference="IEEE 802.1D, 802.1AB",
        tries="spanning tree, pause, LLDP, EAPOL, MPLS and PPPoE, with IPv6 inside",
        frames=_link_control,
    ),
    _LINK(
        name="snap",
        reference="IEEE 802.2, RFC 1042",
        tries="IPv6 in IEEE 802.2 frames",
        frames=_snap,
    ),
)
