"""The control plane's own protocols, and floods of everything that a router must look at."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import IPv6Address

from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)

from controller.plan.rules import CtState
from controller.verify.packet import ETHERNET_BYTES, TCP
from controller.wire.frames import IPV6_LENGTH, UDP, mac_text
from controller.wire.nd import solicited_node
from controller.wire.pcp import NONCE_BYTES, PCP_PORT, MapRequest, encode_request
from experiments.attack.frames import DISCARD, echo, frame, ipv6, marked_option, random_address, tcp, udp
from experiments.attack.model import (
    FLOOD_FRAMES,
    MARK_BYTES,
    TO_SERVICE,
    Attack,
    Attacker,
    Family,
    Mark,
    flood,
)
from topologies.addressing import GATEWAY
from topologies.heartbeat import HEARTBEAT_PORT, EdgeState, Heartbeat, encode_heartbeat

_DISTINCT = 128
_KNOCKED_PORT = 8080
_NONCE = b"nearcast".ljust(NONCE_BYTES, b"\0")
_LIFETIME_S = 600
_THIRD_PARTY = 1
_LARGE_BYTES = 900
_LARGEST_IN_MARKS = (1280 - IPV6_LENGTH - 8) // MARK_BYTES
_UNUSED_PORTS = (DISCARD, 19)


def _heartbeats(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """`I am overloaded`, `I am about to end`, in the name of every edge."""
    for edge in a.edges:
        for state in (EdgeState.SERVING, EdgeState.OVERLOADED, EdgeState.STOPPING):
            for source in (edge.address, a.me.address):
                for mac in (a.me.mac, edge.mac):
                    beat = encode_heartbeat(Heartbeat(state, 100, 0xFFFF_FFF0))
                    header = ipv6(a, GATEWAY, src=source, hop_limit=255)
                    yield frame(a, header / udp(beat, HEARTBEAT_PORT, HEARTBEAT_PORT), by=mac)


def _opened(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Ask the gateway to open ports of others, as itself and as they; then knock there."""
    own = encode_request(MapRequest(a.me.address, _NONCE, TCP, _KNOCKED_PORT, _LIFETIME_S))
    for user in a.users:
        theirs = encode_request(MapRequest(user.address, _NONCE, TCP, _KNOCKED_PORT, _LIFETIME_S))
        third_party = own + struct.pack("!BxH", _THIRD_PARTY, 16) + user.address.packed
        for source, mac in ((a.me.address, a.me.mac), (user.address, a.me.mac), (user.address, user.mac)):
            for payload in (theirs, third_party):
                yield frame(a, ipv6(a, GATEWAY, src=source) / udp(payload, PCP_PORT), by=mac)
        yield frame(a, ipv6(a, user.address) / tcp(mark(), _KNOCKED_PORT))


def _numbers(a: Attacker, name: str) -> Iterator[IPv6Address]:
    chance = a.chance(name)
    return (random_address(chance, a.prefix) for _ in range(_DISTINCT))


def _solicitations(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for address in _numbers(a, "flood-ns"):
        header = ipv6(a, solicited_node(address), src=a.me.link_local, hop_limit=255)
        yield frame(a, header / ICMPv6ND_NS(tgt=str(address)) / marked_option(mark()))


def _advertisements(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for address in _numbers(a, "flood-na"):
        message = ICMPv6ND_NA(R=0, O=1, tgt=str(address)) / marked_option(mark())
        yield frame(a, ipv6(a, "ff02::1", src=address, hop_limit=255) / message)


def _router_messages(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for address in _numbers(a, "flood-rs"):
        for target, message in (("ff02::2", ICMPv6ND_RS()), ("ff02::1", ICMPv6ND_RA(routerlifetime=9))):
            header = ipv6(
                a, target, src=IPv6Address(0xFE80 << 112 | int(address) & 0xFFFF_FFFF), hop_limit=255
            )
            yield frame(a, header / message / marked_option(mark()))


def _reports(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("flood-mld")
    for _ in range(_DISTINCT):
        group = IPv6Address(0xFF3E << 112 | 0x8000_0000 | chance.getrandbits(31))
        record = ICMPv6MLDMultAddrRec(
            rtype=5, dst=str(group), sources=[str(a.origin.address)], auxdata=mark()
        )
        header = ipv6(a, "ff02::16", src=a.me.link_local, hop_limit=1)
        alert = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])
        yield frame(a, header / alert / ICMPv6MLReport2(records=[record]))


def _claims(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for source in _numbers(a, "flood-claims"):
        yield frame(a, ipv6(a, a.origin.address, src=source) / udp(mark()))


def _forbidden(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("flood-forbidden")
    for _ in range(_DISTINCT):
        yield frame(a, ipv6(a, random_address(chance, a.infrastructure)) / udp(mark()))


def _exhausted(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for port in range(_DISTINCT):
        yield frame(a, ipv6(a, a.service, hop_limit=1) / udp(mark(), 33434 + port))


def _echoes(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for _ in range(_DISTINCT):
        yield frame(a, ipv6(a, GATEWAY, src=a.me.link_local, hop_limit=255) / echo(mark()))


def _nobody(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for address in _numbers(a, "flood-nobody"):
        yield frame(a, ipv6(a, address) / udp(mark()))


def _others(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for number in range(_DISTINCT):
        user = a.users[number % len(a.users)]
        yield frame(a, ipv6(a, user.address) / udp(mark(), 1024 + number))


def _alerts(a: Attacker, mark: Mark) -> Iterator[bytes]:
    for _ in range(_DISTINCT):
        header = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=mark())])
        yield frame(a, ipv6(a, a.service) / header / udp(mark()))


def _unended(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """First fragments whose others never come, each of a packet of its own and as large as every link takes,
    to fill the memory for reassembly."""
    header = IPv6ExtHdrFragment(nh=UDP, id=0, offset=0, m=1)
    data = frame(a, ipv6(a, a.service) / header / (mark() * _LARGEST_IN_MARKS))
    at = ETHERNET_BYTES + IPV6_LENGTH + 4
    for number in range(FLOOD_FRAMES):
        yield data[:at] + struct.pack("!I", number) + data[at + 4 :]


def _connections(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """Every datagram a connection of its own, to fill the connection tracking."""
    for port in _UNUSED_PORTS:
        yield from _from_ports(
            frame(a, ipv6(a, a.service) / udp(mark() + b"\0\0", port)), range(1024, 0x10000)
        )


def _from_ports(data: bytes, ports: Iterable[int]) -> Iterator[bytes]:
    """A frame from other source ports. Its payload ends with a word that takes away what a port adds to the
    checksum."""
    at = ETHERNET_BYTES + IPV6_LENGTH
    first = int.from_bytes(data[at : at + 2])
    for port in ports:
        word = (first - port) % 0xFFFF
        yield data[:at] + struct.pack("!H", port) + data[at + 2 : -2] + struct.pack("!H", word)


def _macs(a: Attacker, mark: Mark) -> Iterator[bytes]:
    chance = a.chance("flood-macs")
    for _ in range(_DISTINCT):
        mac = mac_text(b"\x02" + chance.randbytes(5))
        yield frame(a, ipv6(a, a.origin.address) / udp(mark()), by=mac)


def _requests(a: Attacker, mark: Mark) -> Iterator[bytes]:
    data = frame(a, ipv6(a, a.service) / udp(mark() + bytes(_LARGE_BYTES), 80))
    yield from _from_ports(data, range(20000, 20000 + _DISTINCT))


def _syns(a: Attacker, mark: Mark) -> Iterator[bytes]:
    """From an address that nobody resets the answers of, so that every connection stays half open."""
    source = a.prefix[0x6E63]
    yield frame(a, ipv6(a, a.service, src=source) / udp(mark()))
    data = frame(a, ipv6(a, a.service, src=source) / tcp(mark() + b"\0\0", 80))
    yield from _from_ports(data, range(1024, 1024 + FLOOD_FRAMES))


_CONTROL = partial(Attack, family=Family.CONTROL, claim="C9")
ATTACKS = (
    _CONTROL(
        name="heartbeats",
        reference="RFC 4861, decision 13",
        tries="forged heartbeats: every edge is overloaded, or about to end",
        frames=_heartbeats,
    ),
    _CONTROL(
        name="pcp-others",
        reference="RFC 6887 13.1, 18",
        tries="ports of other users opened in their name and as a third party, then knocked at",
        frames=_opened,
    ),
    flood(
        "flood-service",
        "C9",
        "RFC 4732",
        "UDP to the service at most of the line's rate",
        _requests,
        may_reach=TO_SERVICE,
    ),
    flood(
        "flood-syn",
        "C9",
        "RFC 4987",
        "SYNs to the service that nobody will answer for",
        _syns,
        may_reach=TO_SERVICE,
    ),
    flood(
        "flood-connections",
        "C9",
        "RFC 6092 REC-14, 4732",
        "a connection for every datagram to the service",
        _connections,
        may_reach=TO_SERVICE,
    ),
    flood("flood-ns", "C9", "RFC 6583", "neighbour solicitations for random addresses", _solicitations),
    flood(
        "flood-na", "C9", "RFC 6583, 6620", "neighbour advertisements of random addresses", _advertisements
    ),
    flood("flood-rs-ra", "C9", "RFC 6104", "router solicitations and advertisements", _router_messages),
    flood("flood-mld", "C10", "RFC 9777 10", "reports for random groups", _reports),
    flood("flood-echo", "C11", "RFC 4443 2.4", "echo requests to the gateway", _echoes),
    flood("flood-hops", "C11", "RFC 4443 2.4", "packets whose hop limit ends at the gateway", _exhausted),
    flood("flood-hidden", "C8", "RFC 4443 2.4", "packets to the ULA plane", _forbidden),
    flood("flood-nobody", "C9", "RFC 6583", "packets to unused addresses of the own prefix", _nobody),
    flood("flood-users", "C9", "RFC 6092", "packets to other users", _others),
    flood("flood-macs", "C9", "RFC 7039", "packets from random MACs", _macs),
    flood(
        "flood-fragments",
        "C9",
        "RFC 8900 3.7",
        "first fragments whose others never come",
        _unended,
        tracked=CtState.INVALID,
    ),
    flood(
        "flood-alerts",
        "C9",
        "RFC 6398, 9673",
        "router alerts to the service",
        _alerts,
        may_reach=TO_SERVICE,
    ),
    flood("flood-claims", "C9", "RFC 6583, 6620", "packets from random addresses of the own prefix", _claims),
)
