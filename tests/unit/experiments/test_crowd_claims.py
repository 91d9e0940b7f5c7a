"""Claims of `latency`: what holds in a sound run, what breaks each claim, and what the intervals say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.claims.catalogue import claims_of
from experiments.claims.crowds import by_user, first_byte_ms
from experiments.claims.model import Claim, Evidence
from experiments.latency import scenarios
from experiments.options import Options
from experiments.scenario import Mode, scenario_from_json
from experiments.statistics import median
from experiments.summary import analyse
from experiments.table import intervals, ratio
from tests.unit.experiments.synthetic_crowds import CROWD, FIGURE2, USERS, Scenarios, latency_run
from tests.unit.experiments.synthetic_windows import write_run
from topologies.files import load
from topologies.spec import Role

MEDIAN, TAIL = "median time to first byte", "95th percentile time to first byte"
CORE = "bytes on the core links for user requests"


def _claims(run: Scenarios) -> dict[str, Claim]:
    return {claim.statement: claim for claim in claims_of("latency", Evidence(FIGURE2, run))}


def _broken(run: Scenarios) -> set[str]:
    return {statement for statement, claim in _claims(run).items() if not claim.holds}


def test_a_sound_run_holds_every_claim() -> None:
    claims = _claims(latency_run())
    assert [statement for statement, claim in claims.items() if not claim.holds] == []
    assert list(claims) == [
        "user-edge pairs with the configured round trip",
        "largest deviation of a round trip",
        *(
            f"{what}{against}, 6 users"
            for against in ("", " against cold caches")
            for what in (MEDIAN, TAIL, CORE)
        ),
    ]


def test_a_sound_run_is_read_from_its_files_and_drawn(tmp_path: Path) -> None:
    write_run(tmp_path, latency_run())
    context = {"lab": "guest", "clock": "virtual", "commit": "0123", "command": "nearcast run"}
    summary = analyse(tmp_path, FIGURE2, "latency", seed=1, context=context)
    assert [claim.label for claim in summary.claims if not claim.holds] == []
    drawn = {path.stem for path in (tmp_path / "plots").glob("*.svg")}
    assert {"crowds", "crowd-loads", "round-trips"} <= drawn


def test_the_numbers_are_those_of_the_users() -> None:
    run = latency_run()
    claim = _claims(run)[f"{MEDIAN}, 6 users"]
    values = [value for user in by_user(run["edge"], 6, first_byte_ms) for value in user]
    assert len(values) == 30
    assert claim.value == pytest.approx(median(values))
    for number, bounds in (
        (claim.value, claim.interval),
        (claim.baseline, claim.baseline_interval),
        (claim.ratio, claim.ratio_interval),
    ):
        assert number is not None
        assert bounds is not None
        assert bounds[0] <= number <= bounds[1]
    assert claim.ratio is not None
    assert claim.ratio < 0.5
    assert " to " in ratio(claim)
    assert intervals(claim).startswith("95 % intervals: value 8.")


def test_core_bytes_are_counted_and_their_interval_follows_who_downloads() -> None:
    claim = _claims(latency_run())[f"{CORE}, 6 users"]
    assert claim.value == 0
    assert claim.interval == (0.0, 0.0)
    assert claim.baseline == 30 * 2 * 2_000 or claim.baseline is not None
    assert claim.baseline_interval is not None
    assert claim.baseline is not None
    assert claim.baseline_interval[0] <= claim.baseline <= claim.baseline_interval[1]
    against_caches = _claims(latency_run())[f"{CORE} against cold caches, 6 users"]
    assert against_caches.baseline is not None
    assert 0 < against_caches.baseline < claim.baseline
    assert against_caches.baseline_interval is None


def test_one_slow_user_makes_the_interval_wide_but_one_slow_request_does_not() -> None:
    run = latency_run()
    edge = run["edge"]
    slow = replace(edge, requests=tuple(
        replace(row, ttfb_s=1.0) if row.user == USERS[0] else row for row in edge.requests
    ))  # fmt: skip
    calm, wide = _claims(run)[f"{TAIL}, 6 users"], _claims({**run, "edge": slow})[f"{TAIL}, 6 users"]
    assert calm.interval is not None
    assert wide.interval is not None
    assert wide.interval[1] == pytest.approx(1000)
    assert wide.interval[0] < 100
    assert not wide.holds


def test_a_failed_request_breaks_every_claim_about_its_way() -> None:
    run = latency_run()
    cache = run["cache"]
    first, *others = cache.requests
    run["cache"] = replace(cache, requests=(replace(first, error="timeout"), *others))
    assert _broken(run) == {f"{what} against cold caches, 6 users" for what in (MEDIAN, TAIL, CORE)}
    note = _claims(run)[f"{MEDIAN} against cold caches, 6 users"].notes[0]
    assert note == "1 of 30 requests failed in cache"


def test_who_did_not_ask_for_the_same_is_not_compared() -> None:
    run = latency_run()
    central = run["central"]
    run["central"] = replace(central, requests=central.requests[1:])
    assert _broken(run) == {f"{what}, 6 users" for what in (MEDIAN, TAIL, CORE)}


def test_a_central_cloud_as_near_as_the_edges_breaks_the_claims() -> None:
    run = latency_run()
    run["central"] = replace(run["edge"], name="central")
    assert _broken(run) == {f"{what}, 6 users" for what in (MEDIAN, TAIL, CORE)}


def test_edges_that_fetch_break_the_claim_about_the_core() -> None:
    run = latency_run()
    run["edge"] = replace(run["edge"], links=run["central"].links)
    assert f"{CORE}, 6 users" in _broken(run)


def test_without_data_nothing_holds() -> None:
    assert len(_broken({})) == 8


def test_scenarios_differ_in_the_way_only() -> None:
    metro = load("metro")
    edge, cache, central, paths = scenarios(Options(metro, 3, site=Path("/site"), off=("edge2",)))
    assert [item.name for item in (edge, cache, central, paths)] == ["edge", "cache", "central", "paths"]
    assert len(edge.topology.of_role(Role.USER)) == 256
    assert edge.topology == cache.topology == central.topology
    assert edge.acts == cache.acts == central.acts
    assert edge.acts[0].arguments["sizes"] == [16, 64, 256]
    assert (cache.pull_through, central.mode, central.off) == (True, Mode.CENTRAL, ())
    assert paths.topology == metro
    assert paths.all_pairs
    assert scenario_from_json(cache.to_json()) == cache
    assert CROWD == "users6"
