"""A question in the words of people (`user3`, `service`, port 80) as a walk there and, when one host was
reached, the walk of its answer back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from controller.plan.anycast import edge_tag
from controller.plan.facts import Facts, port_id
from controller.plan.rules import CtState, Tables
from controller.verify.network import Network
from controller.verify.packet import ETHERNET_BYTES, TCP, Packet
from controller.verify.results import Walk
from controller.verify.walk import ESTABLISHED, NEW, always, walk
from controller.wire.frames import ICMPV6, UDP, multicast_mac
from controller.wire.icmpv6 import IcmpType
from topologies.spec import Role

PROTOCOLS: Mapping[str, int] = {"tcp": TCP, "udp": UDP, "icmp": ICMPV6}
SERVICE = "service"
_CLIENT_PORT = 49152
_ANSWER_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Question:
    """What to trace: a packet of `size_bytes` (IPv6 header included) from a host to a host, `service` or an
    address. `protocol` is one of PROTOCOLS, `icmp` being an echo request; `began_at` names the edge at which
    the packet's connection began, None when it is the first one of its connection."""

    source: str
    target: str
    protocol: str = "tcp"
    port: int = 80
    size_bytes: int = 100
    hop_limit: int = 64
    began_at: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The packet that was sent, its walk, and the walk of the answer where there is one."""

    packet: Packet
    there: Walk
    back: Walk | None


def trace(facts: Facts, tables: Mapping[str, Tables], question: Question) -> Trace:
    """Follow a packet and its answer. Raises ValueError, in words for people, when the question names
    something that is not there."""
    network = Network(facts.topology, tables, facts.down_ports)
    packet = packet_of(facts, question)
    connections = NEW
    if question.began_at is not None:
        if question.began_at not in facts.topology.of_role(Role.EDGE):
            raise ValueError(f"{question.began_at!r} is no edge of the topology {facts.topology.name}")
        connections = always(CtState.ESTABLISHED, edge_tag(facts, question.began_at))
    port = facts.topology.access_port(question.source)
    there = walk(network, packet, port_id(port), connections)
    back = None
    if len(there.delivered) == 1 and not packet.dst.is_multicast:
        (arrived,) = there.delivered
        answering = facts.topology.access_port(arrived.where)
        back = walk(network, answer_to(facts, arrived.where, arrived.packet), port_id(answering), ESTABLISHED)
    return Trace(packet, there, back)


def packet_of(facts: Facts, question: Question) -> Packet:
    """The packet as it leaves its host, to the gateway or to a group. Raises ValueError."""
    topology, source = facts.topology, question.source
    if source not in topology.hosts:
        raise ValueError(f"{source!r} is no host of the topology {topology.name}")
    if question.protocol not in PROTOCOLS:
        raise ValueError(f"{question.protocol!r} is no protocol to trace; there are {', '.join(PROTOCOLS)}")
    for value, least, most, what in (
        (question.port, 0, 0xFFFF, "port"),
        (question.size_bytes, 48, 0xFFFF + 40, "size in bytes"),
        (question.hop_limit, 0, 0xFF, "hop limit"),
    ):
        if not least <= value <= most:
            raise ValueError(f"{value} is no {what}; expected {least} to {most}")
    dst = _address(facts, question.target)
    is_echo = question.protocol == "icmp"
    router_mac = facts.addresses.router_macs[topology.access_port(source).node]
    return Packet(
        eth_src=_mac(facts, source),
        eth_dst=multicast_mac(dst) if dst.is_multicast else router_mac,
        src=_own_address(facts, source, towards_users=_is_users(facts, dst)),
        dst=dst,
        ip_proto=PROTOCOLS[question.protocol],
        port_src=None if is_echo else _CLIENT_PORT,
        port_dst=None if is_echo else question.port,
        icmpv6_type=IcmpType.ECHO_REQUEST if is_echo else None,
        hop_limit=question.hop_limit,
        frame_bytes=question.size_bytes + ETHERNET_BYTES,
    )


def answer_to(facts: Facts, host: str, packet: Packet) -> Packet:
    """What the host that a packet has reached sends back, as large as the packet itself."""
    is_echo = packet.icmpv6_type is not None
    return Packet(
        eth_src=_mac(facts, host),
        eth_dst=facts.addresses.router_macs[facts.topology.access_port(host).node],
        src=packet.dst,
        dst=packet.src,
        ip_proto=packet.ip_proto,
        port_src=packet.port_dst,
        port_dst=packet.port_src,
        icmpv6_type=IcmpType.ECHO_REPLY if is_echo else None,
        hop_limit=_ANSWER_HOP_LIMIT,
        frame_bytes=packet.frame_bytes,
    )


def _address(facts: Facts, target: str) -> IPv6Address:
    if target in (SERVICE, facts.topology.service.name):
        return facts.addresses.service
    if target in facts.topology.hosts:
        return _own_address(facts, target)
    try:
        return IPv6Address(target)
    except AddressValueError:
        raise ValueError(
            f"{target!r} is no host of the topology {facts.topology.name}, no IPv6 address and not "
            f'"{SERVICE}"'
        ) from None


def _own_address(facts: Facts, host: str, *, towards_users: bool = False) -> IPv6Address:
    """The address a host uses; servers of the service answer users from the service address."""
    if facts.topology.role(host) is Role.USER:
        place = port_id(facts.topology.access_port(host))
        bound = [binding.address for binding in facts.bindings if binding.port == place]
        if not bound:
            raise ValueError(f"{host} has no address yet")
        return bound[0]
    if towards_users and facts.topology.role(host) is Role.EDGE:
        return facts.addresses.service
    return facts.addresses.hosts[host].unicast


def _mac(facts: Facts, host: str) -> str:
    place = port_id(facts.topology.access_port(host))
    bound = (binding.mac for binding in facts.bindings if binding.port == place)
    return next(bound, facts.addresses.hosts[host].mac)


def _is_users(facts: Facts, address: IPv6Address) -> bool:
    return any(address in block for block in facts.addresses.access_blocks.values())
