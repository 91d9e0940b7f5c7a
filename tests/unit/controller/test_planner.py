"""Planning again and again: what does not depend on a change is not made anew."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan import compile as compiled
from controller.plan.compile import Planner, plan
from controller.plan.facts import Facts, GatewayMode, Membership, Pin, port_id
from controller.plan.rules import Output
from tests.unit.controller.fake_pipeline import FakeNetwork
from tests.unit.controller.networks import facts_of, small
from topologies.spec import Role

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)


def test_nothing_new_gives_the_same_objects_and_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner()
    before = planner.plan(FACTS)
    monkeypatch.setattr(compiled, "Routing", None)
    after = planner.plan(replace(FACTS))
    assert all(after[switch] is before[switch] for switch in TOPOLOGY.switches)


def test_a_binding_changes_its_access_switch_only() -> None:
    planner = Planner()
    before = planner.plan(FACTS)
    fewer = replace(FACTS, bindings=FACTS.bindings[1:])
    after = planner.plan(fewer)
    changed = {switch for switch in TOPOLOGY.switches if after[switch] is not before[switch]}
    assert changed == {FACTS.bindings[0].port.switch}
    assert after == plan(fewer)


def test_the_link_of_an_edge_that_nobody_asks_changes_its_switch_only() -> None:
    planner = Planner()
    idle = replace(FACTS, accepting=("edge1", "edge2"), members=frozenset())
    before = planner.plan(idle)
    facts = replace(idle, down_ports=frozenset({port_id(TOPOLOGY.access_port("edge3"))}))
    after = planner.plan(facts)
    assert {switch for switch in TOPOLOGY.switches if after[switch] is not before[switch]} == {"a3"}
    assert after == plan(facts)


@pytest.mark.parametrize(
    "change",
    [
        {"gateway": GatewayMode.OPEN},
        {"pins": frozenset({Pin("a1", "edge3")})},
        {"accepting": ("edge2",)},
        {"alive": ("edge2",), "accepting": ("edge2",)},
        {"members": frozenset()},
        {"bindings": ()},
        {"down_ports": frozenset({port_id(TOPOLOGY.port("c1", "c2"))})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_there_and_back_is_planned_as_from_the_start(change: dict[str, object]) -> None:
    planner, changed = Planner(), replace(FACTS, **change)  # type: ignore[arg-type]
    first = planner.plan(FACTS)
    assert planner.plan(changed) == plan(changed) != first
    assert (planner.facts, planner.plan(FACTS)) == (changed, first)


def test_a_planner_takes_up_another_network() -> None:
    planner = Planner()
    planner.plan(FACTS)
    users = tuple(node for node in TOPOLOGY.nodes if node.name != "user4")
    links = tuple(link for link in TOPOLOGY.links if "user4" not in (link.a, link.b))
    other = facts_of(replace(TOPOLOGY, nodes=users, links=links))
    assert planner.plan(other) == plan(other)


def test_choices_that_are_said_to_be_others_are_taken_for_the_marks() -> None:
    planner = Planner()
    tables = planner.plan(FACTS, {})
    assert tables == plan(FACTS, plain_choices={}) != plan(FACTS)
    assert set(planner.choices) == set(TOPOLOGY.of_role(Role.ACCESS)), (
        "the plain routes lead somewhere all the same"
    )


def test_a_section_is_made_anew_when_a_fact_it_has_looked_at_changes() -> None:
    asked: list[str] = []

    def make(facts: Facts):  # type: ignore[no-untyped-def]
        asked.append("made")
        assert facts.members is not None
        return iter(())

    section = compiled._Section(make, TOPOLOGY.switches)
    section.update(FACTS)
    section.update(replace(FACTS, pins=frozenset({Pin("a1", "edge3")})))
    assert asked == ["made"], "it has not looked at the pins"
    member = Membership(port_id(TOPOLOGY.access_port("edge1")), FACTS.addresses.static_group, None)
    section.update(replace(FACTS, members=frozenset({member})))
    assert asked == ["made", "made"]


def test_a_section_with_two_rules_for_one_match_is_refused() -> None:
    rule = next(iter(plan(FACTS)["a1"].rules.values()))
    for actions, refused in ((rule.actions, False), ((Output(1),), True)):
        items = [("a1", rule), ("a2", rule), ("a1", replace(rule, actions=actions))]
        section = compiled._Section(lambda _, items=items: iter(items), TOPOLOGY.switches)
        if refused:
            with pytest.raises(ValueError, match="two rules for one match"):
                section.update(FACTS)
        else:
            assert section.update(FACTS) == {"a1", "a2"}


def test_a_group_that_takes_the_place_of_another_has_its_own_rules() -> None:
    planner = Planner()
    planner.plan(FACTS)
    group = IPv6Address(int(FACTS.addresses.static_group) + 1)
    other = replace(FACTS, members=frozenset(member._replace(group=group) for member in FACTS.members))
    assert planner.plan(other) == plan(other)
    origin = FACTS.addresses.hosts["origin"].unicast
    assert FakeNetwork(other, planner.plan(other)).send("origin", origin, group).hosts == [
        "edge1",
        "edge2",
        "edge3",
    ]
