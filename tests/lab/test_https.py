"""HTTPS in a lab: one name, one address, every edge the same certificate, plain HTTP sent to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from experiments.preparation import plan_fetches
from experiments.scenario import Mode, Scenario
from lab.jobs import Job
from tests.lab.lab_catalogue import SEED, topology
from tests.lab.labs import Finished, Labs
from tests.lab.paths import by_distance
from topologies.spec import Role

NETWORK = topology()
NEAREST = {user: by_distance(NETWORK, user)[0] for user in NETWORK.of_role(Role.USER)}
USERS = tuple({edge: user for user, edge in NEAREST.items()}.values())[:2]
URL = f"https://{NETWORK.service.name}"
HSTS = "max-age=31536000"


@pytest.fixture(scope="module")
def https(site: Path, tmp_path_factory: pytest.TempPathFactory, labs: Labs) -> Finished:
    workload = plan_fetches(site, NETWORK, SEED, https=True)
    workload = {user: workload[user] for user in USERS}
    scenario = Scenario("https", Mode.EDGE, NETWORK, SEED, site=str(site), workload=workload, https=True)
    arguments = {"scenario": scenario.to_json(), "users": list(USERS)}
    out = tmp_path_factory.mktemp("https") / "out"
    lab = labs.run(Job("tests.lab.https_jobs:https", arguments, out, seed=SEED, wall_limit_s=300.0))
    assert lab.result.ok, lab.result.error
    return lab


def test_users_fetch_over_https_from_their_nearest_edge(https: Finished) -> None:
    rows = https.rows("transfers.csv")
    assert {row["user"] for row in rows} == set(USERS)
    for row in rows:
        assert row["url"].startswith(f"{URL}/")
        assert (row["status"], row["exitcode"], row["edge"]) == ("200", "0", NEAREST[row["user"]]), row


def test_both_versions_of_http_say_where_to_stay(https: Finished) -> None:
    for user in USERS:
        said = https.facts()[user]
        assert said["http2"] == f"2 200 0 {NEAREST[user]} |{HSTS}"
        assert said["trusting"] == said["http2"], "whatever runs in the lab trusts its CA"
        assert said["http1"] == f"1.1 200 0 {NEAREST[user]} |{HSTS}"


def test_plain_http_is_sent_to_the_services_name(https: Finished) -> None:
    for user in USERS:
        said = https.facts()[user]
        assert said["plain"] == f"1.1 308 0 {NEAREST[user]} {URL}/a%20b?c=d|"
        assert said["forged"] == f"1.1 308 0 {NEAREST[user]} {URL}/|"


def test_every_edge_has_the_same_certificate_and_no_other_ca_will_do(https: Finished) -> None:
    facts = https.facts()
    assert len({NEAREST[user] for user in USERS}) == 2
    assert len({facts[user]["certificate"] for user in USERS}) == 1
    for user in USERS:
        assert facts[user]["stranger"].split()[:3] == ["0", "000", "60"]


def test_a_new_certificate_ends_nothing(https: Finished, site: Path) -> None:
    facts = https.facts()
    (new,) = {facts[user]["new_certificate"] for user in USERS}
    assert new != facts[USERS[0]]["certificate"]
    assert facts["was_slow"]
    assert facts["slow_exitcode"] == 0
    assert facts["slow_sha256"] == hashlib.sha256((site / "video/film.mpg").read_bytes()).hexdigest()
    for edge in NETWORK.of_role(Role.EDGE):
        shown = [event for event in https.events(f"{edge}.jsonl") if event["event"] == "certificate"]
        assert [event["sha256"] for event in shown] == [facts[USERS[0]]["certificate"], new]
