"""Where each class of sources may send: the default-deny border between users and the rest.

A user hears the same of an address that is hidden and of one that does not exist: there is no route.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.plan.aggregate import cover
from controller.plan.facts import Facts, ServiceAt
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import Match, Prefix, Punt, Rule
from topologies.addressing import ROUTER_PREFIX
from topologies.spec import OriginMode, Role

_PERMITTED, _REFUSED = 100, 10


def plan_permits(facts: Facts) -> Iterator[tuple[str, Rule]]:
    """Every switch's rules for PERMIT, as (switch, rule): for the classes of the hosts that it has."""
    topology = facts.topology
    by_class = _rules(facts)
    service = service_roles(facts)
    for switch in topology.switches:
        roles = {topology.role(port.peer) for port in topology.ports[switch]}
        present = {
            SourceClass.USER: Role.USER in roles,
            SourceClass.INFRASTRUCTURE: Role.EDGE in roles or Role.ORIGIN in roles,
            SourceClass.SERVICE: bool(service & roles),
            SourceClass.DNS: Role.DNS in roles,
        }
        for source_class, rules in by_class.items():
            if present[source_class]:
                for rule in rules:
                    yield switch, rule


def _rules(facts: Facts) -> dict[SourceClass, tuple[Rule, ...]]:
    """The rules of each class, the same on every switch."""
    addresses = facts.addresses
    users = cover(Prefix.of(network) for network in addresses.access_blocks.values())
    servers = [Prefix.of(addresses.hosts[name].unicast) for name in facts.topology.of_role(Role.DNS)]
    routers = [Prefix.of(ROUTER_PREFIX)] if addresses.router_addresses else []
    edges = map(Prefix.of, addresses.edge_addresses.values())
    allowed = {
        SourceClass.USER: (Prefix.of(addresses.service), *edges, *servers, *users, *routers),
        SourceClass.INFRASTRUCTURE: (Prefix.of(addresses.infrastructure),),
        SourceClass.SERVICE: users,
        SourceClass.DNS: users,
    }
    by_class = {}
    for source_class, destinations in allowed.items():
        goto = TableId.GATEWAY if source_class is SourceClass.USER else TableId.ROUTER
        by_class[source_class] = tuple(
            Rule(
                TableId.PERMIT,
                _PERMITTED,
                Match(source_class=source_class, ipv6_dst=destination),
                Origin.PERMIT,
                goto=goto,
            )
            for destination in destinations
        )
    refusal = Rule(
        TableId.PERMIT,
        _REFUSED,
        Match(source_class=SourceClass.USER),
        Origin.NO_ROUTE,
        (Punt(),),
        meter=ERROR_METER[Origin.NO_ROUTE],
    )
    by_class[SourceClass.USER] += (refusal,)
    return by_class


def service_roles(facts: Facts) -> frozenset[Role]:
    """The roles of the hosts that may answer on the service address."""
    if facts.service_at is ServiceAt.ORIGIN:
        return frozenset({Role.ORIGIN})
    if facts.topology.origin is OriginMode.LAST_RESORT:
        return frozenset({Role.EDGE, Role.ORIGIN})
    return frozenset({Role.EDGE})
