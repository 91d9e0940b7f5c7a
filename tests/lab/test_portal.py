"""The portal and what edges tell of themselves on the real network, by curl; `clients` has a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.portal import portal_page
from experiments.scenario import Mode, Scenario
from lab.jobs import Job
from tests.lab.lab_catalogue import OFFERING, SEED, topology
from tests.lab.labs import Labs
from tests.lab.paths import by_distance

NETWORK = topology()
USERS = ["user1", "user5"]
PAGE = portal_page([("/long.bin", "A long file")])
LONG_BYTES = 2_000_000


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory, labs: Labs) -> Any:
    site = tmp_path_factory.mktemp("portal")
    (site / "index.html").write_text(PAGE)
    scenario = Scenario(
        "portal", Mode.EDGE, NETWORK, SEED, site=str(site), offering=OFFERING, long_file_bytes=LONG_BYTES
    )
    arguments = {"scenario": scenario.to_json(), "users": USERS}
    out: Path = tmp_path_factory.mktemp("portal") / "out"
    lab = labs.run(Job("tests.lab.portal_jobs:portal", arguments, out, seed=SEED, wall_limit_s=300.0))
    assert lab.result.ok, lab.result.error
    return json.loads((out / "facts.json").read_text())


def test_everybody_hears_of_the_nearest_edge_and_what_it_has(facts: Any) -> None:
    for user in USERS:
        assert facts["told"][user] == {
            "edge": by_distance(NETWORK, user)[0],
            "version": 1,
            "complete": True,
            "files": 2,
            "channels": list(OFFERING.channels),
            "upload_bytes": OFFERING.upload_bytes,
            "load_percent": 0,
        }


def test_the_page_and_a_channel_it_names_can_be_had(facts: Any) -> None:
    assert facts["page"] == PAGE
    assert facts["playlist"].startswith("#EXTM3U")


def test_a_download_goes_on_at_the_next_edge_byte_for_byte(facts: Any) -> None:
    first, second = by_distance(NETWORK, USERS[0])[:2]
    (broken, *refused, ended) = facts["parts"]
    assert (broken[0], broken[1]) == (first, 200)
    assert broken[2] != 0
    assert all(part[2] != 0 for part in refused)
    assert ended == [second, 206, 0, broken[3]]
    assert broken[3] == f'"{facts["sha256"]}"'
    assert facts["told_after"]["edge"] == second
