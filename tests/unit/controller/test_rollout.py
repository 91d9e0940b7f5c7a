"""Bad news goes everywhere at once; good news in stages in which every packet meets tables that fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.plan.compile import plan
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Tables
from controller.transition import Transition, transition_stages
from tests.unit.controller.networks import facts_of, small

TOPOLOGY = small()
WHOLE = facts_of(TOPOLOGY)
BROKEN = facts_of(TOPOLOGY, down_links=["a1-d1"])
DRAINED = replace(WHOLE, accepting=("edge2", "edge3"))


def final(old: dict[str, Tables], stages: list[dict[str, Tables]]) -> dict[str, Tables]:
    tables = dict(old)
    for stage in stages:
        assert stage, "no stage is empty"
        tables |= stage
    return tables


@pytest.mark.parametrize(("before", "after"), [(WHOLE, BROKEN), (BROKEN, WHOLE), (WHOLE, DRAINED)])
def test_the_last_stage_leads_to_the_plan(before: object, after: object) -> None:
    old, new = plan(before), plan(after)  # type: ignore[arg-type]
    for urgent in (False, True):
        stages = transition_stages(old, new, before, after, urgent)  # type: ignore[arg-type]
        assert final(old, stages) == new  # type: ignore[arg-type]


def test_bad_news_is_one_stage() -> None:
    assert len(transition_stages(plan(WHOLE), plan(BROKEN), WHOLE, BROKEN, True)) == 1


def test_nothing_new_is_no_stage() -> None:
    assert transition_stages(plan(WHOLE), plan(WHOLE), WHOLE, WHOLE, False) == []


def test_a_mended_link_is_taken_by_the_nearest_switches_first() -> None:
    stages = transition_stages(plan(BROKEN), plan(WHOLE), BROKEN, WHOLE, False)
    routes_change = [
        {
            switch
            for switch, tables in stage.items()
            if any(key.table is TableId.UNICAST for key in tables.rules)
        }
        for stage in stages
    ]
    assert {"a1", "d1"} & routes_change[0] or {"a1", "d1"} & routes_change[1]


def test_switches_that_come_back_to_the_others_are_brought_up_to_date_first() -> None:
    """Once an edge behind them was sent to while nothing led back from there yet."""
    lost = facts_of(TOPOLOGY, down_links=["a1-d1", "a1-d2"])
    stages = transition_stages(plan(lost), plan(WHOLE), lost, WHOLE, False)
    assert set(stages[0]) == {"a1"}
    routes = {key for key, rule in plan(WHOLE)["a1"].rules.items() if rule.origin is Origin.ROUTE}
    assert routes <= set(stages[0]["a1"].rules)
    assert final(plan(lost), stages) == plan(WHOLE)  # type: ignore[arg-type]


def test_while_the_choice_changes_every_user_packet_to_the_service_is_tagged() -> None:
    stages = transition_stages(plan(WHOLE), plan(DRAINED), WHOLE, DRAINED, False)
    assert len(stages) >= 4
    tagging = stages[1]["a1"]
    new_flows = [
        rule
        for rule in tagging.rules.values()
        if rule.table is TableId.FLOW and str(rule.match.ct_state) == "new" and rule.match.ipv6_dst
    ]
    assert new_flows
    assert all("push_tag" in str(rule) for rule in new_flows)
    for switch in ("a1", "d1", "d2"):
        before_moving = stages[1].get(switch, stages[0].get(switch))
        if before_moving is not None:
            routes = {k: r for k, r in before_moving.rules.items() if r.origin is Origin.SERVICE}
            old = {k: r for k, r in plan(WHOLE)[switch].rules.items() if r.origin is Origin.SERVICE}
            assert routes == old, "plain routes move only after everything is tagged"


def test_a_transition_hands_out_its_stages_when_they_have_settled() -> None:
    old, new = plan(WHOLE), plan(DRAINED)
    stages = transition_stages(old, new, WHOLE, DRAINED, False)
    transition = Transition()
    transition.begin(old, stages)
    assert transition.now(new) == old
    now_s = 0.0
    for _ in stages:
        assert transition.ready(now_s, confirmed=True)
        tables = transition.next_stage(now_s + 1.0, now_s + 5.0)
        assert not transition.ready(now_s, confirmed=True)
        assert not transition.ready(now_s + 1.0, confirmed=False)
        now_s += 1.0
    assert tables == new
    assert not transition.is_running
    assert transition.now(new) == new


def test_a_switch_that_does_not_confirm_does_not_hold_up_the_others_for_ever() -> None:
    old, new = plan(WHOLE), plan(DRAINED)
    transition = Transition()
    transition.begin(old, transition_stages(old, new, WHOLE, DRAINED, False))
    transition.next_stage(1.0, 5.0)
    assert transition.deadline_s(confirmed=False) == 5.0
    assert transition.ready(5.0, confirmed=False)
