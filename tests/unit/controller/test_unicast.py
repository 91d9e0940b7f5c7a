"""Routes to unicast destinations, and what a router answers to packets that it cannot forward."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.compile import plan
from controller.plan.facts import Facts, GatewayMode, PortId
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    CheckLarger,
    DecHopLimit,
    GroupKind,
    Match,
    Output,
    Prefix,
    Punt,
    Rule,
    SetEthDst,
    SetEthSrc,
    ToGroup,
    Track,
)
from controller.plan.unicast import zone_of
from tests.unit.controller.fake_pipeline import FakeNetwork
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.spec import Role, RouterAddressing, Topology
from topologies.three_tier import three_tier

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)


def rules(facts: Facts, switch: str, table: TableId, origin: Origin | None = None) -> list[Rule]:
    found = [rule for rule in plan(facts)[switch].rules.values() if rule.table is table]
    return [rule for rule in found if origin in (None, rule.origin)]


def routes(facts: Facts, switch: str) -> dict[Prefix, Rule]:
    return {
        rule.match.ipv6_dst: rule
        for rule in rules(facts, switch, TableId.UNICAST, Origin.ROUTE)
        if rule.match.ipv6_dst is not None
    }


def best(facts: Facts, switch: str, address: IPv6Address) -> Rule:
    found = [
        rule
        for rule in rules(facts, switch, TableId.UNICAST)
        if rule.match.ipv6_dst is not None and rule.match.ipv6_dst.covers(int(address))
    ]
    return max(found, key=lambda rule: rule.priority)


def narrowed(topology: Topology, mtus: dict[str, int]) -> Topology:
    links = (replace(link, mtu_bytes=mtus.get(link.name, 1500)) for link in topology.links)
    return replace(topology, links=tuple(links))


def test_a_hop_limit_of_0_or_1_ends_at_every_router_with_time_exceeded() -> None:
    for switch in TOPOLOGY.switches:
        found = rules(FACTS, switch, TableId.ROUTER, Origin.TIME_EXCEEDED)
        assert {rule.match.hop_limit for rule in found} == {0, 1}
        for rule in found:
            assert (rule.actions, rule.meter) == ((Punt(),), ERROR_METER[Origin.TIME_EXCEEDED])
            assert rule.priority > max(
                (other.priority for other in rules(FACTS, switch, TableId.ROUTER, Origin.ROUTE)), default=0
            )


def test_a_route_is_a_whole_router_hop_in_each_bucket_of_a_group_that_destinations_share() -> None:
    tables = plan(FACTS)["a1"]
    fast = [group for group in tables.groups.values() if group.kind is GroupKind.FAST_FAILOVER]
    d1, d2 = TOPOLOGY.port("a1", "d1").number, TOPOLOGY.port("a1", "d2").number
    group = next(group for group in fast if group.number == 0x2000_0000 | d1 << 12 | d2)
    macs = FACTS.addresses.router_macs
    assert [bucket.watch_port for bucket in group.buckets] == [d1, d2]
    for bucket, peer in zip(group.buckets, ("d1", "d2"), strict=True):
        hop = (DecHopLimit(), SetEthSrc(macs["a1"]), SetEthDst(macs[peer]), Output(bucket.watch_port or 0))
        assert bucket.actions == hop
    users = [rule for rule in tables.rules.values() if rule.actions == (ToGroup(group.number),)]
    assert len(users) > 1
    used = {
        action.group
        for rule in tables.rules.values()
        for action in rule.actions
        if isinstance(action, ToGroup)
    }
    assert {group.number for group in fast} <= used, "no group is there for nothing"


def test_routes_are_aggregated_to_blocks_of_assigned_prefixes_only() -> None:
    topology = three_tier(2, 4, 24, users_per_access=1)
    facts = facts_of(topology)
    for switch in topology.switches:
        found = routes(facts, switch)
        assert len(found) < 40
        own = topology.of_role(Role.ACCESS)
        for name in own:
            block = int(facts.addresses.access_blocks[name].network_address)
            covering = [prefix for prefix in found if prefix.length <= 48 and prefix.covers(block)]
            assert len(covering) == (name != switch)
        assigned = {int(block.network_address) for block in facts.addresses.access_blocks.values()}
        base = int(facts.addresses.access_blocks[own[0]].network_address) - (1 << 80)
        for number in range(64):
            if base + (number << 80) not in assigned:
                assert not any(prefix.covers(base + (number << 80)) for prefix in found)


def test_edges_are_reached_by_their_subnet_and_only_their_address_beyond_their_switch() -> None:
    edge = FACTS.addresses.hosts["edge3"].unicast
    for switch in TOPOLOGY.switches:
        prefix = best(FACTS, switch, edge).match.ipv6_dst
        assert prefix is not None
        assert prefix.length == 128 if switch == "a3" else 62 <= prefix.length <= 64
    unassigned = IPv6Address(int(edge) + 7)
    fake = FakeNetwork(FACTS, plan(FACTS))
    assert fake.send("edge1", FACTS.addresses.hosts["edge1"].unicast, edge).hosts == ["edge3"]
    assert fake.send("edge1", FACTS.addresses.hosts["edge1"].unicast, unassigned).hosts == []


def test_an_access_switch_says_that_its_unassigned_addresses_are_unreachable() -> None:
    for switch in TOPOLOGY.of_role(Role.ACCESS):
        block, users = FACTS.addresses.access_blocks[switch], FACTS.addresses.user_prefixes[switch]
        outside, nobody = best(FACTS, switch, block[1 << 70]), best(FACTS, switch, users[0xDEAD])
        for rule, origin in ((outside, Origin.NO_ROUTE), (nobody, Origin.ADDRESS_UNREACHABLE)):
            assert (rule.origin, rule.actions, rule.meter) == (origin, (Punt(),), ERROR_METER[origin])


@pytest.mark.parametrize("mode", GatewayMode)
def test_a_bound_user_is_reached_by_the_conntrack_zone_of_its_port(mode: GatewayMode) -> None:
    facts = replace(FACTS, gateway=mode)
    users = TOPOLOGY.of_role(Role.USER)
    assert [zone_of(TOPOLOGY, user) for user in users] == list(range(1, len(users) + 1))
    rule = best(facts, "a1", user_address(TOPOLOGY, "user4"))
    assert rule.actions == (Track(zone_of(TOPOLOGY, "user4"), TableId.DELIVER),)
    unbound = replace(facts, bindings=())
    assert best(unbound, "a1", user_address(TOPOLOGY, "user4")).origin is Origin.ADDRESS_UNREACHABLE


def test_what_may_not_fit_is_measured_and_answered_with_the_mtu() -> None:
    topology = narrowed(TOPOLOGY, {"a1-d1": 1400, "a1-d2": 1280})
    facts = facts_of(topology)
    refusals = rules(facts, "a1", TableId.UNICAST, Origin.TOO_BIG)
    assert {(rule.match.too_big, rule.argument) for rule in refusals} == {(0, 1280), (1, 1400)}
    assert {rule.meter for rule in refusals} == {ERROR_METER[Origin.TOO_BIG]}
    assert min(rule.priority for rule in refusals) > max(
        rule.priority for rule in rules(facts, "a1", TableId.UNICAST) if rule.origin is not Origin.TOO_BIG
    )
    # Both uplinks are narrow and protect each other: the narrower one counts.
    measured = rules(facts, "a1", TableId.ROUTER, Origin.ROUTE)
    checks = {rule.actions for rule in measured if rule.actions}
    assert checks == {(CheckLarger(1280 + 14, 0),)}
    assert all(rule.goto is TableId.UNICAST for rule in measured)
    assert not [rule for rule in rules(facts, "c1", TableId.ROUTER, Origin.ROUTE) if rule.actions]


@pytest.mark.parametrize(("size", "arrives"), [(1294, True), (1295, False)])
def test_only_what_is_longer_than_the_narrowest_link_is_refused(size: int, arrives: bool) -> None:
    topology = narrowed(TOPOLOGY, {"a1-d1": 1400, "a1-d2": 1280})
    facts = facts_of(topology)
    fake = FakeNetwork(facts, plan(facts))
    trace = fake.send(
        "edge1",
        facts.addresses.hosts["edge1"].unicast,
        facts.addresses.hosts["edge3"].unicast,
        frame_bytes=size,
    )
    assert trace.hosts == (["edge3"] if arrives else [])
    assert trace.punted == ([] if arrives else [PortId("a1", topology.access_port("edge1").number)])


def test_a_narrow_link_of_a_host_is_measured_at_its_switch() -> None:
    facts = facts_of(narrowed(TOPOLOGY, {"user1-a1": 1280, "edge1-a1": 1300}))
    fake = FakeNetwork(facts, plan(facts))
    user, edge = user_address(TOPOLOGY, "user1"), facts.addresses.hosts["edge1"].unicast
    measured = {
        rule.match.ipv6_dst: rule.actions for rule in rules(facts, "a1", TableId.ROUTER) if rule.actions
    }
    assert measured[Prefix.of(user)] == (CheckLarger(1294, 0),)
    assert measured[Prefix.of(edge)] == (CheckLarger(1314, 1),)
    assert fake.send("user2", user_address(TOPOLOGY, "user2"), user, frame_bytes=1295).punted


def test_routers_with_addresses_answer_for_themselves_and_are_reached_by_everybody() -> None:
    topology = replace(TOPOLOGY, routers=RouterAddressing.GLOBAL)
    facts = facts_of(topology)
    fake = FakeNetwork(facts, plan(facts))
    source = user_address(topology, "user1")
    for router, address in facts.addresses.router_addresses.items():
        own = best(facts, router, address)
        assert (own.origin, own.actions) == (Origin.REQUEST, (Punt(),))
        trace = fake.send("user1", source, address)
        assert [port.switch for port in trace.punted] == [router]
    assert not rules(FACTS, "c1", TableId.UNICAST, Origin.REQUEST)


def test_a_host_whose_link_is_down_has_no_route_at_its_switch_and_all_others_stay() -> None:
    facts = facts_of(TOPOLOGY, down_links=["edge3-a3"])
    edge = facts.addresses.hosts["edge3"].unicast
    assert not any(prefix.covers(int(edge)) for prefix in routes(facts, "a3"))
    for switch in ("c1", "d1", "a1"):
        assert routes(facts, switch) == routes(FACTS, switch)


def test_every_rule_of_a_match_is_there_once() -> None:
    for tables in plan(FACTS).values():
        assert all(rule.key == key for key, rule in tables.rules.items())
        assert Match() not in [rule.match for rule in tables.rules.values() if rule.table is TableId.UNICAST]
