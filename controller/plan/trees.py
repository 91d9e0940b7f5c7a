"""Source-specific multicast (RFC 4607): one tree per (S,G), the union of the shortest paths from the
source to every listener. A packet is accepted only by the port towards the source, so it cannot loop."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from itertools import pairwise

from controller.plan.facts import Facts, Paths
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Bucket,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    Prefix,
    Rule,
    SetEthSrc,
    ToGroup,
)

_EXACT = 128


def plan_trees(facts: Facts, paths: Paths) -> Iterator[tuple[str, Rule | Group]]:
    """Every switch's rule and group for each (S,G) with listeners, as (switch, item)."""
    topology = facts.topology
    for (source, group), origin in facts.static_channels.items():
        tree = paths.towards(origin)
        branches: dict[str, set[int]] = {}
        for edge in facts.static_members[source, group]:
            if edge not in tree.parent:
                continue
            path = tree.path(edge)
            for here, switch in pairwise(path[:-1]):
                branches.setdefault(switch, set()).add(topology.port(switch, here).number)
        number = multicast_group_number(group)
        for switch, ports in branches.items():
            match = Match(
                in_port=topology.port(switch, tree.parent[switch]).number,
                ipv6_src=Prefix.of(source),
                ipv6_dst=Prefix.of(group),
            )
            router_mac = facts.addresses.router_macs[switch]
            actions = (DecHopLimit(), SetEthSrc(router_mac), ToGroup(number))
            yield switch, Rule(TableId.MULTICAST, _EXACT, match, Origin.TREE, actions)
            buckets = tuple(Bucket((Output(port),)) for port in sorted(ports))
            yield switch, Group(number, GroupKind.ALL, buckets)


def multicast_group_number(group: IPv6Address) -> int:
    """The OpenFlow group of a multicast group: its scope and the low 24 bits of its group ID."""
    return 0x1000_0000 | (group.packed[1] & 15) << 24 | int(group) & 0xFF_FFFF
