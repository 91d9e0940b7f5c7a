"""Networks with realistic facts, small and not so small, and what was planned for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv6Address

from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Membership, Opening, Pin, Sender, port_id
from controller.plan.rules import (
    Tables,
)
from controller.verify.ground import Expected
from controller.verify.packet import TCP
from tests.unit.controller.networks import facts_of, small, user_address
from tests.unit.controller.test_zones import two_areas
from topologies.files import load
from topologies.spec import Role, Topology

REGIONAL, STREAM = IPv6Address("ff34::8000:7"), IPv6Address("ff35::8000:1")
FOR_USERS, ANY_SOURCE = IPv6Address("ff3e::8000:9"), IPv6Address("ff05::8000:3")


@dataclass(frozen=True)
class Case:
    """A network with what was planned for it."""

    name: str
    topology: Topology
    with_failures: bool = True

    @cached_property
    def facts(self) -> Facts:
        """Everybody is bound; the last edge drains and has connections to keep; one user has a policy, and
        one a service of its own; there are groups of every kind, some with listeners that may not have them.
        """
        topology = self.topology
        facts, edges = facts_of(topology), topology.of_role(Role.EDGE)
        users, accepting = topology.of_role(Role.USER), edges[:-1]
        origin, first = (facts.addresses.hosts[host].unicast for host in ("origin", edges[0]))
        wanted: list[tuple[Sequence[str], IPv6Address, IPv6Address | None]] = [
            (edges[1:], REGIONAL, first),
            (users[:2], STREAM, origin),
            (users[:2], FOR_USERS, origin),
            (edges[:2], ANY_SOURCE, None),
        ]
        at = {host: port_id(topology.access_port(host)) for host in topology.hosts}
        members = {Membership(at[host], group, source) for hosts, group, source in wanted for host in hosts}
        return replace(
            facts,
            accepting=accepting,
            pins=frozenset(Pin(at[user].switch, edges[-1]) for user in (users[0], users[-1])),
            bound=frozenset({Bound(users[0], accepting[-1])}),
            openings=frozenset({Opening(user_address(topology, users[0]), TCP, 443)}),
            members=facts.members | members,
            senders=frozenset({Sender(origin, ANY_SOURCE)}),
        )

    @cached_property
    def tables(self) -> dict[str, Tables]:
        """What is planned."""
        return plan(self.facts)

    @cached_property
    def expected(self) -> Expected:
        """What a controller would tell the proof."""
        facts = self.facts
        openings = frozenset((each.address, each.protocol, each.port) for each in facts.openings)
        return Expected(facts.accepting, dict(facts.bound), openings)


def narrow() -> Topology:
    """The small network with a link of the smallest MTU in the backbone, and one in front of a user."""
    topology = small()
    mtus = {"a1-d1": 1280, "user3-a3": 1400}
    links = tuple(replace(link, mtu_bytes=mtus.get(link.name, 1500)) for link in topology.links)
    return replace(topology, name="narrow", links=links)


CASES = {
    case.name: case
    for case in (
        Case("small", small()),
        Case("areas", two_areas()),
        Case("narrow", narrow()),
        Case("figure2", load("figure2"), with_failures=False),
        Case("metro", load("metro"), with_failures=False),
    )
}
