"""Connection tracking in memory, as Linux does it, for packets that the walker follows: a connection is NEW
until packets of both directions were seen, what no first packet explains is INVALID, and an ICMPv6 error is
RELATED to the connection of the packet that it quotes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.plan.facts import Facts, PortId, port_id
from controller.plan.rules import CtState, Tables
from controller.verify.network import Network
from controller.verify.packet import TCP, Packet
from controller.verify.results import Committed, RuleMet, Walk
from controller.verify.walk import Connection, walk
from controller.wire.frames import ICMPV6
from controller.wire.icmpv6 import IcmpType

INVALID = Connection(CtState.INVALID)


@dataclass(frozen=True, slots=True)
class Segment(Packet):
    """A packet with what connection tracking looks at besides the header: the flags of TCP (`syn`, `syn-ack`,
    `ack`), or the packet that an ICMPv6 error quotes."""

    flags: str = "syn"
    about: Packet | None = None


Tuple = tuple[object, ...]


@dataclass(slots=True)
class Record:
    """One connection of a zone."""

    mark: int = 0
    is_answered: bool = False


@dataclass(slots=True)
class World:
    """A network whose switches remember connections from packet to packet."""

    facts: Facts
    tables: Mapping[str, Tables]
    records: dict[tuple[int, Tuple], Record] = field(default_factory=dict)

    def become(self, facts: Facts, tables: Mapping[str, Tables]) -> None:
        """Other tables, the same memory."""
        self.facts, self.tables = facts, tables

    def send(self, host: str, packet: Packet) -> Walk:
        """A host sends a packet."""
        return self.enter(port_id(self.facts.topology.access_port(host)), packet)

    def enter(self, port: PortId, packet: Packet) -> Walk:
        """A packet comes in by a port; what its rules commit is remembered."""
        network = Network(self.facts.topology, self.tables, self.facts.down_ports)
        found = walk(network, packet, port, self._look_up)
        for hop in found.hops:
            for event in hop.events:
                if isinstance(event, RuleMet):
                    assert not event.rivals, f"OpenFlow leaves open which rule wins: {event}"
                elif isinstance(event, Committed):
                    self._commit(event, hop.packet)
        return found

    def _look_up(self, zone: int, packet: Packet) -> Connection:
        quoted = getattr(packet, "about", None)
        if quoted is not None:
            record = self._record(zone, quoted)[0]
            return INVALID if record is None else Connection(CtState.RELATED, record.mark)
        flags = getattr(packet, "flags", "syn")
        record, is_answer = self._record(zone, packet)
        if record is None:
            begins = not (packet.ip_proto == TCP and flags == "syn-ack")
            if packet.ip_proto == ICMPV6:
                begins = packet.icmpv6_type == IcmpType.ECHO_REQUEST
            return Connection(CtState.NEW) if begins else INVALID
        if is_answer:
            record.is_answered = True
        elif packet.ip_proto == TCP and flags == "ack" and not record.is_answered:
            return INVALID
        return Connection(CtState.ESTABLISHED if record.is_answered else CtState.NEW, record.mark)

    def _record(self, zone: int, packet: Packet) -> tuple[Record | None, bool]:
        """What is known of a packet's connection, and whether the packet is of the answering direction."""
        there, back = _tuples(packet)
        if (zone, there) in self.records:
            return self.records[zone, there], False
        return self.records.get((zone, back)), True

    def _commit(self, commit: Committed, packet: Packet) -> None:
        record, _ = self._record(commit.zone, packet)
        if record is None:
            record = self.records[commit.zone, _tuples(packet)[0]] = Record()
        if commit.mark is not None:
            record.mark = commit.mark


def _tuples(packet: Packet) -> tuple[Tuple, Tuple]:
    """The connection of a packet as seen from its sender and from its receiver."""
    ends = packet.src, packet.dst
    return (
        (packet.ip_proto, *ends, packet.port_src, packet.port_dst),
        (packet.ip_proto, *reversed(ends), packet.port_dst, packet.port_src),
    )
