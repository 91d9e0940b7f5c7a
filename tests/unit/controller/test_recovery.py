"""A restarted controller finds everything in the switches: its first plan changes nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from controller.plan.anycast import choices
from controller.plan.compile import plan
from controller.plan.facts import Facts, Membership, Opening, Pin, Sender, port_id
from controller.state.recovery import recover
from tests.unit.controller.networks import facts_of, small, user_address

TOPOLOGY = small()
ANY_SOURCE = IPv6Address("ff0e::8000:7")
FACTS = facts_of(TOPOLOGY)
EVERYTHING = replace(
    FACTS,
    pins=frozenset({Pin("a1", "edge2")}),
    openings=frozenset({Opening(user_address(TOPOLOGY, "user2"), 6, 8080)}),
    senders=frozenset({Sender(FACTS.addresses.hosts["origin"].unicast, ANY_SOURCE)}),
    members=FACTS.members | {Membership(port_id(TOPOLOGY.access_port("user1")), ANY_SOURCE, None)},
)


def recovered(facts: Facts) -> Facts:
    """The facts as the tables they lead to tell them."""
    remembered = recover(TOPOLOGY, plan(facts))
    return replace(
        facts,
        bindings=remembered.bindings,
        members=frozenset(remembered.members),
        senders=frozenset(remembered.senders),
        openings=frozenset(remembered.openings),
        pins=frozenset(remembered.pins),
    )


def test_the_plan_of_what_was_recovered_is_the_plan_that_was_found() -> None:
    for facts in (FACTS, EVERYTHING):
        assert plan(recovered(facts)) == plan(facts)


def test_bindings_members_openings_senders_and_pins_are_all_found() -> None:
    found = recovered(EVERYTHING)
    assert found.bindings == tuple(sorted(EVERYTHING.bindings))
    assert found.members == EVERYTHING.members
    assert found.openings == EVERYTHING.openings
    assert found.senders == EVERYTHING.senders
    assert found.pins == EVERYTHING.pins


def test_the_choice_of_every_access_switch_with_users_is_found() -> None:
    assert recover(TOPOLOGY, plan(FACTS)).choices == choices(FACTS)


def test_empty_switches_tell_nothing() -> None:
    remembered = recover(TOPOLOGY, {})
    assert not any((remembered.bindings, remembered.members, remembered.openings, remembered.choices))
