"""The service address: from every switch to its nearest healthy edge, or to the origin as the baseline.

Loops are impossible. All switches choose by the same order (delay, hops, order of the edges), so the
next switch on the way to the chosen edge has chosen the same edge. A switch with an edge of its own
keeps a second choice in a fast-failover group: a neighbour whose own choice is a different edge, for
whose path cannot lead through here (a node-protecting loop-free alternate in the sense of RFC 5286).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.plan.facts import Facts, Paths, ServiceAt
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Bucket, Group, GroupKind, Match, Prefix, Rule, ToGroup
from controller.plan.unicast import hop_to
from topologies.graph import NearestEdge, nearest_edges
from topologies.spec import Port, Role

SERVICE_GROUP = 1


def service_hosts(facts: Facts) -> tuple[str, ...]:
    """The hosts that answer on the service address, in order of preference among equals."""
    if facts.service_at is ServiceAt.ORIGIN:
        return facts.topology.of_role(Role.ORIGIN)
    return facts.healthy_edges


def plan_service(facts: Facts, paths: Paths) -> Iterator[tuple[str, Rule | Group]]:
    """Every switch's rule (and group) for the service address, as (switch, item)."""
    topology, addresses = facts.topology, facts.addresses
    nearest = nearest_edges(topology, service_hosts(facts), down_links=paths.down_links)
    destination = Prefix.of(addresses.service)
    for switch in topology.switches:
        if switch not in nearest:
            continue
        primary = topology.port(switch, paths.towards(nearest[switch].edge).parent[switch])
        actions = hop_to(topology, addresses, primary)
        backup = None if topology.role(primary.peer).is_switch else _alternate(facts, paths, nearest, switch)
        if backup is not None:
            buckets = tuple(
                Bucket(hop_to(topology, addresses, port), watch_port=port.number)
                for port in (primary, backup)
            )
            yield switch, Group(SERVICE_GROUP, GroupKind.FAST_FAILOVER, buckets)
            actions = (ToGroup(SERVICE_GROUP),)
        match = Match(ipv6_dst=destination)
        yield switch, Rule(TableId.UNICAST, destination.length, match, Origin.SERVICE, actions)


def _alternate(facts: Facts, paths: Paths, nearest: Mapping[str, NearestEdge], switch: str) -> Port | None:
    candidates = [
        (nearest[port.peer].distance_ms + port.link.delay_ms, port.number, port)
        for port in facts.topology.ports[switch]
        if port.link.name not in paths.down_links
        and facts.topology.role(port.peer).is_switch
        and port.peer in nearest
        and nearest[port.peer].edge != nearest[switch].edge
    ]
    return min(candidates)[2] if candidates else None
