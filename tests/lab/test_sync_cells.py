"""Every way of sync in one small lab: it brings everything, costs what it must, and leaves nothing behind."""

from __future__ import annotations

import pytest

from experiments import sync
from experiments.cells import Cell, Method
from experiments.content import Content, Kind
from experiments.loads import phase_loads
from experiments.options import Options
from experiments.records import ScenarioRecords, load_scenario
from experiments.sync_records import SyncCell
from tests.lab.labs import Labs, scenario_job
from topologies.spec import Role
from topologies.three_tier import three_tier

EDGES = 2
NETWORK = three_tier(1, 2, EDGES, users_per_access=1)
CONTENT = Content(Kind.MIXED, 300_000)
CELLS = [Cell(method, CONTENT) for method in Method] + [
    Cell(method, CONTENT, 5.0) for method in sync.MULTICASTS
]


@pytest.fixture(scope="module")
def run(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> ScenarioRecords:
    """The records of a lab that carried out all of them."""
    scenario = sync.lab(Options(NETWORK, 1), "cells", EDGES, CELLS)
    finished = labs.run(scenario_job(scenario, tmp_path_factory.mktemp("cells") / "cells"))
    assert finished.result.ok, finished.result.error
    return load_scenario(finished.out, NETWORK)


@pytest.fixture(scope="module")
def cells(run: ScenarioRecords) -> dict[str, SyncCell]:
    """The cells by name."""
    return {cell.cell: cell for cell in run.cells}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_edge_has_everything(cells: dict[str, SyncCell], cell: Cell) -> None:
    found = cells[cell.name]
    assert (found.error, found.identical) == ("", EDGES)
    assert found.is_whole
    assert found.content_bytes == CONTENT.amount


@pytest.mark.parametrize("method", Method)
def test_unicast_sends_a_copy_to_each_edge_and_multicast_one_to_all(
    cells: dict[str, SyncCell], method: Method
) -> None:
    found = cells[Cell(method, CONTENT).name]
    copies = 1 if method in sync.MULTICASTS else EDGES
    # Ours compresses what can be compressed; nobody else was asked to.
    least = 0.6 if method is Method.MULTICAST else 1.02
    assert copies * least < found.origin_share < copies * 1.2
    assert found.busiest_bytes >= found.origin_bytes
    assert found.last_s is not None
    assert found.last_s > found.origin_bytes * 8e-6 / 100 * 0.9


def test_what_is_lost_is_lost_on_the_last_link_to_each_edge_and_only_then(run: ScenarioRecords) -> None:
    edges = run.topology.of_role(Role.EDGE)
    for cell in CELLS:
        loads = phase_loads(run.links, cell.name)
        places = {way for way, load in loads.items() if load.drops > 0}
        assert places == {
            (run.topology.ports[edge][0].peer, edge) for edge in edges if cell.loss_percent > 0
        }, cell.name


def test_tunnels_carry_esp_and_nothing_in_the_clear(run: ScenarioRecords, cells: dict[str, SyncCell]) -> None:
    (count,) = run.tunnels
    cell = cells[Cell(Method.TUNNEL, CONTENT).name]
    assert (count.origin_associations, count.origin_policies) == (2 * EDGES, 3 * EDGES)
    assert (count.edge_associations, count.edge_policies) == (2 * EDGES, 3 * EDGES)
    assert cell.origin_ipsec == 5 * EDGES
    assert count.clear_frames == 0
    assert 0.98 * cell.origin_packets <= count.esp_frames <= cell.origin_packets
    assert CONTENT.amount * EDGES < count.inner_bytes < cell.origin_bytes
    assert count.inner_packets == count.esp_frames


def test_tunnels_are_gone_afterwards(cells: dict[str, SyncCell]) -> None:
    others = [cell.origin_ipsec for cell in cells.values() if cell.method != Method.TUNNEL]
    assert set(others) == {0}


def test_the_logs_of_other_peoples_programs_are_kept(run: ScenarioRecords) -> None:
    logs = run.folder / "logs"
    for name in ("uftp", "rsync-edge1", "curl-edge2"):
        assert list(logs.glob(f"*-{name}.log")), name
