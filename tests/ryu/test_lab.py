"""The controller on ryu 4.34 joins a whole lab and has requests served (`make test-ryu`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from experiments.preparation import plan_fetches
from experiments.scenario import Mode, Scenario
from lab.guest import run_in_guest
from lab.kernel import ensure_kernel
from tests.lab.lab_catalogue import SEED, topology
from tests.lab.labs import Finished, scenario_job
from tests.lab.site import make_site

PYTHON = Path(__file__).parents[2] / ".venv-ryu" / "bin" / "python"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """figure2 with ryu, until all page loads are done."""
    folder = tmp_path_factory.mktemp("ryu")
    site = make_site(folder / "site")
    scenario = Scenario(
        "ryu", Mode.EDGE, topology(), SEED, site=str(site), workload=plan_fetches(site, topology(), SEED)
    )
    job = scenario_job(replace(scenario, controller_python=str(PYTHON)), folder / "out")
    return Finished(job, run_in_guest(ensure_kernel().path, job, lambda _text: None, Event()))


def test_the_lab_comes_up_and_ends_well(finished: Finished) -> None:
    assert finished.result.ok, finished.result.error


def test_it_was_ryu_that_programmed_the_switches(finished: Finished) -> None:
    starts = [event for event in finished.events("controller.jsonl") if event["event"] == "start"]
    assert [start["runtime"] for start in starts] == ["ryu"]


def test_every_request_is_served_by_an_edge(finished: Finished) -> None:
    rows = finished.rows("transfers.csv")
    assert {row["status"] for row in rows} == {"200"}
    assert {row["edge"] for row in rows} <= {"edge1", "edge2", "edge3"}
