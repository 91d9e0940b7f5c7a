"""Faults that proofs have overlooked once, each in the smallest form: now they are found, and by a packet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Opening, Pin, port_id
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Bucket,
    CheckLarger,
    Commit,
    CtState,
    Group,
    GroupKind,
    Match,
    Output,
    PushTag,
    Rule,
    SetEthDst,
    Tables,
    ToGroup,
    Track,
)
from controller.verify.ground import Expected
from controller.verify.packet import TCP
from controller.verify.proof import Proof, prove
from tests.unit.controller.networks import facts_of, small, user_address
from tests.unit.controller.proof_cases import CASES, Case, narrow

Wanted = Callable[[Rule], bool]


def faulty(case: Case, switch: str, wanted: Wanted, change: Callable[[Rule], Rule | None]) -> Proof:
    """A proof of tables in which one rule is another."""
    before = case.tables[switch]
    rule = next(rule for rule in before.rules.values() if wanted(rule))
    after = change(rule)
    rules = {key: kept for key, kept in before.rules.items() if key != rule.key}
    if after is not None:
        rules[after.key] = after
    return proof_of(case, switch, replace(before, rules=rules))


def proof_of(case: Case, switch: str, tables: Tables) -> Proof:
    return prove(case.topology, {**case.tables, switch: tables}, expected=case.expected)


def found(proof: Proof) -> dict[str, list[str]]:
    """The invariants that do not hold, with what is wrong and shown by a packet."""
    return {
        verdict.name: [each.sentence for each in verdict.violations if each.witness is not None]
        for verdict in proof.verdicts
        if not verdict.holds
    }


SMALL, NARROW = CASES["small"], CASES["narrow"]
ZONE = 2
"""Of user2, who is alone at a2."""


def sends(kind: type) -> Wanted:
    return lambda rule: any(isinstance(action, kind) for action in rule.actions)


def without(kind: type) -> Callable[[Rule], Rule]:
    return lambda rule: replace(
        rule, actions=tuple(action for action in rule.actions if not isinstance(action, kind))
    )


def test_nothing_is_wrong_before() -> None:
    for case in (SMALL, NARROW):
        assert found(prove(case.topology, case.tables, expected=case.expected)) == {}


def test_a_memory_of_somebody_else_lets_packets_in() -> None:
    proof = faulty(
        SMALL, "a2",
        lambda rule: rule.table is TableId.UNICAST and Track(ZONE, TableId.DELIVER) in rule.actions,
        lambda rule: replace(rule, actions=(Track(1, TableId.DELIVER),)),
    )  # fmt: skip
    assert "user2 gets what another's memory knows" in found(proof)["gateway"]


@pytest.mark.parametrize("table", [TableId.GATEWAY, TableId.UNICAST])
def test_a_user_who_is_not_looked_up_is_cut_off(table: TableId) -> None:
    proof = faulty(
        SMALL, "a2",
        lambda rule: rule.table is table and rule.match.is_fragment is None and sends(Track)(rule),
        lambda rule: replace(without(Track)(rule), goto=TableId(table + 1)),
    )  # fmt: skip
    assert found(proof)["no black holes"]


def test_a_connection_that_is_not_remembered_has_no_answers() -> None:
    is_first = lambda rule: rule.table is TableId.FLOW and rule.match.ipv6_dst is None  # noqa: E731
    proof = faulty(SMALL, "a2", lambda rule: is_first(rule) and sends(Commit)(rule), without(Commit))
    assert "user2 begins a connection that its port does not remember" in found(proof)["no black holes"]


@pytest.mark.parametrize("mark", [None, 3])
def test_a_connection_with_the_wrong_mark_does_not_stay_at_its_edge(mark: int | None) -> None:
    """user1 is to be served by edge2, and has connections with edge3 besides."""
    proof = faulty(
        SMALL, "a1",
        lambda rule: Commit(1, 2) in rule.actions,
        lambda rule: replace(rule, actions=(Commit(1, mark), PushTag(2))),
    )  # fmt: skip
    assert found(proof)["nearest"]


def test_a_class_that_may_not_send_there_is_noticed_though_nothing_gets_through() -> None:
    for host, source_class in (("edge1", 3), ("edge3", 3), ("user2", 1)):
        port = port_id(SMALL.topology.access_port(host))
        proof = faulty(
            SMALL, port.switch,
            lambda rule, number=port.number, wanted=source_class: (  # type: ignore[misc]
                rule.match.in_port == number and rule.source_class == wanted
            ),
            lambda rule: replace(rule, source_class=4),
        )  # fmt: skip
        assert found(proof)["no black holes"], host


def test_a_binding_that_is_lost_is_noticed() -> None:
    proof = faulty(SMALL, "a2", lambda rule: rule.source_class == 1, lambda _: None)
    assert found(proof)["no black holes"]


def test_a_host_that_is_addressed_by_another_mac_does_not_hear() -> None:
    def other(rule: Rule) -> Rule:
        actions = (SetEthDst("02:00:00:00:00:42") if isinstance(a, SetEthDst) else a for a in rule.actions)
        return replace(rule, actions=tuple(actions))

    proof = faulty(SMALL, "a2", lambda rule: rule.table is TableId.DELIVER, other)
    assert "user2 gets a frame that is for another" in found(proof)["no black holes"]


def groups(change: Callable[[Group], Group], kind: GroupKind = GroupKind.FAST_FAILOVER) -> Proof:
    """A proof of tables in which a group of a1 is another."""
    before = SMALL.tables["a1"]
    changed = {
        number: change(group) if group.kind is kind and len(group.buckets) > 1 else group
        for number, group in before.groups.items()
    }
    return proof_of(SMALL, "a1", replace(before, groups=changed))


@pytest.mark.parametrize("watch", [0, 1, None])
def test_a_bucket_that_watches_the_wrong_port_protects_from_nothing(watch: int | None) -> None:
    def change(group: Group) -> Group:
        port = None if watch is None else group.buckets[1 - watch].watch_port
        changed = replace(group.buckets[watch or 0], watch_port=port)
        buckets = [*group.buckets]
        buckets[watch or 0] = changed
        return replace(group, buckets=tuple(buckets))

    assert found(groups(change))["no black holes"]


def test_a_packet_is_sent_on_once() -> None:
    proof = groups(lambda group: replace(group, kind=GroupKind.ALL))
    assert "a1 sends more than one copy on" in found(proof)["no black holes"]


def test_what_is_copied_in_the_middle_of_a_tree_is_heard_twice() -> None:
    before = SMALL.tables["d2"]
    changed = {
        number: replace(group, buckets=(*group.buckets, group.buckets[-1]))
        if group.kind is GroupKind.ALL
        else group
        for number, group in before.groups.items()
    }
    proof = proof_of(SMALL, "d2", replace(before, groups=changed))
    assert any("gets a packet of a group twice" in each for each in found(proof)["no black holes"])


def test_a_third_bucket_is_proved_as_the_first_two_are() -> None:
    """It is used when two ports are down, which no single failure does."""
    port = port_id(SMALL.topology.access_port("user4")).number
    proof = groups(lambda group: replace(group, buckets=(*group.buckets, Bucket((Output(port),), port))))
    assert any(each.startswith("user4 gets") for each in found(proof)["gateway"])


def test_what_fits_is_not_too_big() -> None:
    refused = faulty(
        NARROW, "a1",
        lambda rule: rule.origin is Origin.TOO_BIG, lambda rule: replace(rule, match=Match()),
    )  # fmt: skip
    measured = faulty(
        NARROW, "a1",
        lambda rule: rule.table is TableId.ROUTER and sends(CheckLarger)(rule),
        lambda rule: replace(rule, actions=(CheckLarger(1000, 0),)),
    )  # fmt: skip
    assert found(refused)["no black holes"]
    assert found(measured)["no black holes"]


def test_no_way_is_so_long_that_a_well_behaved_packet_is_spent() -> None:
    proof = faulty(
        SMALL, "d1",
        lambda rule: rule.match.hop_limit == 1, lambda rule: replace(rule, match=Match(hop_limit=63)),
    )  # fmt: skip
    assert found(proof)["no black holes"]


def test_a_service_that_a_user_has_subscribed_to_is_let_in_and_into_its_own_memory() -> None:
    is_opened = lambda rule: rule.origin is Origin.REQUEST and sends(Commit)(rule)  # noqa: E731
    assert found(faulty(SMALL, "a1", is_opened, lambda _: None))["no black holes"]
    actions = lambda rule: (Commit(4), *rule.actions[1:])  # noqa: E731
    assert "gateway" in found(faulty(SMALL, "a1", is_opened, lambda r: replace(r, actions=actions(r))))


def test_a_service_on_any_port_is_one_service_only() -> None:
    """Also on the port that stands for all that no rule names."""
    facts = facts_of(small())
    opening = Opening(user_address(facts.topology, "user1"), TCP, 49999)
    tables = plan(replace(facts, openings=frozenset({opening})))
    subscribed = Expected(facts.accepting, {}, frozenset({(opening.address, TCP, 49999)}))
    assert found(prove(facts.topology, tables, expected=subscribed, failures=False)) == {}


def proof_with(facts: Facts) -> Proof:
    expected = Expected(facts.accepting, dict(facts.bound))
    return prove(facts.topology, plan(facts), down=facts.down_ports, expected=expected)


def test_an_edge_that_drains_keeps_what_it_has() -> None:
    facts = facts_of(small(), allowed=frozenset({"edge1", "edge2"}))
    assert found(proof_with(replace(facts, pins=frozenset({Pin("a1", "edge3"), Pin("a3", "edge3")})))) == {}


def test_who_is_cut_off_is_not_planned_for() -> None:
    facts = facts_of(small(), down_links=["d1-c1", "d1-c2", "d2-c1", "d2-c2", "user2-a2"])
    assert found(proof_with(facts)) == {}
    bound = frozenset({Bound("user1", "edge2")})
    alone = facts_of(small(), down_links=["a2-d1", "a2-d2"])
    assert found(proof_with(replace(alone, bound=bound))) == {}


def test_what_goes_round_behind_a_failure_is_for_those_who_are_cut_off() -> None:
    """Also where packets may end as too big elsewhere."""
    assert found(proof_with(facts_of(narrow()))) == {}


def test_what_belongs_to_nothing_may_be_dropped_by_a_rule_of_its_own() -> None:
    rule = Rule(TableId.FLOW, 5000, Match(ct_state=CtState.INVALID), Origin.GATEWAY)
    before = SMALL.tables["a1"]
    proof = proof_of(SMALL, "a1", replace(before, rules={**before.rules, rule.key: rule}))
    assert found(proof) == {}


def test_a_group_that_is_not_there_is_a_black_hole() -> None:
    proof = faulty(SMALL, "d1", sends(ToGroup), lambda rule: replace(rule, actions=(ToGroup(0x2FFF_FFFF),)))
    assert found(proof)["no black holes"]
