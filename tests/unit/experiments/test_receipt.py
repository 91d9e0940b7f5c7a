"""The receipt: a network that was not the one asked for makes the run suspect, with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.receipt import make_receipt
from experiments.records import RoundTrip, load_run
from experiments.summary import summarise
from tests.unit.experiments.synthetic import Fault, write_demo
from topologies.files import load

METRO = load("metro")
CONTEXT: dict[str, Any] = {"lab": "guest", "clock": "virtual", "commit": "abc", "wall": {"labs_s": 1.5}}


def test_a_sound_run_passes_every_check(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    receipt = make_receipt(load_run(tmp_path, METRO), CONTEXT, seed=7)
    assert not receipt.suspect
    data = receipt.to_json()
    assert (data["lab"], data["clock"], data["kernel"], data["seed"]) == (
        "guest",
        "virtual",
        "6.12.0-nearcast",
        7,
    )
    versions = {"curl": "curl 8.0", "openvswitch": "ovs-vswitchd 3.1.0", "python": "3.11.2"}
    assert data["versions"] == versions
    assert data["delay"]["pairs"] == 16
    assert len(data["delay"]["worst"]) == 5
    assert data["rate"]["directions"] == 3 * 102
    assert data["drops"]["push"]["packets_lost_on_links"] == 10
    assert data["wall"] == {"labs_s": 1.5}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(round_trip_factor=1.006), "delay: 16 of 16 round trips are off"),
        (Fault(unshaped=True), "rate: access1 to user1 carried"),
        (Fault(capture_drops=1), "captures: frames were lost at origin in edge"),
    ],
)
def test_a_wrong_network_is_suspect_and_no_claim_holds(tmp_path: Path, fault: Fault, reason: str) -> None:
    write_demo(tmp_path, METRO, fault)
    scenarios = load_run(tmp_path, METRO)
    summary = summarise("demo", METRO, scenarios, seed=1, context=CONTEXT)
    assert summary.receipt.suspect
    assert [text for text in summary.receipt.reasons if text.startswith(reason)]
    assert not any(claim.holds for claim in summary.claims)


def test_a_run_without_round_trips_is_suspect(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    (tmp_path / "raw/edge/rtt.csv").unlink()
    receipt = make_receipt(load_run(tmp_path, METRO), CONTEXT, seed=1)
    assert receipt.reasons == ("delay: no round trip was measured",)


def test_the_real_clock_may_be_off_by_what_a_machine_needs(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO, Fault(round_trip_factor=1.02))
    scenarios = load_run(tmp_path, METRO)
    assert make_receipt(scenarios, CONTEXT, seed=1).suspect
    assert not make_receipt(scenarios, {**CONTEXT, "clock": "real"}, seed=1).suspect


def test_a_repeated_syn_on_a_lossy_network_says_nothing_about_delay(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    edge = load_run(tmp_path, METRO)["edge"]
    late = replace(edge, round_trips=(*edge.round_trips, RoundTrip("user1", "edge1", 4.0, 1004.0)))
    assert make_receipt({"edge": late}, CONTEXT, seed=1).suspect
    lossy = replace(METRO, links=tuple(replace(link, loss_percent=2.0) for link in METRO.links))
    assert not make_receipt({"edge": replace(late, topology=lossy)}, CONTEXT, seed=1).suspect


def test_a_scenario_that_failed_is_suspect_with_its_error(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    result = {"ok": False, "error": "the guest stopped", "facts": {}}
    (tmp_path / "raw/push/job-result.json").write_text(json.dumps(result))
    receipt = make_receipt(load_run(tmp_path, METRO), CONTEXT, seed=1)
    assert receipt.reasons == ("scenarios: push: the guest stopped",)


def test_no_scenario_at_all_is_suspect() -> None:
    assert "scenarios: no scenario left raw data" in make_receipt({}, CONTEXT, seed=1).reasons
