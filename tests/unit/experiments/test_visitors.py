"""Visitors: who comes when, the choice of who is attacked, and what breaks each claim of overload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.acts.overload import state_rows
from experiments.claims.model import Claim, Evidence
from experiments.claims.overload import bounded, refused, served, shed
from experiments.overload import Victims, narrow_edges
from experiments.preparation import UsageError
from experiments.process_load import LoadSample
from experiments.records import ScenarioRecords
from experiments.visit_records import EdgeStateChange, Period
from experiments.visitors import (
    Kind,
    Party,
    Visit,
    arrivals,
    half_head,
    party_from_json,
    party_to_json,
    request_head,
    ticks,
)
from topologies.files import load
from topologies.three_tier import three_tier

TOPOLOGY = load("figure2")
PARTY = Party(Kind.CROWD, "user1", 50, at_s=5.0, until_s=20.0, spread_s=1.0, part_bytes=100)
PERIODS = (Period("calm", 0.0, 5.0), Period("attack", 5.0, 20.0), Period("after", 26.0, 30.0))
LIMITED = ("crowd", "loris", "loris-many", "readers")


def test_arrivals_are_fixed_by_the_seed_and_within_the_spread() -> None:
    times = arrivals(PARTY, 1)
    assert len(times) == 50
    assert all(5.0 <= time_s <= 6.0 for time_s in times)
    assert list(times) == sorted(times)
    assert arrivals(PARTY, 1) == times != arrivals(PARTY, 2)


def test_ticks_end_before_it_is_time_to_go() -> None:
    assert list(ticks(1.0, 0.5, 2.5)) == [1.0, 1.5, 2.0]


def test_a_party_survives_json() -> None:
    assert party_from_json(party_to_json(PARTY)) == PARTY


def test_heads() -> None:
    head = request_head(PARTY, "www", is_last=True)
    assert head == b"GET / HTTP/1.1\r\nHost: www\r\nRange: bytes=0-99\r\nConnection: close\r\n\r\n"
    assert b"\r\n\r\n" not in half_head(PARTY, "www")


@pytest.mark.parametrize("name", ["figure2", "metro"])
def test_the_attacked_edge_serves_users_of_two_switches(name: str) -> None:
    topology = narrow_edges(load(name))
    chosen = Victims.of(topology)
    assert chosen.off != chosen.attacked
    switches = {topology.access_port(user).node for user in (*chosen.near, *chosen.others, chosen.far)}
    assert len(switches) == 3
    assert topology.access_port(chosen.attacked).link.rate_mbps == 50.0


def test_a_topology_without_room_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="overload needs three edges"):
        Victims.of(three_tier(1, 2, 2))


def test_states_come_from_the_controllers_log() -> None:
    events = [{"t": 3.0, "event": "edge-keeping", "edge": "edge2"}, {"t": 4.0, "event": "plan"}]
    assert state_rows(events, 1.0) == [("edge2", "keeping", "2.000000")]


def _visit(kind: Kind, started_s: float, **changes: object) -> Visit:
    usual = Visit(kind, "user3", 0, int(started_s * 10), 1, False, started_s, 0.004, 0.008, 0.02, 100, 206,
                  None, "edge2", "")  # fmt: skip
    return replace(usual, **changes)  # type: ignore[arg-type]


def _sample(t_s: float, held: int, rss_bytes: int) -> LoadSample:
    return LoadSample(t_s, "edge2", rss_bytes, 30 + held, held, 0, 0, held, 0, 0, 0, 0)


def _records(name: str) -> ScenarioRecords:
    visits = [_visit(kind, at_s) for kind in (Kind.REGULAR, Kind.NEWCOMER) for at_s in (1.0, 8.0, 27.0)]
    visits = [replace(row, edge="edge3") if row.kind == "newcomer" and row.started_s == 8.0 else row
              for row in visits]  # fmt: skip
    visits.append(_visit(Kind.CROWD, 6.0, status=503, retry_after_s=2.0))
    held = 20 if name in LIMITED else 1000
    return ScenarioRecords(
        name,
        Path("/nowhere"),
        TOPOLOGY,
        visits=tuple(visits),
        periods=PERIODS,
        process_loads=(_sample(0.0, 0, 10**6), _sample(8.0, held, 10**6 * (1 + held))),
        edge_states=(EdgeStateChange("edge2", "keeping", 5.1), EdgeStateChange("edge2", "accepting", 25.0)),
        facts={"scenario": {"capacity": 20, "edge_words": ["--max-connections", "500"]}},
    )


def _claims(**spoilt: ScenarioRecords) -> list[Claim]:
    scenarios = {name: _records(name) for name in (*LIMITED, "crowd-open", "loris-open")}
    evidence = Evidence(TOPOLOGY, scenarios | spoilt)
    return [claim for function in (served, refused, bounded, shed) for claim in function(evidence)]


def _broken(**spoilt: ScenarioRecords) -> set[str]:
    return {claim.statement.split(",")[0] for claim in _claims(**spoilt) if not claim.holds}


def test_a_sound_run_holds_every_claim() -> None:
    assert _broken() == set()


def test_claims_without_data_do_not_hold() -> None:
    assert not any(
        claim.holds
        for function in (served, refused, bounded, shed)
        for claim in function(Evidence(TOPOLOGY, {}))
    )


def test_what_breaks_each_claim() -> None:
    crowd, readers = _records("crowd"), _records("readers")
    failed = _visit(Kind.REGULAR, 9.0, error="reset", status=0)
    assert _broken(crowd=replace(crowd, visits=(*crowd.visits, failed))) == {
        "requests of served users that failed"
    }
    again = replace(failed, attempt=2, error="", status=206)
    assert _broken(crowd=replace(crowd, visits=(*crowd.visits, failed, again))) == set()
    slow = _visit(Kind.REGULAR, 9.0, total_s=1.0)
    assert _broken(crowd=replace(crowd, visits=(*crowd.visits, slow))) == {
        "95th percentile of served users' requests"
    }
    silent = _visit(Kind.CROWD, 7.0, status=503)
    assert _broken(crowd=replace(crowd, visits=(*crowd.visits, silent))) == {
        "median time from a request to its refusal"
    }
    many = _sample(9.0, 51, 10**6)
    assert _broken(crowd=replace(crowd, process_loads=(*crowd.process_loads, many))) == {
        "most requests being answered at once"
    }
    stayed = _visit(Kind.NEWCOMER, 9.0)
    assert _broken(readers=replace(readers, visits=(*readers.visits, stayed))) == {
        "new users an overloaded edge still got"
    }
    away = _visit(Kind.NEWCOMER, 28.0, edge="edge3")
    assert _broken(readers=replace(readers, visits=(*readers.visits, away))) == {
        "new users that are back at their edge after the overload"
    }
    dead = EdgeStateChange("edge2", "dead", 9.0)
    assert _broken(crowd=replace(crowd, edge_states=(*crowd.edge_states, dead))) == {
        "edges that the controller took for dead under attack"
    }
