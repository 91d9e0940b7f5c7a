"""Whatever the network, whoever is bound and listens, and whatever is down: what is planned is proved."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Membership, Opening, Pin, Sender, port_id
from controller.verify.ground import Expected
from controller.verify.packet import TCP
from controller.verify.proof import Proof, prove
from tests.property.test_controller_routing import GROUPS, facts_of, ports_of, some_links, topologies
from topologies.spec import Role, Topology
from topologies.three_tier import three_tier

DELAYS_MS = st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.0])


@st.composite
def tiers(draw: st.DrawFn) -> Topology:
    """Three tiers of a few switches, with delays that make many paths equal."""
    core, distribution = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    access = draw(st.integers(1, 4))
    topology = three_tier(
        core,
        distribution,
        access,
        users_per_access=draw(st.integers(1, 2)),
        edges=draw(st.integers(1, access)),
        mesh=draw(st.booleans()),
        spread=0,
    )
    links = tuple(replace(link, delay_ms=draw(DELAYS_MS)) for link in topology.links)
    return replace(topology, links=links)


@st.composite
def facts(draw: st.DrawFn, networks: st.SearchStrategy[Topology], most_down: int) -> Facts:
    """Some users are bound, some edges drain or are dead, and hosts listen to groups of all kinds."""
    topology = draw(networks)
    found = facts_of(topology, draw(some_links(topology, most_down)))
    edges, users = topology.of_role(Role.EDGE), topology.of_role(Role.USER)
    accepting = [edge for edge in edges if draw(st.integers(0, 3))]
    alive = [edge for edge in edges if edge in accepting or draw(st.booleans())]
    sources = [found.addresses.hosts[host].unicast for host in ("origin", *edges)]
    ports = [port_id(topology.access_port(host)) for host in (*edges, *users)]
    bindings = tuple(binding for binding in found.bindings if draw(st.integers(0, 4)))
    listeners = st.builds(
        Membership, st.sampled_from(ports), st.sampled_from(GROUPS), st.sampled_from([None, *sources])
    )
    pins = st.builds(Pin, st.sampled_from(topology.of_role(Role.ACCESS)), st.sampled_from(edges))
    bound = draw(st.dictionaries(st.sampled_from(users), st.sampled_from(edges), max_size=2))
    opened = [Opening(binding.address, TCP, port) for binding in bindings[:1] for port in (80, 443)]
    return replace(
        found,
        accepting=tuple(accepting),
        alive=tuple(alive),
        bindings=bindings,
        pins=draw(st.frozensets(pins, max_size=3)),
        bound=frozenset(Bound(*pair) for pair in bound.items()),
        openings=frozenset(opening for opening in opened if draw(st.booleans())),
        members=draw(st.frozensets(listeners, max_size=8)),
        senders=draw(
            st.frozensets(st.builds(Sender, st.sampled_from(sources), st.sampled_from(GROUPS)), max_size=2)
        ),
    )


def proof_of(facts: Facts, *, failures: bool) -> Proof:
    openings = frozenset((each.address, each.protocol, each.port) for each in facts.openings)
    expected = Expected(facts.accepting, dict(facts.bound), openings)
    return prove(facts.topology, plan(facts), down=facts.down_ports, expected=expected, failures=failures)


def broken(proof: Proof) -> list[str]:
    """What is not proved, in words."""
    return [
        f"{verdict.name}: {each.sentence} [{each.failure}]"
        for verdict in proof.verdicts
        for each in verdict.violations
    ]


@settings(max_examples=60, deadline=None)
@given(facts(topologies(), 3))
def test_what_is_planned_for_any_network_is_proved(facts: Facts) -> None:
    assert broken(proof_of(facts, failures=False)) == []


@settings(max_examples=25, deadline=None)
@given(facts(topologies(), 1))
def test_what_is_planned_for_any_small_network_is_proved_whatever_fails(facts: Facts) -> None:
    assert broken(proof_of(facts, failures=True)) == []


@settings(max_examples=25, deadline=None)
@given(facts(tiers(), 2))
def test_what_is_planned_for_three_tiers_is_proved_whatever_fails(facts: Facts) -> None:
    assert broken(proof_of(facts, failures=True)) == []


@settings(max_examples=15, deadline=None)
@given(facts(tiers(), 0), st.data())
def test_a_plan_that_does_not_know_what_is_down_is_still_safe(facts: Facts, data: st.DataObject) -> None:
    """The tables of before, in a network that has lost links since."""
    lost = ports_of(facts.topology, data.draw(some_links(facts.topology, 2)))
    proof = prove(facts.topology, plan(facts), down=lost, failures=False)
    safe = ("isolation", "scope", "private routing", "gateway", "anti-spoofing", "no ambiguity")
    assert [line for line in broken(proof) if line.partition(":")[0] in safe] == []
