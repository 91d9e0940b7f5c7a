"""A user's malformed control packets harm nobody and fill nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Event

from controller.state.membership import MAX_GROUPS_PER_PORT
from controller.state.neighbours import MAX_BINDINGS_PER_PORT
from experiments.scenario import Mode, Scenario
from lab.guest import run_in_guest
from lab.jobs import Job
from lab.kernel import KernelImage
from tests.lab.fuzz_jobs import OTHERS, SENDER
from tests.lab.lab_catalogue import SEED, topology

PACKETS = 5000
"""The figure of the issue, 100,000, takes minutes: `FUZZ_PACKETS=100000` in the environment."""


def test_the_service_is_unharmed_and_what_is_kept_is_bounded(image: KernelImage, tmp_path: Path) -> None:

    packets = int(os.environ.get("FUZZ_PACKETS", PACKETS))
    scenario = Scenario("fuzz", Mode.EDGE, topology(), SEED)
    job = Job(
        "tests.lab.fuzz_jobs:fuzz",
        {"scenario": scenario.to_json(), "packets": packets},
        tmp_path / "out",
        seed=SEED,
        wall_limit_s=600,
    )
    result = run_in_guest(image.path, job, lambda _text: None, Event())
    assert result.ok, result.error
    facts = json.loads((job.out / "facts.json").read_text())
    assert facts["sent"] == packets
    assert {user: facts["failed"][user] for user in OTHERS} == dict.fromkeys(OTHERS, 0), facts["tried"]
    status = facts["status"]
    assert status["edges_accepting"] == ["edge1", "edge2", "edge3"]
    assert len(status["hosts"][SENDER]) <= MAX_BINDINGS_PER_PORT
    assert sum(SENDER in hosts for hosts in status["members"].values()) <= MAX_GROUPS_PER_PORT
