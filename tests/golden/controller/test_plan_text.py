"""The whole plan of a small network as text: a change of any rule shows as a difference to read."""

from __future__ import annotations

from pathlib import Path

from controller.plan.compile import plan, render
from tests.unit.controller.networks import facts_of, small

EXPECTED = Path(__file__).with_name("small.txt")


def test_the_plan_of_the_small_network() -> None:
    text = render(plan(facts_of(small())))
    assert text == EXPECTED.read_text(), (
        f"the plan differs from {EXPECTED.name}; if that is meant, replace it"
    )
