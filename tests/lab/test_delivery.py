"""Edges that are slow, lossy, away or killed: nothing is lost, and nobody else pays for it.

AWAY_S=3600 and KILLS=200 in the environment for the long runs.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.scenario import Mode, Scenario
from lab.jobs import Job
from tests.lab.delivery_jobs import RATE_MBPS
from tests.lab.labs import Finished, Labs
from topologies.spec import Link, Role, Topology
from topologies.three_tier import three_tier

MOMENTS = int(os.environ.get("KILLS", "40"))
AWAY_S = float(os.environ.get("AWAY_S", "60"))
ROLES = {"healthy": "edge1", "lossy": "edge2", "slow": "edge3", "away": "edge4", "wiped": "edge5"}
CONTENT_BYTES = 12_000_000


def network() -> Topology:
    """Five edges; one loses a tenth of what is sent to it, one has a link of 1 Mbit/s."""
    topology = three_tier(1, 2, 5, name="hardship")
    changes = {ROLES["lossy"]: {"loss_percent": 10.0}, ROLES["slow"]: {"rate_mbps": 1.0}}

    def changed(link: Link) -> Link:
        for end, change in changes.items():
            if end in (link.a, link.b):
                return replace(link, **change)  # type: ignore[arg-type]
        return link

    return replace(topology, links=tuple(changed(link) for link in topology.links))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("content") / "site"
    folder.mkdir()
    noise = random.Random(5)
    for number in range(12):
        (folder / f"video{number}.mp4").write_bytes(noise.randbytes(CONTENT_BYTES // 12))
    return folder


@pytest.fixture(scope="module")
def hardship(content: Path, tmp_path_factory: pytest.TempPathFactory, labs: Labs) -> Finished:
    scenario = Scenario("hardship", Mode.EDGE, network(), 3, site=str(content))
    out = tmp_path_factory.mktemp("hardship") / "out"
    job = Job(
        "tests.lab.delivery_jobs:hardship",
        {"scenario": scenario.to_json(), "roles": ROLES, "away_s": AWAY_S},
        out,
        seed=3,
        wall_limit_s=900.0,
    )
    return checked(labs.run(job))


def checked(lab: Finished) -> Finished:
    assert lab.result.ok, lab.result.error
    return lab


def test_everybody_is_complete_in_the_end(hardship: Finished) -> None:
    assert hardship.facts()["damage"] == {edge: [] for edge in network().of_role(Role.EDGE)}


def test_bad_edges_do_not_slow_the_others(hardship: Finished) -> None:
    first = hardship.facts()["first_s"]
    least_s = CONTENT_BYTES * 8 / RATE_MBPS / 1e6
    assert first[ROLES["healthy"]] < 1.25 * least_s + 1.0, "with the look at the folder before"
    assert first[ROLES["lossy"]] < 1.6 * least_s + 2.0


def test_an_edge_behind_a_slow_link_steps_aside(hardship: Finished) -> None:
    facts = hardship.facts()
    assert facts["away"][ROLES["slow"]] >= 1
    assert facts["away"][ROLES["lossy"]] == 0, "10 % is what repair is for"
    assert facts["first_s"][ROLES["slow"]] < 1.4 * CONTENT_BYTES * 8 / 1e6, "about as fast as its link"


def test_those_that_were_away_or_lost_their_disk_catch_up_by_unicast(hardship: Finished) -> None:
    fetched = hardship.facts()["fetched"]
    assert fetched[ROLES["away"]] >= 1
    assert fetched[ROLES["wiped"]] >= 1
    assert fetched[ROLES["healthy"]] == fetched[ROLES["lossy"]] == 0


def test_nothing_acknowledged_is_lost_when_edges_and_origin_are_killed(
    tmp_path_factory: pytest.TempPathFactory, labs: Labs
) -> None:
    scenario = Scenario("kills", Mode.EDGE, three_tier(1, 2, 3, name="kills"), 11, site="/")
    out = tmp_path_factory.mktemp("kills") / "out"
    arguments = {"scenario": scenario.to_json(), "moments": MOMENTS}
    job = Job("tests.lab.delivery_jobs:kills", arguments, out, seed=11, wall_limit_s=900.0)
    facts = checked(labs.run(job)).facts()
    assert facts["problems"] == []
    assert sum(facts["killed"].values()) == MOMENTS
    assert len(facts["killed"]) == 4, "every edge and the origin"
    assert len(set(facts["versions"].values())) == 1
