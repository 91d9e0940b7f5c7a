"""Claims of the sweeps over ways of sync: what holds in a sound run, and what breaks each claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import sync
from experiments.cells import Method
from experiments.claims.catalogue import claims_of
from experiments.claims.model import Claim, Evidence
from experiments.summary import analyse
from experiments.sync_records import SyncCell, TunnelCount
from tests.unit.experiments.synthetic_sync import OPTIONS, Scenarios, sync_run, vpn_run
from tests.unit.experiments.synthetic_windows import write_run
from topologies.files import load
from topologies.spec import Role

RUNS: dict[str, Callable[[], Scenarios]] = {"sync": sync_run, "vpn": vpn_run}


def _claims(experiment: str, scenarios: Scenarios) -> list[Claim]:
    return claims_of(experiment, Evidence(sync.NETWORK, scenarios))


def _spoilt(scenarios: Scenarios, wanted: Callable[[SyncCell], bool], **changes: Any) -> Scenarios:
    """The run with these cells changed; a value that is a function is given the old one."""

    def change(cell: SyncCell) -> SyncCell:
        if not wanted(cell):
            return cell
        new = {
            name: value(getattr(cell, name)) if callable(value) else value for name, value in changes.items()
        }
        return replace(cell, **new)

    return {
        name: replace(records, cells=tuple(change(cell) for cell in records.cells))
        for name, records in scenarios.items()
    }


@pytest.mark.parametrize("experiment", RUNS)
def test_a_sound_run_holds_every_claim(experiment: str) -> None:
    claims = _claims(experiment, RUNS[experiment]())
    assert [claim.label for claim in claims if not claim.holds] == []
    assert {claim.id for claim in claims} == {"C3" if experiment == "sync" else "C6"}
    assert all(claim.source for claim in claims)


@pytest.mark.parametrize("experiment", RUNS)
def test_a_sound_run_is_read_from_its_files_and_drawn(tmp_path: Path, experiment: str) -> None:
    write_run(tmp_path, RUNS[experiment]())
    context = {"lab": "guest", "clock": "virtual", "commit": "0123", "command": "nearcast run"}
    summary = analyse(tmp_path, sync.NETWORK, experiment, seed=1, context=context)
    assert [claim.label for claim in summary.claims if not claim.holds] == []
    drawn = {path.stem for path in (tmp_path / "plots").glob("*.svg")}
    wanted = {"sync": {"sync-edges", "sync-times", "sync-loss", "sync-content"}, "vpn": {"tunnels"}}
    assert drawn == {"topology"} | wanted[experiment]


@pytest.mark.parametrize("experiment", RUNS)
def test_without_data_nothing_holds(experiment: str) -> None:
    assert [claim.label for claim in _claims(experiment, {}) if claim.holds] == []


def _multicast(cell: SyncCell) -> bool:
    return cell.method == Method.MULTICAST


def _more(share: float) -> Callable[[int], int]:
    return lambda size: round(size * share)


BREAKING: list[tuple[str, Callable[[SyncCell], bool], dict[str, Any], set[str]]] = [
    (
        "a large site that costs 6 %",
        lambda cell: _multicast(cell) and cell.content == "mixed-100MB",
        {"busiest_bytes": 105_100_000},
        {"most-loaded backbone link for 100 MB of mixed objects"},
    ),
    (
        "more for every edge when packets are lost",
        lambda cell: _multicast(cell) and cell.loss_percent == 5 and cell.edges == 32,
        {"origin_bytes": _more(1.032), "last_s": 0.17},
        {"bytes the origin sends at 5 % loss at each edge, the most of any number of edges"},
    ),
    (
        "repair although nothing was lost",
        lambda cell: _multicast(cell) and cell.objects == 10_000,
        {"repair_symbols": 1.0},
        {"bytes the origin sends for 10,000 files of 1 to 8 kB"},
    ),
    (
        "one cell with more bytes than UFTP",
        lambda cell: _multicast(cell) and cell.edges == 4 and cell.loss_percent == 1,
        {"origin_bytes": _more(1.07)},
        {"cells of the sweep in which the origin sends fewer bytes than UFTP"},
    ),
    (
        "one cell later than UFTP",
        lambda cell: _multicast(cell) and cell.edges == 4 and cell.loss_percent == 1,
        {"last_s": 99.0},
        {"cells of the sweep in which the last edge is complete no later than with UFTP"},
    ),
    (
        "slow without loss",
        lambda cell: _multicast(cell) and cell.content == "mixed-100MB" and not cell.loss_percent,
        {"last_s": 8.8},
        {"content per second until the last edge has it, at 0 % loss"},
    ),
    (
        "slow with loss",
        lambda cell: _multicast(cell) and cell.content == "mixed-100MB" and cell.loss_percent == 5,
        {"last_s": 12.1},
        {"content per second until the last edge has it, at 5 % loss"},
    ),
]


@pytest.mark.parametrize(
    ("wanted", "changes", "broken"), [case[1:] for case in BREAKING], ids=[case[0] for case in BREAKING]
)
def test_what_breaks_a_claim_of_sync(
    wanted: Callable[[SyncCell], bool], changes: dict[str, Any], broken: set[str]
) -> None:
    claims = _claims("sync", _spoilt(sync_run(), wanted, **changes))
    assert {claim.statement for claim in claims if not claim.holds} == broken


def test_an_edge_that_differs_breaks_what_was_measured_there() -> None:
    spoilt = _spoilt(sync_run(), lambda cell: _multicast(cell) and cell.content == "mixed-100MB", identical=1)
    broken = [claim for claim in _claims("sync", spoilt) if not claim.holds]
    assert "multicast cells in which every edge has every file bit by bit" in {c.statement for c in broken}
    assert "most-loaded backbone link for 100 MB of mixed objects" in {c.statement for c in broken}


def test_a_sweep_without_100_mb_says_so() -> None:
    small = {name: records for name, records in sync_run().items() if name != "large"}
    claim = _claims("sync", small)[0]
    assert not claim.holds
    assert "the largest content was 4 MB, not 100 MB" in claim.notes


def test_what_is_measured_against_a_peer_that_failed_is_not_counted() -> None:
    whole = _claims("sync", sync_run())[3].total
    spoilt = _spoilt(
        sync_run(), lambda cell: cell.method == Method.UFTP and cell.edges == 4, error="uftp ended"
    )
    assert whole is not None
    assert _claims("sync", spoilt)[3].total == whole - 4


def test_an_origin_that_sends_more_for_each_edge_breaks_c6() -> None:
    scenarios = {
        name: replace(
            records,
            cells=tuple(
                replace(cell, origin_bytes=cell.origin_bytes + cell.edges * 20_000)
                if _multicast(cell)
                else cell
                for cell in records.cells
            ),
        )
        for name, records in vpn_run().items()
    }
    broken = {claim.statement for claim in _claims("vpn", scenarios) if not claim.holds}
    assert broken == {
        "what the origin sends for one more edge",
        "what the origin sends to 32 edges, against one",
    }


@pytest.mark.parametrize("change", [{"clear_frames": 1}, {"esp_frames": 0}])
def test_a_baseline_that_is_not_esp_is_seen(change: dict[str, int]) -> None:
    def spoil(counts: tuple[TunnelCount, ...]) -> tuple[TunnelCount, ...]:
        return tuple(replace(count, **change) for count in counts)

    scenarios = {name: replace(found, tunnels=spoil(found.tunnels)) for name, found in vpn_run().items()}
    broken = [claim.statement for claim in _claims("vpn", scenarios) if not claim.holds]
    assert broken == ["frames to a site behind a tunnel that left the origin without ESP"]


def test_slopes_are_those_of_the_formulas() -> None:
    found = {claim.statement: claim for claim in _claims("vpn", vpn_run())}
    slope = found["what the origin sends for one more edge"]
    assert slope.value == 0
    assert slope.baseline == pytest.approx(1.13)
    entries = found["security associations and policies for one more edge, at both ends"]
    assert (entries.value, entries.baseline) == (0, 10)


def test_labs_have_the_edges_that_they_are_named_for_and_the_line_of_the_stream() -> None:
    for scenario in sync.scenarios(OPTIONS):
        running = sync.running(scenario.topology, scenario.off)
        assert scenario.name in ("large", f"edges-{len(running)}")
        origin = scenario.topology.of_role(Role.ORIGIN)[0]
        assert scenario.topology.ports[origin][0].link.rate_mbps == OPTIONS.rate_mbps
        names = [cell["method"] + str(cell) for cell in scenario.acts[0].arguments["cells"]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(("network", "off", "counts"), [
    ("metro", (), (1, 2, 4, 8)),
    ("metro", ("edge1", "edge5"), (1, 2, 4, 6)),
])  # fmt: skip
def test_the_sweep_ends_with_all_edges_that_there_are(
    network: str, off: tuple[str, ...], counts: tuple[int, ...]
) -> None:
    assert sync.edge_counts(load(network), off) == counts
