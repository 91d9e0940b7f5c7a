"""The gateway of the users (RFC 6092): what they send is remembered, and only what belongs to it comes in.

The same memory keeps a connection at the edge where it began: its mark is the number of the edge. That is
why an open gateway remembers too; it lets in what nobody has asked for, and remembers that as well.

It also puts fragments together. Those of one user are limited, so that they leave room for the others'.

A connection is NEW until a packet of each direction has been seen, so what is sent again before the first
answer goes to the edge of now. An ICMPv6 error about a connection is RELATED and has its mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from controller.plan.anycast import edge_tag, kept_edges
from controller.plan.facts import Binding, Facts, GatewayMode, Opening, PortId, port_id
from controller.plan.meters import port_meter
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Action, Commit, CtState, Match, Prefix, PushTag, Rule, Track
from controller.plan.unicast import router_hop, zone_of
from topologies.spec import Role

_KEPT, _SERVICE, _ANY, _UNKNOWN = 300, 200, 100, 10
_OPENED, _KNOWN = 200, 100
_FRAGMENTS = 200
_BELONGING = (CtState.ESTABLISHED, CtState.RELATED)


def plan_gateway(facts: Facts, choices: Mapping[str, str]) -> Iterator[tuple[str, Rule]]:
    """Every switch's rules for GATEWAY, FLOW and DELIVER, as (switch, rule). `choices` names for every access
    switch the edge that its plain route to the service leads to."""
    topology = facts.topology
    service = Prefix.of(facts.addresses.service)
    is_open = facts.gateway is GatewayMode.OPEN
    tags = {edge: edge_tag(facts, edge) for edge in topology.of_role(Role.EDGE)}
    policies = {user: tags[edge] for user, edge in sorted(facts.bound) if edge in facts.accepting}
    zones: dict[PortId, int] = {}
    kept: dict[str, tuple[int, ...]] = {}
    for user in topology.of_role(Role.USER):
        port = topology.access_port(user)
        switch = port.node
        zone = zones[port_id(port)] = zone_of(topology, user)
        if switch not in kept:
            kept[switch] = tuple(tags[edge] for edge in kept_edges(facts, switch))
        # The origin has no number: it answers only where no edge does.
        plain = tags.get(choices.get(switch, ""))
        chosen = policies.get(user, plain)
        for rule in _outbound(port.number, zone, is_open):
            yield switch, rule
        for rule in _to_service(port.number, zone, service, plain, chosen, kept[switch]):
            yield switch, rule
    openings: dict[int, list[Opening]] = {}
    for opening in sorted(facts.openings):
        openings.setdefault(int(opening.address), []).append(opening)
    for binding in facts.bindings:
        opened = openings.get(int(binding.address), ())
        for rule in _inbound(facts, binding, zones[binding.port], opened, is_open):
            yield binding.port.switch, rule


@lru_cache(maxsize=16384)
def _outbound(port: int, zone: int, is_open: bool) -> tuple[Rule, ...]:
    """What a user sends to whomever. What belongs to nothing ends here, unless the gateway is open."""

    def rule(table: TableId, priority: int, match: Match, *actions: Action) -> Rule:
        goto = TableId.ROUTER if table is TableId.FLOW else None
        return Rule(table, priority, match, Origin.GATEWAY, actions, goto=goto)

    rules = [rule(TableId.GATEWAY, _ANY, Match(in_port=port), Track(zone, TableId.FLOW))]
    fragments, meter = Match(in_port=port, is_fragment=True), port_meter(port, Origin.FRAGMENT)
    rules.append(replace(rules[0], priority=_FRAGMENTS, match=fragments, origin=Origin.FRAGMENT, meter=meter))
    rules += [rule(TableId.FLOW, _ANY, Match(in_port=port, ct_state=state)) for state in _BELONGING]
    rules.append(rule(TableId.FLOW, _ANY, Match(in_port=port, ct_state=CtState.NEW), Commit(zone)))
    if is_open:
        rules.append(rule(TableId.FLOW, _UNKNOWN, Match(in_port=port)))
    return tuple(rules)


@lru_cache(maxsize=16384)
def _to_service(
    port: int, zone: int, service: Prefix, plain: int | None, chosen: int | None, kept: tuple[int, ...]
) -> tuple[Rule, ...]:
    """What a user sends to the service: new connections begin at edge number `chosen`, those with a mark in
    `kept` go on to their edge. Only what is not for the edge of the plain route needs a tag."""
    rules = []
    if chosen is not None:
        match = Match(in_port=port, ct_state=CtState.NEW, ipv6_dst=service)
        actions: tuple[Action, ...] = (Commit(zone, chosen),)
        if chosen != plain:
            actions += (PushTag(chosen),)
        rules.append(Rule(TableId.FLOW, _SERVICE, match, Origin.GATEWAY, actions, goto=TableId.ROUTER))
    for tag in kept:
        if tag == plain:
            continue
        for state in _BELONGING:
            match = Match(in_port=port, ct_state=state, ct_mark=tag, ipv6_dst=service)
            rules.append(Rule(TableId.FLOW, _KEPT, match, Origin.PIN, (PushTag(tag),), goto=TableId.ROUTER))
    return tuple(rules)


def _inbound(
    facts: Facts, binding: Binding, zone: int, openings: Sequence[Opening], is_open: bool
) -> Iterator[Rule]:
    """What comes in to a bound address. Only what is new is remembered here: the rest already is."""
    destination = Prefix.of(binding.address)
    hop = router_hop(facts.addresses, binding.port.switch, binding.mac, binding.port.number)
    if is_open:
        new = Match(ct_state=CtState.NEW, ipv6_dst=destination)
        yield Rule(TableId.DELIVER, _OPENED, new, Origin.GATEWAY, (Commit(zone), *hop))
        yield Rule(TableId.DELIVER, _UNKNOWN, Match(ipv6_dst=destination), Origin.GATEWAY, hop)
        return
    for state in _BELONGING:
        match = Match(ct_state=state, ipv6_dst=destination)
        yield Rule(TableId.DELIVER, _KNOWN, match, Origin.GATEWAY, hop)
    for opening in openings:
        match = Match(
            ct_state=CtState.NEW,
            ip_proto=opening.protocol,
            ipv6_dst=destination,
            port_dst=opening.port or None,
        )
        yield Rule(TableId.DELIVER, _OPENED, match, Origin.REQUEST, (Commit(zone), *hop))
