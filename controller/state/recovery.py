"""What a restarted controller learns from the tables it finds in the switches (pure).

The switches are the memory: every binding, membership, sender and opening has left its rule. What cannot
be seen in them (how old something is) starts anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from controller.plan.facts import Binding, Membership, Opening, Pin, PortId, Sender
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import Commit, Output, Rule, Tables, ToGroup
from controller.plan.zones import is_source_specific
from topologies.spec import Role, Topology

_HOST_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the tables of all switches say about the hosts."""

    bindings: tuple[Binding, ...]
    members: tuple[Membership, ...]
    senders: tuple[Sender, ...]
    openings: tuple[Opening, ...]
    pins: tuple[Pin, ...]
    choices: Mapping[str, str]
    """The edge that new connections of each access switch go to."""


def recover(topology: Topology, tables: Mapping[str, Tables]) -> Remembered:
    """Read the facts back out of the tables of some or all switches."""
    edges = topology.of_role(Role.EDGE)
    bindings: set[Binding] = set()
    members: set[Membership] = set()
    senders: set[Sender] = set()
    openings: set[Opening] = set()
    pins: set[Pin] = set()
    choices: dict[str, str] = {}
    for switch, content in tables.items():
        host_ports = {
            port.number for port in topology.ports[switch] if not topology.role(port.peer).is_switch
        }
        for rule in content.rules.values():
            if rule.table is TableId.INGRESS and rule.source_class == SourceClass.USER:
                bindings |= set(_binding(switch, rule))
            elif rule.table is TableId.MULTICAST and rule.origin is Origin.TREE:
                for member in _members(switch, rule, content, host_ports):
                    members.add(member)
                    if member.source is None and rule.match.ipv6_src is not None:
                        senders.add(Sender(IPv6Address(rule.match.ipv6_src.value), member.group))
            elif rule.table is TableId.DELIVER:
                openings |= set(_opening(rule))
            elif rule.table is TableId.FLOW:
                mark = rule.match.ct_mark
                if rule.origin is Origin.PIN and mark is not None and 0 < mark <= len(edges):
                    pins.add(Pin(switch, edges[mark - 1]))
                match rule.actions:
                    case (Commit(mark=chosen),) if chosen is not None and 0 < chosen <= len(edges):
                        choices[switch] = edges[chosen - 1]
    return Remembered(
        tuple(sorted(bindings)),
        tuple(sorted(members, key=str)),
        tuple(sorted(senders)),
        tuple(sorted(openings)),
        tuple(sorted(pins)),
        choices,
    )


def _binding(switch: str, rule: Rule) -> Iterator[Binding]:
    match = rule.match
    if match.in_port is None or match.eth_src is None or match.ipv6_src is None:
        return
    if match.ipv6_src.length == _HOST_LENGTH:
        yield Binding(PortId(switch, match.in_port), IPv6Address(match.ipv6_src.value), match.eth_src)


def _members(switch: str, rule: Rule, content: Tables, host_ports: set[int]) -> Iterator[Membership]:
    source, destination = rule.match.ipv6_src, rule.match.ipv6_dst
    if source is None or destination is None:
        return
    group = IPv6Address(destination.value)
    listened = IPv6Address(source.value) if is_source_specific(group) else None
    for action in rule.actions:
        if not isinstance(action, ToGroup) or action.group not in content.groups:
            continue
        for bucket in content.groups[action.group].buckets:
            for step in bucket.actions:
                if isinstance(step, Output) and step.port in host_ports:
                    yield Membership(PortId(switch, step.port), group, listened)


def _opening(rule: Rule) -> Iterator[Opening]:
    match = rule.match
    if match.ip_proto is not None and match.ipv6_dst is not None:
        yield Opening(IPv6Address(match.ipv6_dst.value), match.ip_proto, match.port_dst or 0)
