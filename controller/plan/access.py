"""What may enter by each port. Users are bound to the addresses they claimed (RFC 7039), all other hosts to
their fixed ones, and no multicast of a user is ever forwarded (RFC 4007 section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address

from controller.plan.facts import Facts
from controller.plan.meters import port_meter
from controller.plan.permit import service_roles
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import ANY_TAG, CONTROLLER_PORT, Match, Prefix, Punt, Rule
from controller.wire.frames import ICMPV6, UDP
from controller.wire.icmpv6 import IcmpType
from controller.wire.pcp import PCP_PORT
from topologies.addressing import GATEWAY
from topologies.heartbeat import HEARTBEAT_PORT
from topologies.spec import Port, Role

_TAGGED, _CONTROL, _NEVER_FORWARDED, _MULTICAST_FIRST, _ADMITTED, _UNBOUND = 600, 500, 400, 350, 300, 200

_NEVER_FORWARDED_TYPES = (130, 131, 132, 133, 134, 135, 136, 137, 141, 142, 143, 148, 149, 151, 152, 153)
"""ND, MLD, inverse and secure ND, multicast router discovery: link-local all (RFC 4890 section 4.3.3)."""
_HOST_CONTROL = (
    IcmpType.NEIGHBOR_SOLICITATION,
    IcmpType.NEIGHBOR_ADVERTISEMENT,
    IcmpType.MLDV2_REPORT,
    IcmpType.MLDV1_REPORT,
    IcmpType.MLDV1_DONE,
)
_USER_CONTROL = (*_HOST_CONTROL, IcmpType.ROUTER_SOLICITATION)
_INFRASTRUCTURE_CONTROL = (*_HOST_CONTROL, IcmpType.MLD_QUERY)
_GATEWAY = Prefix.of(GATEWAY)
_MULTICAST = Prefix(0xFF << 120, 8)


def plan_access(facts: Facts) -> Iterator[tuple[str, Rule]]:
    """Every switch's rules for INGRESS, as (switch, rule)."""
    topology = facts.topology
    for switch in topology.switches:
        for rule in _of_every_switch():
            yield switch, rule
        for port in topology.ports[switch]:
            for rule in _port_rules(facts, port):
                yield switch, rule
    for binding in facts.bindings:
        switch, number = binding.port
        yield switch, _source(facts, switch, number, binding.mac, binding.address, SourceClass.USER)


@lru_cache(maxsize=1)
def _of_every_switch() -> tuple[Rule, ...]:
    own = Rule(
        TableId.INGRESS, _CONTROL, Match(in_port=CONTROLLER_PORT), Origin.BACKBONE, goto=TableId.ROUTER
    )
    never = (Match(ip_proto=ICMPV6, icmpv6_type=kind) for kind in _NEVER_FORWARDED_TYPES)
    return (
        own,
        *(Rule(TableId.INGRESS, _NEVER_FORWARDED, match, Origin.NOT_FORWARDED) for match in never),
    )


def _port_rules(facts: Facts, port: Port) -> Iterator[Rule]:
    role = facts.topology.role(port.peer)
    number, router_mac = port.number, facts.addresses.router_macs[port.node]
    if role.is_switch:
        yield _admitted(Match(in_port=number, eth_dst=router_mac), Origin.BACKBONE, TableId.ROUTER)
        yield _multicast_of_routers(number)
        return
    yield from _asked_of_the_router(number, role)
    if role is Role.USER:
        # The DAD probe of an address may have been lost: its first packet claims it (RFC 6620 section 3.2.3).
        prefix = Prefix.of(facts.addresses.user_prefixes[port.node])
        yield _punted(_UNBOUND, Match(in_port=number, eth_dst=router_mac, ipv6_src=prefix), Origin.CLAIM)
        return
    if role is Role.EDGE:
        mac = facts.addresses.hosts[port.peer].mac
        heartbeat = Match(
            in_port=number, eth_src=mac, ip_proto=UDP, ipv6_dst=_GATEWAY, port_dst=HEARTBEAT_PORT
        )
        yield _punted(_CONTROL, heartbeat, Origin.HEALTH)
    yield from _fixed_sources(facts, port, role)


@lru_cache(maxsize=4096)
def _multicast_of_routers(number: int) -> Rule:
    match = Match(in_port=number, ipv6_dst=_MULTICAST)
    return _admitted(match, Origin.BACKBONE, TableId.MULTICAST, priority=_MULTICAST_FIRST)


@lru_cache(maxsize=4096)
def _asked_of_the_router(number: int, role: Role) -> tuple[Rule, ...]:
    """What is the same for all ports of one number with hosts of one role behind them."""
    rules = [Rule(TableId.INGRESS, _TAGGED, Match(in_port=number, edge_tag=ANY_TAG), Origin.NOT_FORWARDED)]
    for kind in _USER_CONTROL if role is Role.USER else _INFRASTRUCTURE_CONTROL:
        match = Match(in_port=number, ip_proto=ICMPV6, icmpv6_type=kind)
        rules.append(_punted(_CONTROL, match, Origin.CONTROL))
    echo = Match(in_port=number, ip_proto=ICMPV6, icmpv6_type=IcmpType.ECHO_REQUEST, ipv6_dst=_GATEWAY)
    rules.append(_punted(_CONTROL, echo, Origin.REQUEST))
    if role is Role.USER:
        pcp = Match(in_port=number, ip_proto=UDP, ipv6_dst=_GATEWAY, port_dst=PCP_PORT)
        rules.append(_punted(_CONTROL, pcp, Origin.REQUEST))
    return tuple(rules)


def _fixed_sources(facts: Facts, port: Port, role: Role) -> Iterator[Rule]:
    host = facts.addresses.hosts[port.peer]
    own_class = SourceClass.DNS if role is Role.DNS else SourceClass.INFRASTRUCTURE
    for interface in host.addresses:
        yield _source(facts, port.node, port.number, host.mac, interface.ip, own_class)
        if role is not Role.DNS:
            match = Match(
                in_port=port.number,
                eth_src=host.mac,
                ipv6_src=Prefix.of(interface.ip),
                ipv6_dst=_MULTICAST,
            )
            yield _admitted(match, Origin.SOURCE, TableId.MULTICAST, priority=_MULTICAST_FIRST)
    if role in service_roles(facts):
        service = facts.addresses.service
        yield _source(facts, port.node, port.number, host.mac, service, SourceClass.SERVICE)
    if port.peer in facts.addresses.edge_addresses:
        own = facts.addresses.edge_addresses[port.peer]
        yield _source(facts, port.node, port.number, host.mac, own, SourceClass.SERVICE)


def _source(
    facts: Facts, switch: str, port: int, mac: str, address: IPv6Address, source_class: SourceClass
) -> Rule:
    match = Match(
        in_port=port,
        eth_src=mac,
        eth_dst=facts.addresses.router_macs[switch],
        ipv6_src=Prefix.of(address),
    )
    return _admitted(match, Origin.SOURCE, TableId.PERMIT, source_class)


def _admitted(
    match: Match,
    origin: Origin,
    goto: TableId,
    source_class: int | None = None,
    priority: int = _ADMITTED,
) -> Rule:
    return Rule(TableId.INGRESS, priority, match, origin, source_class=source_class, goto=goto)


def _punted(priority: int, match: Match, origin: Origin) -> Rule:
    assert match.in_port is not None
    meter = port_meter(match.in_port, origin)
    return Rule(TableId.INGRESS, priority, match, origin, (Punt(),), meter=meter)
