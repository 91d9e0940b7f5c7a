"""Where each class of sources may send, and that users cannot tell hidden from absent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.facts import Facts, ServiceAt
from controller.plan.meters import ERROR_METER
from controller.plan.permit import plan_permits
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import Prefix, Punt, Rule
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.addressing import ERROR_SOURCE, ROUTER_PREFIX, plan_addresses
from topologies.spec import OriginMode, Role, RouterAddressing
from topologies.three_tier import three_tier

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
ADDRESSES = FACTS.addresses
SERVICE = ADDRESSES.service
DNS = ADDRESSES.hosts["dns"].unicast
ORIGIN, EDGE = ADDRESSES.hosts["origin"].unicast, ADDRESSES.hosts["edge1"].unicast
USER = user_address(TOPOLOGY, "user2")
NOBODY = IPv6Address("2001:db8:5555::1")


def rules_of(switch: str, facts: Facts = FACTS) -> list[Rule]:
    return [rule for name, rule in plan_permits(facts) if name == switch]


def met(switch: str, source_class: SourceClass, dst: IPv6Address, facts: Facts = FACTS) -> Rule | None:
    hits = [
        rule
        for rule in rules_of(switch, facts)
        if rule.match.source_class == source_class
        and (rule.match.ipv6_dst is None or rule.match.ipv6_dst.covers(int(dst)))
    ]
    return max(hits, key=lambda rule: rule.priority, default=None)


def goes_to(switch: str, source_class: SourceClass, dst: IPv6Address, facts: Facts = FACTS) -> TableId | None:
    rule = met(switch, source_class, dst, facts)
    return None if rule is None else rule.goto


@pytest.mark.parametrize("dst", [SERVICE, DNS, USER, user_address(TOPOLOGY, "user1")])
def test_users_reach_the_service_the_name_server_and_users_through_the_gateway(dst: IPv6Address) -> None:
    assert goes_to("a1", SourceClass.USER, dst) is TableId.GATEWAY


@pytest.mark.parametrize(
    "dst",
    [
        ORIGIN,
        EDGE,
        NOBODY,
        ERROR_SOURCE,
        IPv6Address("fd00::1"),
        IPv6Address("fe80::1"),
        IPv6Address("ff0e::8000:7"),
        IPv6Address("::"),
        IPv6Address("::1"),
        IPv6Address("2001:db8:ffff::2"),
        IPv6Address("2001:db8:fffd::1"),
        DNS + 1,
    ],
)
def test_users_hear_the_same_of_everything_else(dst: IPv6Address) -> None:
    rule = met("a1", SourceClass.USER, dst)
    assert rule == met("a1", SourceClass.USER, NOBODY)
    assert rule is not None
    assert (rule.actions, rule.origin, rule.goto) == ((Punt(),), Origin.NO_ROUTE, None)
    assert rule.meter == ERROR_METER[Origin.NO_ROUTE]


def test_the_ula_plane_reaches_itself_and_nothing_else() -> None:
    for switch in ("a1", "c1"):
        for dst in (ORIGIN, EDGE):
            assert goes_to(switch, SourceClass.INFRASTRUCTURE, dst) is TableId.ROUTER
        for dst in (USER, SERVICE, DNS, NOBODY):
            assert met(switch, SourceClass.INFRASTRUCTURE, dst) is None


def test_the_service_and_the_name_server_reach_users_and_nothing_else() -> None:
    for switch, source_class in (("a1", SourceClass.SERVICE), ("c2", SourceClass.DNS)):
        assert goes_to(switch, source_class, USER) is TableId.ROUTER
        for dst in (ORIGIN, EDGE, SERVICE, DNS, NOBODY):
            assert met(switch, source_class, dst) is None


def test_a_switch_has_rules_only_for_the_hosts_it_may_have() -> None:
    def classes(switch: str, facts: Facts = FACTS) -> set[int | None]:
        return {rule.match.source_class for rule in rules_of(switch, facts)}

    access = {SourceClass.USER, SourceClass.INFRASTRUCTURE, SourceClass.SERVICE}
    assert classes("a1") == access
    assert classes("c1") == {SourceClass.INFRASTRUCTURE}
    assert classes("c2") == {SourceClass.DNS}
    assert classes("d1") == set()
    central = replace(FACTS, service_at=ServiceAt.ORIGIN)
    assert classes("a1", central) == access - {SourceClass.SERVICE}
    assert classes("c1", central) == {SourceClass.INFRASTRUCTURE, SourceClass.SERVICE}
    resort = facts_of(replace(TOPOLOGY, origin=OriginMode.LAST_RESORT))
    assert SourceClass.SERVICE in classes("a1", resort) & classes("c1", resort)


def test_users_reach_routers_only_where_routers_have_addresses() -> None:
    router = ROUTER_PREFIX[1]
    assert goes_to("a1", SourceClass.USER, router) is None
    topology = replace(TOPOLOGY, routers=RouterAddressing.GLOBAL)
    assert goes_to("a1", SourceClass.USER, router, facts_of(topology)) is TableId.GATEWAY


def test_nobody_is_permitted_to_send_to_an_address_block_of_no_access_switch() -> None:
    assigned = len(TOPOLOGY.of_role(Role.ACCESS))
    for index in (0, assigned + 1, assigned + 2, 0xFFFC):
        block = IPv6Address((0x20010DB8 << 96) + (index << 80) + 1)
        rule = met("a1", SourceClass.USER, block)
        assert rule is not None
        assert rule.goto is None
        assert met("a1", SourceClass.SERVICE, block) is None


def test_many_access_switches_need_few_rules() -> None:
    topology = three_tier(2, 8, 90)
    facts = Facts(topology, plan_addresses(topology))
    rules = rules_of("access1", facts)
    assert len(rules) < 30
    permitted = [rule.match.ipv6_dst for rule in rules if rule.match.source_class == SourceClass.SERVICE]
    for block in facts.addresses.access_blocks.values():
        covering = [prefix for prefix in permitted if prefix and prefix.covers(Prefix.of(block).value)]
        assert len(covering) == 1
