"""Scans: every infrastructure prefix, every router, every other user."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address, IPv6Network

from experiments.attack.frames import echo, frame, ipv6, knocks, random_address, tcp, udp
from experiments.attack.model import PUBLIC, TO_DNS, TO_SERVICE, Attack, Attacker, Family, Mark
from topologies.addressing import DNS_PREFIX, GATEWAY
from topologies.heartbeat import HEARTBEAT_PORT

_TCP_PORTS = (22, 80, 443, 6640, 6653, 8080, 8081)
_UDP_PORTS = (53, 4001, 5351, HEARTBEAT_PORT)
_SWEPT = 200
_SERVICE_PREFIX_BITS = 48
_MARTIANS = (
    *("::", "::1", "::ffff:192.0.2.1", "::192.0.2.1", "64:ff9b::c000:201", "100::1", "2002:c000:201::1"),
    *("3fff::1", "5f00::1", "fc00::1", "fe80::1:2", "fec0::1", "2001:db8::", "2001::1"),
)
"""Unspecified, loopback, mapped, compatible, NAT64, discard-only, 6to4, documentation, SRv6 SIDs, other ULA,
link-local, site-local, the networks around, Teredo (RFC 6890)."""


def _origin(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, [a.origin.address], _TCP_PORTS, _UDP_PORTS)


def _edges(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, [edge.address for edge in a.edges], _TCP_PORTS, _UDP_PORTS)


def _plane(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("plane")
    for subnet in range(_SWEPT // 2):
        low = IPv6Address(int(a.infrastructure.network_address) | subnet << 64 | 1)
        for target in (low, random_address(chance, a.infrastructure)):
            yield frame(a, ipv6(a, target) / echo(mark()))


def _service_prefix(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("service-prefix")
    prefix = IPv6Network((int(a.service), _SERVICE_PREFIX_BITS), strict=False)
    near = [a.service + step for step in (-1, 1, 2, 0xFF)]
    for target in (*near, *(random_address(chance, prefix) for _ in range(_SWEPT // 8))):
        yield frame(a, ipv6(a, target) / tcp(mark(), 80))


def _service_ports(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, [a.service], [port for port in _TCP_PORTS if port != 80], _UDP_PORTS)


def _name_server(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, [a.dns.address], _TCP_PORTS, [port for port in _UDP_PORTS if port != 53])


def _around_name_server(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("dns-prefix")
    known = [DNS_PREFIX[number] for number in range(128) if DNS_PREFIX[number] != a.dns.address]
    for target in (*known, *(random_address(chance, DNS_PREFIX) for _ in range(32))):
        yield frame(a, ipv6(a, target) / udp(mark(), 53))


def _routers(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, a.routers, (22, 6653), (5351,))


def _other_gateways(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Link-local addresses of routers, in frames to the Ethernet address of each of them."""
    for mac in a.router_macs[1:]:
        for target in (GATEWAY, IPv6Address("fe80::"), IPv6Address("fe80::2")):
            for source in (a.me.link_local, a.me.address):
                yield frame(a, ipv6(a, target, src=source, hop_limit=255) / echo(mark()), to=mac)


def _gateway_ports(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for source in (a.me.link_local, a.me.address):
        for port in (22, 179, 6633, 6640, 6653, 8080, 9100):
            yield frame(a, ipv6(a, GATEWAY, src=source) / tcp(mark(), port))
        for port in (161, 500, 4789, 6653):
            yield frame(a, ipv6(a, GATEWAY, src=source) / udp(mark(), port))


def _users(a: Attacker, mark: Mark) -> Iterator[bytes]:
    yield from knocks(a, mark, [user.address for user in a.users], (22, 80, 8080), (53, 5353))


def _user_prefixes(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("user-prefixes")
    for prefix in a.user_prefixes.values():
        for target in (prefix[0], prefix[1], *(random_address(chance, prefix) for _ in range(16))):
            yield frame(a, ipv6(a, target) / echo(mark()))


def _users_by_name(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for user in a.users:
        for flags in ("A", "R", "F", "SA", "FPU", ""):
            yield frame(a, ipv6(a, user.address) / tcp(mark(), 80, flags))


def _martians(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for target in _MARTIANS:
        yield frame(a, ipv6(a, target) / udp(mark()))


def _syn_to(a: Attacker, mark: Mark, *, port: int, to_edges: bool) -> Iterator[bytes]:
    targets = [edge.address for edge in a.edges] if to_edges else [a.origin.address]
    for target in targets:
        yield frame(a, ipv6(a, target) / tcp(mark(), port))


def _origin_urls(a: Attacker) -> tuple[str, ...]:
    return tuple(f"http://[{a.origin.address}]:8080/{path}" for path in ("manifest", "blobs/0"))


def _edge_urls(a: Attacker) -> tuple[str, ...]:
    return tuple(f"http://[{edge.address}]:8081/status" for edge in a.edges)


_SCAN = partial(Attack, family=Family.SCAN)
ATTACKS = (
    _SCAN(
        name="origin-ports",
        claim="C8",
        reference="RFC 4193, 7707",
        tries="echo requests, TCP and UDP to the origin's own address",
        frames=_origin,
    ),
    _SCAN(
        name="origin-curl",
        claim="C8",
        reference="RFC 9110",
        tries="curl asks the origin for its manifest and a blob",
        frames=partial(_syn_to, port=8080, to_edges=False),
        urls=_origin_urls,
    ),
    _SCAN(
        name="edge-ports",
        claim="C8",
        reference="RFC 4193, 7707",
        tries="echo requests, TCP and UDP to the edges' own addresses",
        frames=_edges,
    ),
    _SCAN(
        name="edge-curl",
        claim="C8",
        reference="RFC 9110",
        tries="curl asks the edges' sync interface for their status",
        frames=partial(_syn_to, port=8081, to_edges=True),
        urls=_edge_urls,
    ),
    _SCAN(
        name="ula-sweep",
        claim="C8",
        reference="RFC 7707",
        tries="echo requests all over the ULA plane",
        frames=_plane,
    ),
    _SCAN(
        name="service-prefix",
        claim="C8",
        reference="RFC 7707",
        tries="TCP to other addresses of the service's prefix",
        frames=_service_prefix,
    ),
    _SCAN(
        name="service-ports",
        claim="C8",
        reference="RFC 7707",
        tries="the ports of sync, control and stream at the service address",
        frames=_service_ports,
        may_reach=TO_SERVICE,
        because=PUBLIC,
    ),
    _SCAN(
        name="dns-ports",
        claim="C8",
        reference="RFC 7707",
        tries="ports of the name server that are not DNS",
        frames=_name_server,
        may_reach=TO_DNS,
        because=PUBLIC,
    ),
    _SCAN(
        name="dns-prefix",
        claim="C8",
        reference="RFC 7707",
        tries="UDP to the addresses around the name server",
        frames=_around_name_server,
    ),
    _SCAN(
        name="martians",
        claim="C8",
        reference="RFC 6890",
        tries="destinations that must not be on any wire, or that lead out of the network",
        frames=_martians,
    ),
    _SCAN(
        name="router-addresses",
        claim="C11",
        reference="RFC 7404",
        tries="echo requests, SSH, OpenFlow and PCP to every address a router might have",
        frames=_routers,
    ),
    _SCAN(
        name="other-gateways",
        claim="C11",
        reference="RFC 7404",
        tries="echo requests to link-local addresses of routers, in frames to each router's MAC",
        frames=_other_gateways,
    ),
    _SCAN(
        name="gateway-ports",
        claim="C11",
        reference="RFC 6192",
        tries="SSH, BGP, OpenFlow, OVSDB and metrics at the own gateway",
        frames=_gateway_ports,
    ),
    _SCAN(
        name="user-ports",
        claim="C9",
        reference="RFC 6092",
        tries="echo requests, TCP and UDP to every other user",
        frames=_users,
    ),
    _SCAN(
        name="user-flags",
        claim="C9",
        reference="RFC 6092",
        tries="TCP ACK, RST, FIN, SYN-ACK, Xmas and null segments to every other user",
        frames=_users_by_name,
    ),
    _SCAN(
        name="user-prefixes",
        claim="C9",
        reference="RFC 6583",
        tries="echo requests to unused addresses of every access prefix",
        frames=_user_prefixes,
    ),
)
