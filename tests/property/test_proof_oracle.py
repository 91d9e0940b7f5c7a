"""The spread of packets agrees with binary decision diagrams, for every sender, receiver and destination:
random networks and facts, faults in their tables, healthy and after a failure."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.compile import plan
from controller.plan.facts import Facts, PortId
from controller.plan.rules import Tables
from controller.verify.failures import single_failures
from controller.verify.ground import Ground
from controller.verify.packet import TCP
from controller.verify.space import OTHER_PROTOCOL, Field
from controller.verify.spread import NONE_DOWN, Spread
from controller.wire.frames import ICMPV6, UDP
from tests.property.bdd_network import HEADER, MEMORY, BddNetwork, Bits, prefixes_of
from tests.property.test_controller_routing import topologies
from tests.property.test_proof_topologies import facts
from tests.unit.controller.mutations import mutants
from tests.unit.controller.proof_cases import CASES, Case

PROTOCOLS = (TCP, UDP, ICMPV6, OTHER_PROTOCOL)


@cache
def bits() -> Bits:
    return Bits()


def case_of(known: Facts) -> Case:
    """A case with the facts that are given."""
    case = Case("drawn", known.topology)
    case.__dict__["facts"] = known
    return case


def check(known: Facts, tables: dict[str, Tables], failed: frozenset[PortId]) -> None:
    """Compare who gets what."""
    diagram, ground = bits(), Ground(known.topology, tables, known.down_ports)
    closed = ground.model.wiring.closed(failed)
    oracle = BddNetwork(diagram, known, tables, ground.model.down | closed)
    others = [field for field in (*HEADER, *MEMORY, "class", "big", "state", "mark") if field != "dst"]
    for host in known.topology.hosts:
        got = oracle.delivered(host)
        found = delivered(ground, host, closed)
        assert {name for name, packets in got.items() if packets != diagram.false} == {
            name for name, parts in found.items() if any(parts.values())
        }, f"{host} reaches"
        for name, packets in got.items():
            for protocol, destinations in found.get(name, {}).items():
                wanted = diagram.without(packets & diagram.is_value("proto", protocol), *others)
                said = prefixes_of(diagram, ground.space.dst.ranges(destinations))
                assert wanted == said, f"{host} to {name} by protocol {protocol}"


def delivered(ground: Ground, host: str, closed: frozenset[PortId]) -> dict[str, dict[int, int]]:
    """Who gets what a host may send, by the spread: destinations by protocol."""
    spread, found = Spread(ground.model, closed), dict[str, dict[int, int]]()
    if ground.ports[host] not in ground.model.down | closed:
        spread.add({ground.entry(host): ground.space.dst.all})
    for place, outcome, destinations in spread.outcomes():
        name = ground.model.host(place, outcome)
        if name is not None:
            protocols = {each.protocol for each in ground.space.uppers.values(outcome.flavour[Field.UPPER])}
            parts = found.setdefault(name, dict.fromkeys(PROTOCOLS, 0))
            for protocol in protocols & {*PROTOCOLS}:
                parts[protocol] |= destinations
    return found


def any_failure(data: st.DataObject, known: Facts) -> frozenset[PortId]:
    ports = [failure.ports for failure in single_failures(known.topology)]
    return data.draw(st.sampled_from([NONE_DOWN, *ports]))


@settings(max_examples=10, deadline=None)
@given(facts(topologies(), 1), st.data())
def test_what_is_planned_spreads_as_the_diagrams_say(known: Facts, data: st.DataObject) -> None:
    check(known, plan(known), any_failure(data, known))


@settings(max_examples=18, deadline=None)
@given(facts(topologies(), 1), st.integers(0, 1 << 30), st.data())
def test_what_is_faulty_spreads_as_the_diagrams_say(known: Facts, seed: int, data: st.DataObject) -> None:
    (mutant,) = mutants(case_of(known), seed, 1)
    check(known, dict(mutant.tables), any_failure(data, known))


def test_the_mutants_of_the_unit_tests_spread_as_the_diagrams_say() -> None:
    case = CASES["areas"]
    for mutant in mutants(case, 7, 6):
        check(case.facts, dict(mutant.tables), NONE_DOWN)
