"""Frames made with scapy: the few forms that most attacks are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from random import Random
from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6NDOptUnknown, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from controller.wire.frames import multicast_mac
from experiments.attack.model import MARK_BYTES, Attacker

Address = IPv6Address | str
CLIENT_PORT = 40000
DISCARD = 9
_EXPERIMENTAL_OPTION = 253
_ND_OPTION_UNIT = 8


def frame(a: Attacker, packet: Any, *, to: str | None = None, by: str | None = None) -> bytes:
    """The bytes of a packet to the attacker's gateway, or to the Ethernet address of its group; `to` and
    `by` are other Ethernet addresses."""
    if to is None:
        destination = IPv6Address(packet[IPv6].dst)
        to = multicast_mac(destination) if destination.is_multicast else a.gateway_mac
    return bytes(Ether(dst=to, src=by or a.me.mac) / packet)


def ipv6(a: Attacker, dst: Address, *, src: Address | None = None, hop_limit: int = 64, **fields: Any) -> Any:
    """An IPv6 header from the attacker's own address, or from another."""
    return IPv6(src=str(a.me.address if src is None else src), dst=str(dst), hlim=hop_limit, **fields)


def udp(payload: bytes, port: int = DISCARD, source_port: int = CLIENT_PORT) -> Any:
    """A UDP datagram."""
    return UDP(sport=source_port, dport=port) / Raw(payload)


def tcp(payload: bytes, port: int, flags: str = "S", source_port: int = CLIENT_PORT) -> Any:
    """A TCP segment; with data even where it is a SYN."""
    return TCP(sport=source_port, dport=port, flags=flags, seq=0x6E63) / Raw(payload)


def echo(payload: bytes) -> Any:
    """An echo request."""
    return ICMPv6EchoRequest(id=0x6E63, seq=1, data=payload)


def marked_option(mark: bytes) -> Any:
    """A mark as an option of Neighbor Discovery that everyone skips (RFC 4861 section 4.6)."""
    units = -(-(2 + MARK_BYTES) // _ND_OPTION_UNIT)
    data = mark.ljust(units * _ND_OPTION_UNIT - 2, b"\0")
    return ICMPv6NDOptUnknown(type=_EXPERIMENTAL_OPTION, len=units, data=data)


def knocks(
    a: Attacker, mark: Any, targets: Iterable[Address], tcp_ports: Iterable[int], udp_ports: Iterable[int]
) -> Iterator[bytes]:
    """An echo request to each target, and a knock at each of its ports."""
    tcp_ports, udp_ports = tuple(tcp_ports), tuple(udp_ports)
    for target in targets:
        yield frame(a, ipv6(a, target) / echo(mark()))
        for port in tcp_ports:
            yield frame(a, ipv6(a, target) / tcp(mark(), port))
        for port in udp_ports:
            yield frame(a, ipv6(a, target) / udp(mark(), port))


def random_address(chance: Random, network: Any) -> IPv6Address:
    """An address of a network."""
    return IPv6Address(int(network.network_address) | chance.getrandbits(128 - network.prefixlen))
