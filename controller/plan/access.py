"""What may enter by each port, and where each class of sources may send: the default-deny border.

Users are bound to the addresses they claimed (RFC 7039), all other hosts to their fixed ones. Nothing
from a user reaches the ULA plane, and no multicast of a user is ever forwarded (RFC 4007 section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from controller.plan.facts import Facts, ServiceAt
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import Match, Prefix, Punt, Rule
from controller.wire.frames import ICMPV6
from controller.wire.icmpv6 import IcmpType
from topologies.spec import Port, Role

_CONTROL, _NEVER_FORWARDED, _ADMITTED, _UNBOUND = 500, 400, 300, 200
_PERMITTED = 100

_HOST_CONTROL = (
    IcmpType.NEIGHBOR_SOLICITATION,
    IcmpType.MLDV2_REPORT,
    IcmpType.MLDV1_REPORT,
    IcmpType.MLDV1_DONE,
)
_USER_CONTROL = (*_HOST_CONTROL, IcmpType.NEIGHBOR_ADVERTISEMENT, IcmpType.ROUTER_SOLICITATION)
_EXHAUSTED_HOP_LIMITS = (0, 1)


def plan_access(facts: Facts) -> Iterator[tuple[str, Rule]]:
    """Every switch's rules for INGRESS and PERMIT, as (switch, rule)."""
    topology = facts.topology
    for switch in topology.switches:
        roles = set()
        for rule in _never_forwarded():
            yield switch, rule
        for port in topology.ports[switch]:
            role = topology.role(port.peer)
            roles.add(role)
            for rule in _port_rules(facts, port, role):
                yield switch, rule
        for rule in _permits(facts, roles):
            yield switch, rule
    for binding in facts.bindings:
        switch, number = binding.port
        yield switch, _source(facts, switch, number, binding.mac, binding.address, SourceClass.USER)


def _never_forwarded() -> Iterator[Rule]:
    matches = [Match(ip_proto=ICMPV6, icmpv6_type=kind) for kind in IcmpType]
    matches += [Match(hop_limit=hop_limit) for hop_limit in _EXHAUSTED_HOP_LIMITS]
    for match in matches:
        yield Rule(TableId.INGRESS, _NEVER_FORWARDED, match, Origin.NOT_FORWARDED)


def _port_rules(facts: Facts, port: Port, role: Role) -> Iterator[Rule]:
    if role.is_switch:
        yield from _backbone(facts, port)
        return
    for kind in _USER_CONTROL if role is Role.USER else _HOST_CONTROL:
        match = Match(in_port=port.number, ip_proto=ICMPV6, icmpv6_type=kind)
        yield Rule(TableId.INGRESS, _CONTROL, match, Origin.CONTROL, (Punt(),))
    if role is Role.USER:
        # The DAD probe of an address may have been lost: its first packet claims it (RFC 6620 section 3.2.3).
        match = Match(
            in_port=port.number,
            eth_dst=facts.addresses.router_macs[port.node],
            ipv6_src=Prefix.of(facts.addresses.user_prefixes[port.node]),
        )
        yield Rule(TableId.INGRESS, _UNBOUND, match, Origin.CONTROL, (Punt(),))
    host = facts.addresses.hosts[port.peer]
    own_class = SourceClass.DNS if role is Role.DNS else SourceClass.INFRASTRUCTURE
    for interface in host.addresses:
        yield _source(facts, port.node, port.number, host.mac, interface.ip, own_class)
    if role is _SERVICE_ROLE[facts.service_at]:
        service = facts.addresses.service
        yield _source(facts, port.node, port.number, host.mac, service, SourceClass.SERVICE)
    for (source, group), origin in facts.static_channels.items():
        if origin == port.peer:
            match = Match(
                in_port=port.number,
                eth_src=host.mac,
                ipv6_src=Prefix.of(source),
                ipv6_dst=Prefix.of(group),
            )
            yield Rule(TableId.INGRESS, _ADMITTED, match, Origin.SOURCE, goto=TableId.MULTICAST)


_SERVICE_ROLE = {ServiceAt.EDGES: Role.EDGE, ServiceAt.ORIGIN: Role.ORIGIN}


def _backbone(facts: Facts, port: Port) -> Iterator[Rule]:
    match = Match(in_port=port.number, eth_dst=facts.addresses.router_macs[port.node])
    yield Rule(TableId.INGRESS, _ADMITTED, match, Origin.BACKBONE, goto=TableId.UNICAST)
    for _, group in facts.static_channels:
        match = Match(in_port=port.number, ipv6_dst=Prefix.of(group))
        yield Rule(TableId.INGRESS, _ADMITTED, match, Origin.BACKBONE, goto=TableId.MULTICAST)


def _source(
    facts: Facts, switch: str, port: int, mac: str, address: IPv6Address, source_class: SourceClass
) -> Rule:
    match = Match(
        in_port=port,
        eth_src=mac,
        eth_dst=facts.addresses.router_macs[switch],
        ipv6_src=Prefix.of(address),
    )
    return Rule(
        TableId.INGRESS,
        _ADMITTED,
        match,
        Origin.SOURCE,
        source_class=source_class,
        goto=TableId.PERMIT,
    )


def _permits(facts: Facts, roles: set[Role]) -> Iterator[Rule]:
    addresses = facts.addresses
    users = [Prefix.of(network) for network in addresses.user_prefixes.values()]
    servers = [Prefix.of(addresses.hosts[name].unicast) for name in facts.topology.of_role(Role.DNS)]
    allowed: dict[SourceClass, list[Prefix]] = {}
    if Role.USER in roles:
        allowed[SourceClass.USER] = [Prefix.of(addresses.service), *servers, *users]
    if Role.EDGE in roles or Role.ORIGIN in roles:
        allowed[SourceClass.INFRASTRUCTURE] = [Prefix.of(addresses.infrastructure)]
    if _SERVICE_ROLE[facts.service_at] in roles:
        allowed[SourceClass.SERVICE] = users
    if Role.DNS in roles:
        allowed[SourceClass.DNS] = users
    for source_class, destinations in allowed.items():
        for destination in destinations:
            match = Match(source_class=source_class, ipv6_dst=destination)
            yield Rule(TableId.PERMIT, _PERMITTED, match, Origin.PERMIT, goto=TableId.UNICAST)
