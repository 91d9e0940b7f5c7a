"""Routes to every unicast destination: hosts with fixed addresses, users' prefixes, bound users."""

from __future__ import annotations

from collections.abc import Iterator

from controller.plan.facts import Facts, Paths
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Action, DecHopLimit, Match, Output, Prefix, Rule, SetEthDst, SetEthSrc
from topologies.addressing import AddressPlan
from topologies.spec import Port, Topology


def plan_routes(facts: Facts, paths: Paths) -> Iterator[tuple[str, Rule]]:
    """Every switch's rules for unicast destinations, as (switch, rule)."""
    topology, addresses = facts.topology, facts.addresses
    for host in topology.hosts:
        for interface in addresses.hosts[host].addresses:
            yield from _routes(facts, paths, host, Prefix.of(interface.ip))
    for access, network in addresses.user_prefixes.items():
        yield from _routes(facts, paths, access, Prefix.of(network))
    for binding in facts.bindings:
        switch = binding.port.switch
        actions = router_hop(addresses, switch, binding.mac, binding.port.number)
        yield switch, _route(Prefix.of(binding.address), actions)


def _routes(facts: Facts, paths: Paths, root: str, destination: Prefix) -> Iterator[tuple[str, Rule]]:
    parents = paths.towards(root).parent
    for switch in facts.topology.switches:
        if switch in parents:
            port = facts.topology.port(switch, parents[switch])
            yield switch, _route(destination, hop_to(facts.topology, facts.addresses, port))


def _route(destination: Prefix, actions: tuple[Action, ...]) -> Rule:
    match = Match(ipv6_dst=destination)
    return Rule(TableId.UNICAST, destination.length, match, Origin.ROUTE, actions)


def hop_to(topology: Topology, addresses: AddressPlan, port: Port) -> tuple[Action, ...]:
    """What a router does to send a packet out of a port to the switch or host there."""
    next_is_switch = topology.role(port.peer).is_switch
    mac = addresses.router_macs[port.peer] if next_is_switch else addresses.hosts[port.peer].mac
    return router_hop(addresses, port.node, mac, port.number)


def router_hop(addresses: AddressPlan, switch: str, next_mac: str, port: int) -> tuple[Action, ...]:
    """The actions of one router hop (RFC 8200 section 3, RFC 2464)."""
    return (DecHopLimit(), SetEthSrc(addresses.router_macs[switch]), SetEthDst(next_mac), Output(port))
