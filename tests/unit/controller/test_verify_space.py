"""Atoms, regions and lookups: what rules tell apart, and which rule a set of packets meets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import ANY_TAG, Match, Output, Prefix, Rule, Tables
from controller.verify.atoms import Intervals, Values, bit_numbers
from controller.verify.lookup import look_up
from controller.verify.packet import TCP
from controller.verify.regions import cut, merged, rest
from controller.verify.space import OTHER_PORT, Field, Region, Space, Upper
from controller.wire.frames import ICMPV6, UDP

BLOCK, HALF = Prefix.of(IPv6Network("2001:db8::/32")), Prefix.of(IPv6Network("2001:db8::/33"))
ADDRESS = IPv6Address("2001:db8::7")


def rule(priority: int, port: int, **fields: object) -> Rule:
    match = Match(**fields)  # type: ignore[arg-type]
    return Rule(TableId.INGRESS, priority, match, Origin.ROUTE, (Output(port),))


def space_of(*rules: Rule) -> Space:
    return Space([Tables.of(rules)])


def winners(*rules: Rule) -> tuple[dict[int, Region], list[tuple[int, int]]]:
    """Which part of everything each output gets, and the priorities of rules that overlap."""
    space = space_of(*rules)
    pairs = sorted(((each, space.condition(each.match)) for each in rules), key=lambda p: -p[0].priority)
    verdict = look_up(pairs, (space.fresh, space.dst.all))
    hits = {
        action.port: (flavour, bits)
        for hit, flavour, bits in verdict.hits
        for action in hit.actions
        if isinstance(action, Output)
    }
    return hits, [(each.one.priority, each.other.priority) for each in verdict.ambiguous]


def test_addresses_fall_apart_where_prefixes_end() -> None:
    intervals = Intervals([BLOCK, HALF])
    assert len(intervals) == 4
    assert intervals.of(HALF) & intervals.of(BLOCK) == intervals.of(HALF)
    assert intervals.containing(ADDRESS) == intervals.of(HALF)
    assert not intervals.knows(Prefix.of(ADDRESS))
    with pytest.raises(ValueError, match="no union of atoms"):
        intervals.of(Prefix.of(ADDRESS))
    assert list(intervals.ranges(intervals.of(BLOCK))) == [
        (IPv6Address("2001:db8::"), IPv6Address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"))
    ]
    assert intervals.size(intervals.of(HALF)) == 1 << 95


def test_the_first_address_is_not_the_anycast_address_of_its_subnet() -> None:
    intervals = Intervals([HALF, Prefix.of(ADDRESS)])
    assert intervals.first(intervals.of(HALF)) == IPv6Address("2001:db8::1")
    assert intervals.first(intervals.containing(ADDRESS)) == ADDRESS


def test_one_value_stands_for_all_that_nobody_names() -> None:
    values = Values([3, 5, 3], 0)
    assert values.atoms == (0, 3, 5)
    assert values.values(values.all & ~values.of(3)) == (0, 5)
    assert values.where([3, 5]) == values.all & ~values.other
    assert list(bit_numbers(values.of(5) | values.other)) == [0, 2]


def test_what_stands_for_the_rest_gives_way_to_a_rule_that_names_it() -> None:
    named = rule(1, 1, ip_proto=TCP, port_dst=OTHER_PORT)
    space = space_of(named)
    bits = space.upper(named.match)
    assert space.uppers.values(bits) == (Upper(TCP, OTHER_PORT),)
    rest_of_tcp = space.upper(Match(ip_proto=TCP)) & ~bits
    assert rest_of_tcp, "a service on that very port is not all services"
    assert not space_of(rule(1, 1, ip_proto=TCP)).knows(Tables.of([named]))


def test_a_space_knows_tables_that_are_no_finer() -> None:
    space = space_of(rule(1, 1, ipv6_dst=HALF, hop_limit=1, ip_proto=ICMPV6, icmpv6_type=128))
    assert space.knows(Tables.of([rule(9, 2, ipv6_dst=HALF, hop_limit=0)]))
    assert not space.knows(Tables.of([rule(9, 2, ipv6_dst=Prefix.of(ADDRESS))]))
    assert not space.knows(Tables.of([rule(9, 2, hop_limit=2)])), "2 stands for many here"
    assert not space.knows(Tables.of([rule(9, 2, ip_proto=UDP, port_dst=53)]))


def test_scopes_and_tags_are_sets_of_atoms() -> None:
    space = space_of(rule(1, 1, scope=5), rule(1, 2, edge_tag=7))
    group = space.dst.containing(IPv6Address("ff35::8000:1"))
    assert space.scope(5) & group
    assert not space.scope(5) & space.dst.containing(IPv6Address("ff3e::1"))
    assert space.tagged(7) & space.tagged(ANY_TAG) == space.tagged(7)
    assert space.tagged(ANY_TAG) & space.doubly_tagged == space.doubly_tagged


def test_what_a_condition_takes_and_what_it_leaves_is_everything_once() -> None:
    space = space_of(rule(1, 1, ipv6_dst=HALF, ipv6_src=BLOCK, ip_proto=TCP, hop_limit=1))
    whole: Region = (space.fresh, space.dst.all)
    condition = space.condition(Match(ipv6_dst=HALF, ipv6_src=BLOCK, ip_proto=TCP))
    taken = cut(whole, condition)
    assert taken is not None
    parts = [taken, *rest(whole, condition)]
    assert sum(size(part) for part in parts) == size(whole)
    assert merged(parts) == [whole]
    assert cut((*rest(whole, condition),)[0], condition) is None


def size(region: Region) -> int:
    flavour, destinations = region
    found = destinations.bit_count()
    for bits in flavour:
        found *= bits.bit_count()
    return found


def test_the_highest_priority_takes_its_part_first() -> None:
    hits, ambiguous = winners(rule(5, 1, ipv6_dst=HALF), rule(9, 2, ipv6_dst=Prefix.of(ADDRESS)), rule(1, 3))
    assert ambiguous == []
    assert {port: bits.bit_count() for port, (_, bits) in hits.items()} == {2: 1, 1: 2, 3: 2}


@pytest.mark.parametrize("turned", [False, True])
def test_rules_of_one_priority_that_overlap_are_reported(turned: bool) -> None:
    rules = [rule(5, 1, ipv6_dst=HALF), rule(5, 2, ipv6_src=BLOCK)]
    assert winners(*(rules[::-1] if turned else rules))[1] == [(5, 5)]


@pytest.mark.parametrize("turned", [False, True])
def test_a_rule_that_gets_nothing_any_more_is_still_a_rival(turned: bool) -> None:
    rules = [rule(0, 1), rule(0, 2, hop_limit=1)]
    assert winners(*(rules[::-1] if turned else rules))[1] == [(0, 0)]


def test_rules_that_do_the_same_or_are_for_other_packets_are_no_rivals() -> None:
    same = rule(5, 1, ipv6_dst=HALF), rule(5, 1, ipv6_src=BLOCK)
    apart = rule(5, 1, ip_proto=TCP), rule(5, 2, ip_proto=UDP)
    covered = rule(9, 3), rule(5, 1, ip_proto=TCP), rule(5, 2, ipv6_dst=HALF)
    for rules in (same, apart, covered):
        assert winners(*rules)[1] == []


def test_rules_that_differ_in_their_meter_do_different_things() -> None:
    one = rule(5, 1, ipv6_dst=HALF)
    assert winners(one, replace(rule(5, 1, ip_proto=TCP), meter=3))[1] == [(5, 5)]


def test_the_fields_of_a_fresh_packet_say_nothing_of_what_switches_find_out() -> None:
    space = space_of(rule(1, 1, source_class=1, too_big=0, ct_mark=5))
    for field in (Field.CLASS, Field.CT, Field.MARK, Field.TOO_BIG):
        assert space.fresh[field].bit_count() == 1
