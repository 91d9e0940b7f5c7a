"""Faults, windows and scenarios as plain data: in order, and the same after a journey through JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from experiments.faults import (
    KINDS,
    ControllerKill,
    Cut,
    Drain,
    Fault,
    Kill,
    Overload,
    faults_from_json,
    faults_to_json,
    timetable,
)
from experiments.options import Options
from experiments.runner import EXPERIMENTS, experiment_module
from experiments.scenario import Scenario, scenario_from_json
from experiments.timelines import colours
from topologies.files import load
from topologies.spec import Role

TOPOLOGIES = ("metro", "figure2")


def _any(kind: type[Fault]) -> Fault:
    values: dict[str, Any] = {
        item.name: 3 if item.type == "int" else f"{item.name}1" for item in fields(kind)[2:]
    }
    return kind(**values, at_s=1.5, mend_s=2.5)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_survives_json(kind: str) -> None:
    fault = _any(KINDS[kind])
    (back,) = faults_from_json(json.loads(json.dumps(faults_to_json([fault]))))
    assert back == fault
    assert type(back) is KINDS[kind]


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        faults_from_json([{"kind": "Flood", "at_s": 1.0, "mend_s": None}])


def test_the_timetable_is_in_order_and_a_fault_for_good_is_not_mended() -> None:
    cut, kill = Cut("a", "b", at_s=2, mend_s=5), Kill("edge1", at_s=1)
    drain = Drain("edge2", at_s=2, mend_s=3)
    steps = timetable([cut, kill, drain])
    assert [(step.at_s, step.fault, step.is_break) for step in steps] == [
        (1, kill, True),
        (2, cut, True),
        (2, drain, True),
        (3, drain, False),
        (5, cut, False),
    ]


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        (Cut("access1", "edge1", at_s=0), "access1 edge1"),
        (ControllerKill(at_s=0), "controller"),
        (Overload("edge1", "user1", 5, at_s=0), "edge1 user1 5"),
    ],
)
def test_a_fault_says_what_it_happens_to(fault: Fault, target: str) -> None:
    assert fault.target == target


def _scenarios(experiment: str, topology: str) -> list[Scenario]:
    options = Options(load(topology), 3, site=Path("/site"))
    found: list[Scenario] = experiment_module(experiment).scenarios(options)
    return found


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_scenario_survives_json(experiment: str, topology: str) -> None:
    for scenario in _scenarios(experiment, topology):
        data = json.loads(json.dumps(scenario.to_json()))
        back = scenario_from_json(data)
        assert json.loads(json.dumps(back.to_json())) == data
        assert (back.windows, back.faults, back.temporary) == (
            scenario.windows,
            scenario.faults,
            scenario.temporary,
        )


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_scenarios_name_only_what_their_topology_has(experiment: str, topology: str) -> None:
    for scenario in _scenarios(experiment, topology):
        network = scenario.topology
        users, edges = network.of_role(Role.USER), network.of_role(Role.EDGE)
        assert set(scenario.off) < set(edges) or not scenario.off
        for window in scenario.windows:
            assert {*window.probers, *(get.user for get in window.gets)} <= set(users)
            assert all(0 <= get.at_s <= window.length_s for get in window.gets)
            for step in timetable(window.faults):
                assert step.at_s < window.length_s
                if isinstance(step.fault, Cut):
                    assert network.port(step.fault.a, step.fault.b)


def test_the_same_seed_gives_the_same_scenarios() -> None:
    assert _scenarios("drain", "metro") == _scenarios("drain", "metro")


def test_the_drain_makes_a_thousand_requests_and_its_downloads_span_the_drain() -> None:
    (scenario,) = _scenarios("drain", "metro")
    (window,) = scenario.windows
    drain = next(fault for fault in window.faults if isinstance(fault, Drain))
    long = [get for get in window.gets if get.rate_mbps is not None]
    assert len(window.gets) - len(long) == 1000
    assert drain.mend_s is not None
    assert min(get.at_s for get in long) < drain.at_s < max(get.at_s for get in long) < drain.mend_s
    assert all(
        scenario.long_file_bytes * 8e-6 / (get.rate_mbps or 1) > drain.mend_s - drain.at_s for get in long
    )


def test_series_have_colours_of_their_own_in_the_order_of_first_use() -> None:
    found = colours(["edge3", "edge1", "edge3", "edge2"])
    assert list(found) == ["edge3", "edge1", "edge2"]
    assert len(set(found.values())) == 3
