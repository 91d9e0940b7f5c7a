"""Claims about channels and local content: what holds in a sound run, and what breaks each claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.claims.catalogue import claims_of
from experiments.claims.model import Claim, Evidence
from experiments.plots import draw_all
from experiments.records import ScenarioRecords
from tests.unit.experiments.synthetic_streams import FIGURE2, channels_run, locality_run, on_link

RUNS: dict[str, Callable[[], dict[str, ScenarioRecords]]] = {
    "channels": channels_run,
    "locality": locality_run,
}
Change = Callable[[ScenarioRecords], dict[str, Any]]


def _claims(experiment: str, scenarios: dict[str, ScenarioRecords]) -> list[Claim]:
    return claims_of(experiment, Evidence(FIGURE2, scenarios))


@pytest.mark.parametrize("experiment", RUNS)
def test_a_sound_run_holds_every_claim(experiment: str) -> None:
    failing = [claim for claim in _claims(experiment, RUNS[experiment]()) if not claim.holds]
    assert failing == []


@pytest.mark.parametrize("experiment", RUNS)
def test_without_records_nothing_holds_and_nothing_breaks(experiment: str) -> None:
    claims = _claims(experiment, {})
    assert claims
    assert [claim for claim in claims if claim.holds] == []


@pytest.mark.parametrize(
    ("experiment", "wanted"),
    [("channels", {"channel-loads", "channel-bytes", "zap"}), ("locality", {"local-loads", "local-times"})],
)
def test_a_run_is_drawn(tmp_path: Path, experiment: str, wanted: set[str]) -> None:
    figures = draw_all(experiment, FIGURE2, RUNS[experiment](), tmp_path)
    assert {figure.name for figure in figures} == wanted | {"topology"}


def test_numbers() -> None:
    by_statement = {claim.statement: claim for claim in _claims("channels", channels_run())}
    one = by_statement["bytes of a channel that one edge watches, all links"]
    assert (one.value, one.baseline) == (2 * 4 * 50_000, 2 * 9 * 50_000)
    union = by_statement["bytes of a channel that 2 edges watch, origin's link"]
    assert (union.value, union.baseline, union.ratio) == (50_000, 100_000, 0.5)
    assert by_statement["zap time, first viewer of an edge, slowest"].value == pytest.approx(250)
    assert by_statement["join, slowest edge"].value == pytest.approx(31)
    assert by_statement["first byte by multicast after the first request, slowest edge"].value == (
        pytest.approx(0.7)
    )
    assert by_statement["prune, slowest edge"].value == pytest.approx(2021)
    local = _claims("locality", locality_run())
    assert [claim.value for claim in local] == [0, 1.12, 50.0, 50.0, 50.0, 3]
    assert local[1].baseline == 5


def _stray(phase: str, source: str, target: str, way: str = "multicast", stream: str = "live/news") -> Change:
    return lambda records: {
        "streams": (*records.streams, on_link(phase, stream, way, source, target, 100, 1.0))
    }


def _lost(records: ScenarioRecords) -> dict[str, Any]:
    return {"phases": tuple(replace(phase, lost=1) for phase in records.phases)}


def _viewing(**changes: Any) -> Change:
    return lambda records: {"viewings": (*records.viewings[:-1], replace(records.viewings[-1], **changes))}


def _branches(**changes: Any) -> Change:
    return lambda records: {"branches": tuple(replace(branch, **changes) for branch in records.branches)}


def _request(step: str, **changes: Any) -> Change:
    return lambda records: {
        "requests": tuple(replace(row, **changes) if row.window == step else row for row in records.requests)
    }


@pytest.mark.parametrize(
    ("experiment", "change", "broken"),
    [
        ("channels", _stray("nobody", "origin", "core1"), "nobody watches"),
        ("channels", _stray("nobody-again", "origin", "core1", "unicast"), "nobody watches"),
        ("channels", _lost, "nobody watches"),
        ("channels", _stray("one", "core1", "dist2"), "one edge watches"),
        ("channels", _stray("one", "dist1", "access1"), "one edge watches"),
        ("channels", _stray("several", "dist1", "access2", "unicast"), "origin's link"),
        ("channels", _viewing(still_s=0.5), "stood still"),
        ("channels", _viewing(status=502), "stood still"),
        ("channels", lambda records: {"branches": records.branches[:1]}, "join,"),
        ("channels", _branches(synced_s=99.0), "join,"),
        ("channels", _branches(synced_s=99.0), "prune,"),
        ("channels", lambda records: {"branches": records.branches[:3]}, "prune,"),
        ("channels", _stray("nobody-again", "access1", "edge1"), "nobody watches"),
        ("locality", _stray("unasked", "access1", "dist1", "unicast", "local"), "no other edge has asked"),
        (
            "locality",
            _stray("forgotten", "access1", "dist1", "multicast", "local/edge1"),
            "no other edge has asked",
        ),
        ("locality", _request("neighbour", error="differs"), "no other edge has asked"),
        ("locality", _request("neighbour", error="differs"), "a neighbour,"),
        ("locality", _request("neighbour", total_s=0.2), "a neighbour,"),
        ("locality", _request("asking", total_s=0.2), "user of another edge"),
        ("locality", _request("subscribed", status=502), "most-loaded"),
        ("locality", _request("subscribed", status=502), "that has subscribed"),
        ("locality", _request("too-large", status=201), "limits"),
        ("locality", _request("too-much", status=507), "limits"),
        ("locality", _request("again", status=429), "limits"),
    ],
)
def test_what_goes_wrong_breaks_the_claim_it_concerns(experiment: str, change: Change, broken: str) -> None:
    scenarios = RUNS[experiment]()
    scenarios["edge"] = replace(scenarios["edge"], **change(scenarios["edge"]))
    failing = [claim.statement for claim in _claims(experiment, scenarios) if not claim.holds]
    assert any(broken in statement for statement in failing), failing


def test_a_byte_after_the_branch_is_gone_breaks_the_prune_claim() -> None:
    scenarios = channels_run()
    late = on_link("leaving", "live/news", "multicast", "access3", "edge3", 100, 45.0)
    scenarios["edge"] = replace(scenarios["edge"], streams=(*scenarios["edge"].streams, late))
    prune = next(claim for claim in _claims("channels", scenarios) if claim.statement.startswith("prune"))
    assert not prune.holds
    assert "edge3 got something after that" in prune.notes


@pytest.mark.parametrize(("viewing", "broken"), [("cold", "zap time, first"), ("warm", "zap time, later")])
def test_a_viewer_who_never_sees_a_picture_breaks_the_zap_claim(viewing: str, broken: str) -> None:
    scenarios = channels_run()
    rows = scenarios["edge"].viewings
    kept = tuple(row for row in rows if row.viewing != viewing or row.kind == "playlist")
    scenarios["edge"] = replace(scenarios["edge"], viewings=kept)
    failing = [claim.statement for claim in _claims("channels", scenarios) if not claim.holds]
    assert any(statement.startswith(broken) for statement in failing)
