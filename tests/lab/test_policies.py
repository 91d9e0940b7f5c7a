"""A sealed site with content for one region and on demand, rotated keys, a disk that rots: real packets."""

from __future__ import annotations

import pytest

from controller.plan.zones import Zones
from experiments.scenario import Mode, Scenario
from lab.jobs import Job
from tests.lab.labs import Finished, Labs
from tests.lab.policy_jobs import EVERYWHERE, ON_DEMAND, REGIONAL
from topologies.spec import Role
from topologies.three_tier import three_tier

NETWORK = three_tier(2, 4, 4, name="policies")
EDGES = NETWORK.of_role(Role.EDGE)
ADMIN_LOCAL = 4
REGION = tuple(edge for edge in EDGES if Zones(NETWORK).inside(ADMIN_LOCAL, EDGES[0], edge))
OTHERS = tuple(edge for edge in EDGES if edge not in REGION)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, labs: Labs) -> Finished:
    scenario = Scenario("policies", Mode.EDGE, NETWORK, 5, site="/")
    arguments = {"scenario": scenario.to_json(), "region": REGION}
    out = tmp_path_factory.mktemp("policies") / "out"
    finished = labs.run(Job("tests.lab.policy_jobs:policies", arguments, out, seed=5, wall_limit_s=300.0))
    assert finished.result.ok, finished.result.error
    return finished


def test_content_lies_where_its_class_says(lab: Finished) -> None:
    assert len(REGION) >= 2
    assert OTHERS
    holds = lab.facts()["holds"]
    assert {edge: sorted(holds[edge]) for edge in EDGES} == {
        edge: sorted([EVERYWHERE, REGIONAL] if edge in REGION else [EVERYWHERE]) for edge in EDGES
    }


def test_the_head_alone_takes_regional_content_from_the_origin(lab: Finished) -> None:
    facts = lab.facts()
    assert {edge for edge, times in facts["relayed"].items() if times} == {REGION[0]}
    assert all(facts["fetched"][edge] == 0 for edge in REGION[1:]), "the others have it by multicast"


def test_nothing_of_a_sealed_site_can_be_read_on_the_way(lab: Finished) -> None:
    # The head fetches the region's content by unicast, on the ULA plane, where nobody else is.
    readable = lab.facts()["readable"]
    assert {edge: readable[edge] for edge in EDGES if edge != REGION[0]} == dict.fromkeys(EDGES[1:], 0)


def test_what_is_not_here_is_fetched_when_a_user_asks(lab: Finished) -> None:
    facts = lab.facts()
    assert facts["answers"] == {name: [200, 300_000] * 2 for name in (EVERYWHERE, REGIONAL, ON_DEMAND)}
    assert sorted(facts["held_then"]) == sorted((EVERYWHERE, REGIONAL, ON_DEMAND))


def test_keys_are_rotated_and_stay_so_over_a_restart(lab: Finished) -> None:
    rotation = lab.facts()["rotation"]
    assert rotation["statuses"] == [0, 0]
    first, second, *more = rotation["keys"]
    assert len(first) == 2
    assert second == [rotation["new"]]
    assert more == [], "the old key's file, given again, changes nothing"


def test_a_spoilt_blob_is_found_and_mended(lab: Finished) -> None:
    assert lab.facts()["healed"] == {"damaged": 1, "is_whole": True}
