"""Edges with a global address of their own (the baseline of `names`): users reach that and nothing more."""

from __future__ import annotations

from dataclasses import replace

from controller.plan.compile import plan
from controller.plan.facts import Binding, Facts, port_id
from controller.plan.pipeline import SourceClass, TableId
from controller.verify.proof import prove
from topologies.addressing import plan_addresses
from topologies.files import load
from topologies.spec import EdgeAddressing, Role

NETWORK = replace(load("figure2"), edges=EdgeAddressing.UNICAST)
EDGES = NETWORK.of_role(Role.EDGE)
ADDRESSES = plan_addresses(NETWORK)
BINDINGS = tuple(
    Binding(port_id(port), ADDRESSES.user_prefixes[port.node][0x100], ADDRESSES.hosts[port.peer].mac)
    for port in map(NETWORK.access_port, NETWORK.of_role(Role.USER)[:3:2])
)
FACTS = Facts(NETWORK, ADDRESSES, accepting=EDGES, alive=EDGES, bindings=BINDINGS)


def test_everything_that_must_hold_holds() -> None:
    healthy = prove(NETWORK, plan(FACTS), failures=False)
    failing = prove(NETWORK, plan(replace(FACTS, bindings=())))
    broken = [verdict.name for proof in (healthy, failing) for verdict in proof.verdicts if not verdict.holds]
    assert broken == []


def test_an_edge_that_cannot_be_reached_is_a_black_hole() -> None:
    tables = plan(FACTS)
    switch = NETWORK.access_port(EDGES[0]).node
    own = int(FACTS.addresses.edge_addresses[EDGES[0]])
    rules = {
        key: rule
        for key, rule in tables[switch].rules.items()
        if not (
            rule.table is TableId.UNICAST
            and rule.match.ipv6_dst is not None
            and (rule.match.ipv6_dst.value, rule.match.ipv6_dst.length) == (own, 128)
        )
    }
    assert len(rules) == len(tables[switch].rules) - 1
    proof = prove(NETWORK, tables | {switch: replace(tables[switch], rules=rules)}, failures=False)
    assert "no black holes" in [verdict.name for verdict in proof.verdicts if not verdict.holds]


def test_users_may_send_to_no_more_than_these_addresses() -> None:
    plain = replace(FACTS, topology=load("figure2"), addresses=plan_addresses(load("figure2")))

    def allowed(facts: Facts) -> set[str]:
        return {
            str(rule.match.ipv6_dst)
            for tables in plan(facts).values()
            for rule in tables.rules.values()
            if rule.table is TableId.PERMIT and rule.match.source_class == SourceClass.USER
        }

    added = {str(address) for address in FACTS.addresses.edge_addresses.values()}
    assert allowed(FACTS) == allowed(plain) | added
