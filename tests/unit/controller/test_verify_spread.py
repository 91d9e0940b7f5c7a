"""How packets spread: what arrives where, what goes round, and what a failure changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.plan.facts import PortId, port_id
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Bucket,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    PopTag,
    Prefix,
    PushTag,
    Rule,
    Tables,
    ToGroup,
)
from controller.verify.atoms import Bits
from controller.verify.failures import single_failures
from controller.verify.ground import Ground
from controller.verify.outcomes import Outcome, Sent
from controller.verify.space import Field, Tag
from controller.verify.spread import Model, Place, Spread, Wiring
from tests.unit.controller.proof_cases import CASES
from tests.unit.controller.test_walk import A_B, A_C, A_USER, B_A, B_C, B_EDGE, C_A, C_B, DST, TOPOLOGY
from topologies.spec import Role

TO = Prefix.of(DST)


def through(*pairs: tuple[int, int], groups: tuple[Group, ...] = ()) -> Tables:
    """A switch that sends on what comes in by one port out of another; port numbers above 100 are groups."""
    rules = [
        Rule(
            TableId.INGRESS, 1, Match(in_port=came), Origin.ROUTE,
            (DecHopLimit(), Output(goes) if goes < 100 else ToGroup(goes)),
        )
        for came, goes in pairs
    ]  # fmt: skip
    return Tables.of(rules, groups)


def model_of(a: Tables, b: Tables, c: Tables | None = None) -> Model:
    return Model(Wiring(TOPOLOGY), {"a": a, "b": b, "c": c or Tables()}, besides=([TO], (), ()))


def from_user(model: Model, down: frozenset[PortId] = frozenset()) -> Spread:
    spread = Spread(model, down)
    spread.add({Place("a", A_USER, model.space.fresh): model.space.dst.of(TO)})
    return spread


def reached(spread: Spread) -> set[str]:
    """The hosts that something is delivered to."""
    hosts = (spread.model.host(place, outcome) for place, outcome, _ in spread.outcomes())
    return {host for host in hosts if host is not None}


def test_packets_spread_hop_by_hop_to_a_host() -> None:
    spread = from_user(model_of(through((A_USER, A_B)), through((B_A, B_EDGE))))
    assert [place[:2] for place in spread.arrived] == [("a", A_USER), ("b", B_A)]
    assert reached(spread) == {"edge1"}
    assert spread.circling() == {}


def test_what_is_forgotten_between_switches_does_not_make_more_places() -> None:
    model = model_of(through((A_USER, A_B), (A_C, A_B)), through((B_A, B_EDGE)))
    spread = from_user(model)
    spread.add({Place("a", A_C, model.space.fresh): model.space.dst.of(TO)})
    assert len([place for place in spread.arrived if place.switch == "b"]) == 1


def test_what_comes_by_again_goes_round() -> None:
    model = model_of(through((A_USER, A_B), (A_C, A_B)), through((B_A, B_C)), through((C_B, C_A)))
    spread = from_user(model)
    circle = {place[:2] for place in spread.circling()}
    assert circle >= {("a", A_C), ("b", B_A), ("c", C_B)}
    assert ("a", A_USER) not in circle


def test_the_same_switch_in_another_guise_is_no_circle() -> None:
    tagging = Rule(TableId.INGRESS, 2, Match(in_port=A_USER), Origin.ROUTE, (PushTag(1), Output(A_B)))
    back = Rule(TableId.INGRESS, 3, Match(in_port=A_C, edge_tag=1), Origin.ROUTE, (PopTag(), Output(A_USER)))
    spread = from_user(model_of(Tables.of([tagging, back]), through((B_A, B_C)), through((C_B, C_A))))
    tags = spread.model.space.tags
    seen = {
        place.switch: tags.values(place.flavour[Field.TAG]) for place in spread.arrived if place.switch != "a"
    }
    assert Tag(1) in seen["b"]
    assert spread.circling() == {}


FIRST = Group(200, GroupKind.FAST_FAILOVER, (Bucket((Output(A_B),), A_B), Bucket((Output(A_C),), A_C)))


def test_a_link_that_is_down_at_the_other_end_is_down_here_too() -> None:
    model = model_of(through((A_USER, 200), groups=(FIRST,)), through((B_A, B_EDGE), (B_C, B_EDGE)))
    closed = model.wiring.closed([PortId("b", B_A)])
    assert closed == {PortId("b", B_A), PortId("a", A_B)}
    assert reached(from_user(model)) == {"edge1"}
    assert [place[:2] for place in from_user(model, closed).arrived] == [("a", A_USER), ("c", C_A)]


def test_a_detour_is_what_a_failure_changes() -> None:
    model = model_of(
        through((A_USER, 200), groups=(FIRST,)), through((B_A, B_EDGE), (B_C, B_EDGE)), through((C_A, C_B))
    )
    detour, changed = from_user(model).detour(frozenset({PortId("a", A_B)}))
    assert [(place.switch, outcome.port) for place, outcome, _ in changed if isinstance(outcome, Sent)] == [
        ("a", A_C)
    ]
    assert {place[:2] for place in detour.arrived} == {("c", C_A), ("b", B_C)}
    assert reached(detour) == {"edge1"}


@pytest.mark.parametrize("watch", [99, A_C])
def test_a_port_that_is_not_there_is_never_alive(watch: int) -> None:
    first = replace(FIRST.buckets[0], watch_port=watch)
    group = replace(FIRST, buckets=(first, FIRST.buckets[1]))
    model = model_of(through((A_USER, 200), groups=(group,)), through((B_A, B_EDGE)))
    assert reached(from_user(model)) == (set() if watch == 99 else {"edge1"})


Event = tuple[Place, Outcome]


def events(found: list[tuple[Place, Outcome, Bits]]) -> dict[Event, Bits]:
    merged: dict[Event, Bits] = {}
    for place, outcome, bits in found:
        merged[place, outcome] = merged.get((place, outcome), 0) | bits
    return merged


@pytest.mark.parametrize("name", ["small", "areas", "narrow"])
def test_with_its_detour_a_spread_has_all_that_happens_after_a_failure(name: str) -> None:
    """What is found anew with ports down has happened before, or is in the detour."""
    case = CASES[name]
    model = Ground(case.topology, case.tables).model
    hosts = case.topology.of_role(Role.USER, Role.EDGE, Role.ORIGIN, Role.DNS)
    ports = [port_id(case.topology.access_port(host)) for host in hosts]

    def spread_with(down: frozenset[PortId]) -> Spread:
        spread = Spread(model, down)
        spread.add(
            {Place(*port, model.space.fresh): model.space.dst.all for port in ports if port not in down}
        )
        return spread

    healthy = spread_with(frozenset())
    before = events(list(healthy.outcomes()))
    for failure in single_failures(case.topology):
        closed = model.wiring.closed(failure.ports)
        detour, changed = healthy.detour(failure.ports)
        new = events([*changed, *detour.outcomes()])
        for event, bits in events(list(spread_with(closed).outcomes())).items():
            known = before.get(event, 0) | new.get(event, 0)
            assert not bits & ~known, f"{failure.text}: {event}"
