"""Switches in memory: follows one packet through the planned tables of a whole network, as OpenFlow would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address

from controller.plan.facts import Facts, PortId, port_id
from controller.plan.pipeline import TableId
from controller.plan.rules import (
    ANY_TAG,
    Action,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    GroupKind,
    Match,
    Output,
    PopTag,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from controller.wire.frames import multicast_mac

MAX_HOPS = 64
UDP = 17


@dataclass(frozen=True)
class Packet:
    """The header fields that the pipeline knows."""

    eth_src: str
    eth_dst: str
    src: IPv6Address
    dst: IPv6Address
    hop_limit: int = 64
    is_fragment: bool = False
    ip_proto: int = UDP
    icmpv6_type: int | None = None
    port_dst: int | None = None
    frame_bytes: int = 100
    tag: int | None = None
    ct_state: CtState | None = None
    ct_mark: int | None = None
    too_big: frozenset[int] = frozenset()


@dataclass
class Trace:
    """Where a packet went: hosts it reached (with the packet as it arrived), copies sent per port, punts."""

    delivered: list[tuple[str, Packet]] = field(default_factory=list)
    copies: Counter[PortId] = field(default_factory=Counter)
    punted: list[PortId] = field(default_factory=list)

    @property
    def hosts(self) -> list[str]:
        """The hosts reached, one entry per copy."""
        return sorted(host for host, _ in self.delivered)


class FakeNetwork:
    """The tables of all switches; `dead_ports` are down although the tables may not know."""

    def __init__(
        self, facts: Facts, tables: Mapping[str, Tables], dead_ports: frozenset[PortId] = frozenset()
    ) -> None:
        self.facts = facts
        self.tables = tables
        self.dead_ports = dead_ports | facts.down_ports
        self.connections: dict[tuple[int, frozenset[IPv6Address]], int | None] = {}
        """What each conntrack zone remembers, by the two addresses, with its mark."""

    def send(self, host: str, src: IPv6Address, dst: IPv6Address, **fields: object) -> Trace:
        """A host sends a packet, to its gateway or to a multicast group."""
        port = self.facts.topology.access_port(host)
        to_mac = multicast_mac(dst) if dst.is_multicast else self.facts.addresses.router_macs[port.node]
        packet = Packet(self.facts.addresses.hosts[host].mac, to_mac, src, dst)
        trace = Trace()
        self._enter(port_id(port), replace(packet, **fields), trace, 0)  # type: ignore[arg-type]
        return trace

    def inject(self, port: PortId, packet: Packet) -> Trace:
        """A packet comes in by any port of a switch."""
        trace = Trace()
        self._enter(port, packet, trace, 0)
        return trace

    def _enter(self, port: PortId, packet: Packet, trace: Trace, hops: int) -> None:
        assert hops < MAX_HOPS, f"packet to {packet.dst} loops at {port.switch}"
        if port in self.dead_ports:
            return
        table: TableId | None = TableId.INGRESS
        source_class: int | None = None
        while table is not None:
            rule = self._lookup(port, table, source_class, packet)
            if rule is None:
                return
            packet = self._apply(port, rule.actions, packet, trace, hops)
            source_class = source_class if rule.source_class is None else rule.source_class
            table = rule.goto
            if rule.actions and isinstance(rule.actions[-1], Track):
                table = rule.actions[-1].next_table

    def _lookup(self, port: PortId, table: TableId, source_class: int | None, packet: Packet) -> Rule | None:
        rules = self.tables[port.switch].rules.values()
        hits = [
            rule
            for rule in rules
            if rule.table is table and _matches(rule.match, port.number, source_class, packet)
        ]
        if not hits:
            return None
        best = max(rule.priority for rule in hits)
        winners = [rule for rule in hits if rule.priority == best]
        # OpenFlow leaves undefined which of several rules of equal priority wins: they must agree.
        assert len({(rule.actions, rule.goto, rule.source_class) for rule in winners}) == 1, winners
        return winners[0]

    def _apply(
        self, port: PortId, actions: tuple[Action, ...], packet: Packet, trace: Trace, hops: int
    ) -> Packet:
        for action in actions:
            match action:
                case DecHopLimit():
                    assert packet.hop_limit > 1
                    packet = replace(packet, hop_limit=packet.hop_limit - 1)
                case SetEthSrc(mac):
                    packet = replace(packet, eth_src=mac)
                case SetEthDst(mac):
                    packet = replace(packet, eth_dst=mac)
                case PushTag(tag):
                    packet = replace(packet, tag=tag)
                case PopTag():
                    packet = replace(packet, tag=None)
                case CheckLarger(frame_bytes, bit) if packet.frame_bytes > frame_bytes:
                    packet = replace(packet, too_big=packet.too_big | {bit})
                case Track(zone):
                    key = (zone, frozenset({packet.src, packet.dst}))
                    state = CtState.ESTABLISHED if key in self.connections else CtState.NEW
                    packet = replace(packet, ct_state=state, ct_mark=self.connections.get(key))
                case Commit(zone, mark):
                    self.connections.setdefault((zone, frozenset({packet.src, packet.dst})), mark)
                case Punt():
                    trace.punted.append(port)
                case Output(number):
                    self._output(port, number, packet, trace, hops)
                case ToGroup(number):
                    group = self.tables[port.switch].groups[number]
                    buckets = group.buckets
                    if group.kind is GroupKind.FAST_FAILOVER:
                        alive = (
                            bucket
                            for bucket in buckets
                            if bucket.watch_port is not None
                            and PortId(port.switch, bucket.watch_port) not in self.dead_ports
                        )
                        first = next(alive, None)
                        buckets = () if first is None else (first,)
                    for bucket in buckets:
                        self._apply(port, bucket.actions, packet, trace, hops)
        return packet

    def _output(self, port: PortId, number: int, packet: Packet, trace: Trace, hops: int) -> None:
        out = PortId(port.switch, number)
        if number == port.number or out in self.dead_ports:
            return
        trace.copies[out] += 1
        topology = self.facts.topology
        peer = next(entry.peer for entry in topology.ports[port.switch] if entry.number == number)
        if topology.role(peer).is_switch:
            arriving = replace(packet, ct_state=None, ct_mark=None, too_big=frozenset())
            self._enter(port_id(topology.port(peer, port.switch)), arriving, trace, hops + 1)
        else:
            trace.delivered.append((peer, packet))


def _matches(match: Match, in_port: int, source_class: int | None, packet: Packet) -> bool:
    exact = (
        (match.in_port, in_port),
        (match.source_class, source_class),
        (match.eth_src, packet.eth_src),
        (match.eth_dst, packet.eth_dst),
        (match.ip_proto, packet.ip_proto),
        (match.hop_limit, packet.hop_limit),
        (match.is_fragment, packet.is_fragment),
        (match.icmpv6_type, packet.icmpv6_type),
        (match.port_dst, packet.port_dst),
        (match.ct_state, packet.ct_state),
        (match.ct_mark, packet.ct_mark),
    )
    if match.edge_tag is not None and (
        packet.tag is None if match.edge_tag == ANY_TAG else packet.tag != match.edge_tag
    ):
        return False
    if match.too_big is not None and match.too_big not in packet.too_big:
        return False
    if match.scope is not None and (not packet.dst.is_multicast or packet.dst.packed[1] & 15 != match.scope):
        return False
    prefixes = ((match.ipv6_src, packet.src), (match.ipv6_dst, packet.dst))
    return all(wanted is None or wanted == found for wanted, found in exact) and all(
        prefix is None or prefix.covers(int(address)) for prefix, address in prefixes
    )
