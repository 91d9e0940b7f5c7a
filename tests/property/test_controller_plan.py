"""Whatever fails and whoever listens, the planned tables keep their promises."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.compile import plan
from controller.plan.facts import Facts, ServiceAt, port_id
from controller.plan.rules import Group, Meter, Rule, RuleKey, Step, Tables, diff
from tests.unit.controller.fake_pipeline import FakeNetwork
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.graph import nearest_edges, shortest_path_tree
from topologies.spec import Role

TOPOLOGY = small()
EDGES = TOPOLOGY.of_role(Role.EDGE)
USERS = TOPOLOGY.of_role(Role.USER)
LINKS = tuple(link.name for link in TOPOLOGY.links)

facts_of_any_state = st.builds(
    lambda members, down, allowed, service_at: facts_of(
        TOPOLOGY, members=members, down_links=down, allowed=allowed, service_at=service_at
    ),
    st.sets(st.sampled_from(EDGES)).map(sorted),
    st.sets(st.sampled_from(LINKS), max_size=6).map(sorted),
    st.none() | st.frozensets(st.sampled_from(EDGES)),
    st.sampled_from(ServiceAt),
)


def apply(tables: Tables, changes: tuple[object, ...]) -> Tables:
    """What a switch does with the changes, refusing rules that name a missing group or meter."""
    rules: dict[RuleKey, Rule] = dict(tables.rules)
    groups: dict[int, Group] = dict(tables.groups)
    meters: dict[int, Meter] = dict(tables.meters)
    for change in changes:
        item, step = change.item, change.step  # type: ignore[attr-defined]
        if step in (Step.METER_ADD, Step.METER_MODIFY):
            assert (item.number in meters) == (step is Step.METER_MODIFY)
            meters[item.number] = item
        elif step is Step.METER_DELETE:
            assert item.number not in {rule.meter for rule in rules.values()}
            del meters[item.number]
        elif step is Step.RULE_SET:
            assert item.meter is None or item.meter in meters
            wanted = {action.group for action in item.actions if hasattr(action, "group")}
            assert wanted <= groups.keys()
            rules[item.key] = item
        elif step is Step.RULE_DELETE:
            del rules[item.key]
        elif step is Step.GROUP_ADD:
            assert item.number not in groups
            groups[item.number] = item
        elif step is Step.GROUP_MODIFY:
            assert item.number in groups
            groups[item.number] = item
        else:
            used = {action.group for r in rules.values() for action in r.actions if hasattr(action, "group")}
            assert item.number not in used
            del groups[item.number]
    return Tables(rules, groups, meters)


@settings(max_examples=60, deadline=None)
@given(facts_of_any_state)
def test_users_reach_the_nearest_allowed_edge_and_nothing_else(facts: Facts) -> None:
    fake = FakeNetwork(facts, plan(facts))
    service, origin = facts.addresses.service, facts.addresses.hosts["origin"].unicast
    central = facts.service_at is ServiceAt.ORIGIN
    answering = ("origin",) if central else facts.accepting
    nearest = nearest_edges(TOPOLOGY, answering, down_links=facts.down_links)
    for user in USERS:
        address = user_address(TOPOLOGY, user)
        expected = [nearest[user].edge] if user in nearest else []
        assert fake.send(user, address, service).hosts == expected
        for target in ("origin", *EDGES):
            assert fake.send(user, address, facts.addresses.hosts[target].unicast).hosts == []
        assert fake.send(user, address, facts.addresses.static_group).copies == {}
        assert fake.send(user, origin, facts.addresses.static_group).copies == {}


@settings(max_examples=60, deadline=None)
@given(facts_of_any_state)
def test_each_member_that_can_be_reached_gets_one_copy_and_each_link_carries_one(facts: Facts) -> None:
    origin = facts.addresses.hosts["origin"].unicast
    trace = FakeNetwork(facts, plan(facts)).send("origin", origin, facts.addresses.static_group)
    tree = shortest_path_tree(TOPOLOGY, "origin", down_links=facts.down_links)
    ports = {port_id(TOPOLOGY.access_port(edge)): edge for edge in EDGES}
    members = [ports[member.port] for member in facts.members if member.port not in facts.down_ports]
    assert trace.hosts == sorted(edge for edge in members if edge in tree.parent)
    assert all(count == 1 for count in trace.copies.values())


@settings(max_examples=60, deadline=None)
@given(facts_of_any_state, st.sets(st.sampled_from(LINKS), max_size=1))
def test_nothing_loops_while_a_failure_is_still_unknown_to_the_controller(
    facts: Facts, broken: set[str]
) -> None:
    dead = frozenset(
        port_id(port)
        for name in TOPOLOGY.switches
        for port in TOPOLOGY.ports[name]
        if port.link.name in broken
    )
    fake = FakeNetwork(facts, plan(facts), dead)
    for user in USERS:
        address = user_address(TOPOLOGY, user)
        assert len(fake.send(user, address, facts.addresses.service).hosts) <= 1
        for other in USERS:
            assert fake.send(user, address, user_address(TOPOLOGY, other)).hosts in ([], [other])


@settings(max_examples=40, deadline=None)
@given(facts_of_any_state, facts_of_any_state)
def test_a_difference_applied_gives_what_was_desired(before: Facts, after: Facts) -> None:
    old, new = plan(before), plan(after)
    for switch in TOPOLOGY.switches:
        assert apply(old[switch], diff(old[switch], new[switch])) == new[switch]
        assert diff(new[switch], plan(after)[switch]) == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**128 - 1).map(IPv6Address), st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_user_packet_whatever_its_addresses_reaches_the_origin(src: IPv6Address, dst: IPv6Address) -> None:
    facts = facts_of(TOPOLOGY)
    fake = FakeNetwork(facts, plan(facts))
    own = user_address(TOPOLOGY, "user1")
    ula = facts.addresses.hosts["origin"].unicast
    for source in (src, own, ula, facts.addresses.service):
        for target in (
            dst,
            ula,
            IPv6Address(int(facts.addresses.infrastructure[0]) | int(dst) & (1 << 80) - 1),
        ):
            assert "origin" not in fake.send("user1", source, target).hosts
