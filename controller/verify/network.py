"""The tables of all switches and the links between them, ready to be asked about packets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.plan.facts import PortId, port_id
from controller.plan.pipeline import TableId
from controller.plan.rules import Bucket, GroupKind, Rule, Tables
from controller.verify.buckets import carried_out
from controller.verify.packet import Context, Packet, matches
from controller.verify.results import RuleMet
from topologies.spec import Port, Topology


class Network:
    """The tables of all switches, ready for many packets. `down_ports` are down whatever the tables
    say; a link with one end down is down."""

    def __init__(
        self, topology: Topology, tables: Mapping[str, Tables], down_ports: Iterable[PortId] = ()
    ) -> None:
        self._topology = topology
        self._tables = tables
        self._ports = {port_id(port): port for switch in topology.switches for port in topology.ports[switch]}
        self._down = frozenset(down_ports)
        self._rules: dict[tuple[str, TableId], list[Rule]] = {}
        for switch, content in tables.items():
            for rule in content.rules.values():
                self._rules.setdefault((switch, rule.table), []).append(rule)
        for rules in self._rules.values():
            rules.sort(key=lambda rule: -rule.priority)

    def is_live(self, port: PortId) -> bool:
        """Whether the port exists and its link is up at both ends."""
        known = self._ports.get(port)
        if known is None or port in self._down:
            return False
        return self._far_end(known) not in self._down

    def lookup(self, switch: str, table: TableId, packet: Packet, context: Context) -> RuleMet:
        """The rule of highest priority that is for the packet."""
        best: Rule | None = None
        rivals: list[Rule] = []
        for rule in self._rules.get((switch, table), ()):
            if best is not None and rule.priority < best.priority:
                break
            if matches(rule.match, packet, context):
                if best is None:
                    best = rule
                elif _effect(rule) != _effect(best):
                    rivals.append(rule)
        return RuleMet(table, best, tuple(rivals))

    def _far_end(self, port: Port) -> PortId | None:
        """The switch port at the other end of a link, None where a host is."""
        if not self._topology.role(port.peer).is_switch:
            return None
        return port_id(self._topology.port(port.peer, port.node))

    def follow(self, port: PortId) -> tuple[Port, PortId | None]:
        """A port of the topology and the switch port at its other end. Raises KeyError for another port."""
        return self._ports[port], self._far_end(self._ports[port])

    def group(self, switch: str, number: int) -> tuple[tuple[int, Bucket], ...] | None:
        """The buckets of a group that are used now, as they are carried out, with their places; None when
        there is no such group."""
        group = self._tables[switch].groups.get(number)
        if group is None:
            return None
        numbered = tuple(enumerate(map(carried_out, group.buckets)))
        if group.kind is GroupKind.ALL:
            return numbered
        live = (
            (place, bucket)
            for place, bucket in numbered
            if bucket.watch_port is None or self.is_live(PortId(switch, bucket.watch_port))
        )
        return tuple(first for first in [next(live, None)] if first is not None)


def _effect(rule: Rule) -> tuple[object, ...]:
    return rule.actions, rule.goto, rule.source_class, rule.meter
