"""Multicast trees: who gets what, by which links, and what is dropped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.facts import Facts, Membership, Paths, PortId, Sender, port_id
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    Prefix,
    Punt,
    Rule,
    SetEthSrc,
    Tables,
    ToGroup,
)
from controller.plan.trees import group_numbers, plan_trees
from controller.plan.zones import scope_of
from tests.unit.controller.networks import small
from tests.unit.controller.test_zones import two_areas
from topologies.addressing import plan_addresses
from topologies.spec import Link, Role, Topology
from topologies.three_tier import three_tier

SMALL, AREAS = small(), two_areas()
STREAM, ASM = IPv6Address("ff35::8000:1"), IPv6Address("ff05::8000:1")
FOR_USERS = IPv6Address("ff3e::8000:1")


def address(topology: Topology, host: str) -> IPv6Address:
    return plan_addresses(topology).hosts[host].unicast


def member(topology: Topology, host: str, group: IPv6Address, source: IPv6Address | None) -> Membership:
    return Membership(port_id(topology.access_port(host)), group, source)


def streamed(topology: Topology, hosts: Iterable[str], group: IPv6Address = STREAM) -> frozenset[Membership]:
    origin = address(topology, "origin")
    return frozenset(member(topology, host, group, origin) for host in hosts)


def facts_of(
    topology: Topology,
    members: Iterable[Membership] = (),
    senders: Iterable[Sender] = (),
    down_links: Iterable[str] = (),
) -> Facts:
    down = set(down_links)
    return Facts(
        topology,
        plan_addresses(topology),
        members=frozenset(members),
        senders=frozenset(senders),
        down_ports=frozenset(
            port_id(port)
            for switch in topology.switches
            for port in topology.ports[switch]
            if port.link.name in down
        ),
    )


def plan(facts: Facts) -> dict[str, Tables]:
    items = list(plan_trees(facts, Paths(facts.topology, facts.down_links)))
    return {
        switch: Tables.of(
            [item for where, item in items if where == switch and isinstance(item, Rule)],
            [item for where, item in items if where == switch and isinstance(item, Group)],
        )
        for switch in facts.topology.switches
    }


class Walk:
    """What becomes of one packet of a host to a group: who gets it, and how often it crosses each link."""

    def __init__(self, facts: Facts, sender: str, group: IPv6Address, source: IPv6Address | None = None):
        self.facts = facts
        self.tables = plan(facts)
        self.group = int(group)
        self.source = int(source or address(facts.topology, sender))
        self.heard: Counter[str] = Counter()
        self.links: Counter[str] = Counter()
        self.punted: list[PortId] = []
        self._arrive(facts.topology.access_port(sender).number, facts.topology.access_port(sender).node, 64)

    def _arrive(self, in_port: int, switch: str, hop_limit: int) -> None:
        fitting = [rule for rule in self.tables[switch].rules.values() if self._fits(rule.match, in_port)]
        if not fitting:
            return
        rule = max(fitting, key=lambda rule: rule.priority)
        assert rule.table is TableId.MULTICAST
        for action in rule.actions:
            if isinstance(action, DecHopLimit):
                hop_limit -= 1
                if hop_limit == 0:
                    return
            elif isinstance(action, Punt):
                self.punted.append(PortId(switch, in_port))
            elif isinstance(action, ToGroup):
                for bucket in self.tables[switch].groups[action.group].buckets:
                    self._leave(switch, bucket.actions, in_port, hop_limit)

    def _leave(self, switch: str, actions: tuple[object, ...], in_port: int, hop_limit: int) -> None:
        (output,) = actions
        assert isinstance(output, Output)
        assert output.port != in_port
        (port,) = [port for port in self.facts.topology.ports[switch] if port.number == output.port]
        self.links[port.link.name] += 1
        if port_id(port) in self.facts.down_ports:
            return
        if self.facts.topology.role(port.peer).is_switch:
            self._arrive(self.facts.topology.port(port.peer, switch).number, port.peer, hop_limit)
        else:
            self.heard[port.peer] += 1

    def _fits(self, match: Match, in_port: int) -> bool:
        return (
            match.in_port in (None, in_port)
            and match.scope in (None, scope_of(IPv6Address(self.group)))
            and (match.ipv6_src is None or match.ipv6_src.covers(self.source))
            and (match.ipv6_dst is None or match.ipv6_dst.covers(self.group))
        )


def rules_of(tables: dict[str, Tables], origin: Origin) -> list[tuple[str, Rule]]:
    return [
        (switch, rule)
        for switch, content in tables.items()
        for rule in content.rules.values()
        if rule.origin is origin
    ]


class TestTrees:
    def test_every_listener_gets_one_copy_and_no_link_carries_two(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge1", "edge2", "edge3")))
        walk = Walk(facts, "origin", STREAM)
        assert walk.heard == {"edge1": 1, "edge2": 1, "edge3": 1}
        assert set(walk.links.values()) == {1}

    def test_only_listeners_get_it(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge2",)))
        walk = Walk(facts, "origin", STREAM)
        assert walk.heard == {"edge2": 1}
        assert set(walk.links) == {"d1-c1", "a2-d1", "edge2-a2"}

    def test_without_listeners_there_is_no_tree(self) -> None:
        assert rules_of(plan(facts_of(SMALL)), Origin.TREE) == []

    def test_a_packet_of_another_source_is_dropped(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge1", "edge2")))
        assert Walk(facts, "edge3", STREAM).heard == {}
        assert Walk(facts, "edge3", STREAM, address(SMALL, "origin")).heard == {}

    def test_a_group_that_nobody_listens_to_is_dropped(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge1",)))
        assert Walk(facts, "origin", IPv6Address("ff35::8000:2")).links == {}

    def test_a_tree_is_a_router_hop_at_every_switch(self) -> None:
        tables = plan(facts_of(SMALL, streamed(SMALL, ("edge1",))))
        macs = plan_addresses(SMALL).router_macs
        found = rules_of(tables, Origin.TREE)
        assert {switch for switch, _ in found} == {"c1", "d1", "a1"}
        for switch, rule in found:
            (number,) = tables[switch].groups
            assert rule.actions == (DecHopLimit(), SetEthSrc(macs[switch]), ToGroup(number))
            assert tables[switch].groups[number].kind is GroupKind.ALL

    def test_a_link_that_is_down_is_gone_round(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge1", "edge2", "edge3")), down_links=("d1-c1",))
        walk = Walk(facts, "origin", STREAM)
        assert walk.heard == {"edge1": 1, "edge2": 1, "edge3": 1}
        assert "d1-c1" not in walk.links

    def test_a_listener_without_a_path_does_not_harm_the_others(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("edge1", "edge2")), down_links=("a1-d1", "a1-d2"))
        assert Walk(facts, "origin", STREAM).heard == {"edge2": 1}
        facts = facts_of(SMALL, streamed(SMALL, ("edge1", "edge2")), down_links=("edge1-a1",))
        assert Walk(facts, "origin", STREAM).heard == {"edge2": 1}

    def test_when_a_tree_changes_its_old_and_new_rules_match_by_different_ports(self) -> None:
        before = facts_of(SMALL, streamed(SMALL, ("edge1",)))
        after = facts_of(SMALL, streamed(SMALL, ("edge1",)), down_links=("d1-c1",))
        old, new = dict(rules_of(plan(before), Origin.TREE)), dict(rules_of(plan(after), Origin.TREE))
        assert old["a1"].match.in_port != new["a1"].match.in_port
        assert old["a1"].actions == new["a1"].actions

    def test_an_edge_may_send_too(self) -> None:
        source = address(SMALL, "edge1")
        facts = facts_of(
            SMALL, [member(SMALL, host, STREAM, source) for host in ("edge1", "edge2", "origin")]
        )
        assert Walk(facts, "edge1", STREAM).heard == {"edge2": 1, "origin": 1}

    def test_a_source_that_is_no_infrastructure_host_has_no_tree(self) -> None:
        facts = facts_of(SMALL, [member(SMALL, "edge1", FOR_USERS, IPv6Address("2001:db8:1::9"))])
        assert rules_of(plan(facts), Origin.TREE) == []

    def test_any_source_means_nothing_in_the_source_specific_range(self) -> None:
        facts = facts_of(
            SMALL, [member(SMALL, "edge1", STREAM, None)], [Sender(address(SMALL, "origin"), STREAM)]
        )
        tables = plan(facts)
        assert rules_of(tables, Origin.TREE) + rules_of(tables, Origin.SENDER) == []


class TestUsers:
    def test_users_get_global_groups_out_of_their_ports(self) -> None:
        facts = facts_of(SMALL, streamed(SMALL, ("user1", "user2", "edge1"), FOR_USERS))
        assert Walk(facts, "origin", FOR_USERS).heard == {"user1": 1, "user2": 1, "edge1": 1}

    @pytest.mark.parametrize("group", ["ff35::8000:1", "ff38::8000:1", "ff3e:0:1::1", "ff34::8000:1"])
    def test_users_get_no_other_group(self, group: str) -> None:
        multicast = IPv6Address(group)
        facts = facts_of(SMALL, streamed(SMALL, ("user1", "edge1"), multicast))
        walk = Walk(facts, "origin", multicast)
        assert walk.heard.keys() <= {"edge1"}
        assert not any("user" in link for link in walk.links)

    def test_a_user_is_no_sender(self) -> None:
        group = IPv6Address("ff0e::8000:1")
        facts = facts_of(
            SMALL,
            [member(SMALL, "edge1", group, None)],
            [Sender(IPv6Address("2001:db8:1::104"), group)],
        )
        walk = Walk(facts, "user1", group, IPv6Address("2001:db8:1::104"))
        assert (walk.heard, walk.punted) == ({}, [])


class TestZones:
    def test_a_group_stays_in_the_zone_of_its_sender(self) -> None:
        group = IPv6Address("ff34::8000:1")
        source = address(AREAS, "edge1")
        facts = facts_of(AREAS, [member(AREAS, host, group, source) for host in ("edge2", "edge3", "origin")])
        assert Walk(facts, "edge1", group).heard == {"edge2": 1}
        realm = IPv6Address("ff33::8000:1")
        facts = facts_of(AREAS, [member(AREAS, host, realm, source) for host in ("edge2", "edge3")])
        assert Walk(facts, "edge1", realm).links == {}

    def test_a_tree_does_not_leave_its_zone_even_where_that_would_be_shorter(self) -> None:
        links = tuple(
            replace(link, delay_ms=50.0) if link.name in ("a2-d1", "a1-d2") else link for link in AREAS.links
        )
        topology = replace(AREAS, links=(*links, Link("d1", "d2", 500.0, 1000.0)))
        group, source = IPv6Address("ff34::8000:1"), address(topology, "edge1")
        facts = facts_of(topology, [member(topology, "edge2", group, source)])
        walk = Walk(facts, "edge1", group)
        assert walk.heard == {"edge2": 1}
        assert not any("c1" in link for link in walk.links)
        # A group of the whole site takes the short way by the core.
        site = IPv6Address("ff35::8000:1")
        walk = Walk(facts_of(topology, [member(topology, "edge2", site, source)]), "edge1", site)
        assert {"d1-c1", "d2-c1"} <= set(walk.links)

    def test_a_zone_that_is_broken_in_two_is_not_mended_by_the_core(self) -> None:
        group, source = IPv6Address("ff34::8000:1"), address(AREAS, "edge1")
        facts = facts_of(AREAS, [member(AREAS, "edge2", group, source)], down_links=("a1-d2", "a2-d1"))
        assert Walk(facts, "edge1", group).links == {}

    @pytest.mark.parametrize("scope", [0, 1, 2, 15])
    def test_a_scope_that_routers_do_not_forward_has_no_rules(self, scope: int) -> None:
        group = IPv6Address(f"ff0{scope:x}::8000:1")
        sender = Sender(address(SMALL, "origin"), group)
        tables = plan(facts_of(SMALL, [member(SMALL, "edge1", group, None)], [sender]))
        assert rules_of(tables, Origin.TREE) + rules_of(tables, Origin.SENDER) == []

    def test_boundaries_are_closed_on_both_sides_before_any_tree(self) -> None:
        tables = plan(facts_of(AREAS, streamed(AREAS, ("edge1",))))
        closed = {
            (switch, rule.match.in_port)
            for switch, rule in rules_of(tables, Origin.SCOPE)
            if rule.match.scope == 4
        }
        expected = {
            (here, AREAS.port(here, there).number)
            for link in ("d1-c1", "d2-c1", "d3-c1")
            for here, there in (link.split("-"), reversed(link.split("-")))
        }
        assert closed == expected
        for _, rule in rules_of(tables, Origin.SCOPE):
            assert (rule.actions, rule.goto) == ((), None)
            assert rule.priority > max(tree.priority for _, tree in rules_of(tables, Origin.TREE))


class TestAnySource:
    def test_the_first_packet_of_a_sender_is_asked_for_while_somebody_listens(self) -> None:
        listeners = [member(SMALL, host, ASM, None) for host in ("edge1", "edge2")]
        tables = plan(facts_of(SMALL, listeners))
        found = rules_of(tables, Origin.SENDER)
        hosts = SMALL.of_role(Role.EDGE, Role.ORIGIN)
        assert {PortId(switch, rule.match.in_port or 0) for switch, rule in found} == {
            port_id(SMALL.access_port(host)) for host in hosts
        }
        for _, rule in found:
            assert (rule.actions, rule.meter) == ((Punt(),), ERROR_METER[Origin.SENDER])
            assert rule.match.ipv6_dst == Prefix.of(ASM)
        walk = Walk(facts_of(SMALL, listeners), "edge3", ASM)
        assert (walk.punted, walk.heard) == ([port_id(SMALL.access_port("edge3"))], {})
        assert rules_of(plan(facts_of(SMALL)), Origin.SENDER) == []

    def test_a_sender_that_is_known_has_a_tree_and_is_not_asked_about_any_more(self) -> None:
        listeners = [member(SMALL, host, ASM, None) for host in ("edge1", "edge2")]
        senders = [Sender(address(SMALL, host), ASM) for host in ("edge1", "edge3")]
        facts = facts_of(SMALL, listeners, senders)
        for sender, heard in (("edge1", {"edge2": 1}), ("edge3", {"edge1": 1, "edge2": 1})):
            walk = Walk(facts, sender, ASM)
            assert (walk.heard, walk.punted) == (heard, [])
        assert Walk(facts, "origin", ASM).punted == [port_id(SMALL.access_port("origin"))]

    def test_senders_that_reach_no_listener_are_not_asked_for(self) -> None:
        group = IPv6Address("ff04::8000:1")
        tables = plan(facts_of(AREAS, [member(AREAS, "edge2", group, None)]))
        # Not edge2 itself, which is the only one to listen, and nobody of another area.
        assert [(switch, rule.match.in_port) for switch, rule in rules_of(tables, Origin.SENDER)] == [
            ("a1", AREAS.access_port("edge1").number)
        ]

    def test_a_listener_that_names_its_source_hears_that_one_only_and_at_once(self) -> None:
        facts = facts_of(
            SMALL,
            [member(SMALL, "edge1", ASM, address(SMALL, "origin")), member(SMALL, "edge2", ASM, None)],
            [Sender(address(SMALL, "edge3"), ASM)],
        )
        assert Walk(facts, "edge3", ASM).heard == {"edge2": 1}
        assert Walk(facts, "origin", ASM).heard == {"edge1": 1}


class TestGroupNumbers:
    def test_every_channel_has_its_own_number_in_the_range(self) -> None:
        channels = [
            (IPv6Address(f"fd00::{source}"), IPv6Address(group))
            for source in range(1, 9)
            for group in ("ff35::8000:1", "ff35::1:8000:1", "ff38::8000:1", "ff05::8000:1")
        ]
        numbers = group_numbers(channels)
        assert len(set(numbers.values())) == len(channels)
        assert all(0x1000_0000 <= number <= 0x1FFF_FFFF for number in numbers.values())

    def test_a_number_does_not_change_when_other_channels_come_and_go(self) -> None:
        channels = [(address(SMALL, "origin"), IPv6Address(int(STREAM) + index)) for index in range(50)]
        everything = group_numbers(channels)
        assert group_numbers(reversed(channels)) == everything
        assert group_numbers(channels[7:9]) == {channel: everything[channel] for channel in channels[7:9]}

    def test_numbers_that_collide_are_told_apart_in_the_order_of_their_channels(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("controller.plan.trees._GROUP_MASK", 3)
        channels = [(address(SMALL, "origin"), IPv6Address(int(STREAM) + index)) for index in range(4)]
        numbers = group_numbers(channels)
        assert sorted(numbers.values()) == [0x1000_0000 + index for index in range(4)]
        assert group_numbers(reversed(channels)) == numbers


class TestReplanning:
    def test_planning_again_gives_the_same_and_follows_changes(self) -> None:
        paths = Paths(SMALL, frozenset())
        for hosts in (("edge1",), ("edge1", "edge2"), ("edge1", "edge2"), ("edge2",), ()):
            facts = facts_of(SMALL, streamed(SMALL, hosts))
            again = list(plan_trees(facts, paths))
            assert again == list(plan_trees(facts, Paths(SMALL, frozenset())))

    def test_64_groups_on_a_thousand_switches_are_planned_in_time(self) -> None:
        topology = three_tier(4, 96, 900, users_per_access=1, edges=300)
        hosts = topology.of_role(Role.EDGE)
        groups = [IPv6Address(int(STREAM) + index) for index in range(64)]
        members = frozenset().union(
            *(streamed(topology, hosts[index % 4 :: 4], group) for index, group in enumerate(groups))
        )
        facts = facts_of(topology, members)
        paths = Paths(topology, frozenset())
        planned_s = []
        for _ in range(2):
            started_s = time.process_time()
            list(plan_trees(facts, paths))
            planned_s.append(time.process_time() - started_s)
        # Measured: 0.1 s and 0.01 s.
        assert planned_s[0] < 1.0
        assert planned_s[1] < 0.25
