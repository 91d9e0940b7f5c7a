"""Records of sound runs of `sync` and `vpn`, made up by hand: costs follow the formulas, nothing was sent."""

from __future__ import annotations

from pathlib import Path

from experiments import sync, vpn
from experiments.cells import Cell, Method, cell_from_json
from experiments.content import Content, Kind
from experiments.options import Options
from experiments.records import RoundTrip, ScenarioRecords
from experiments.scenario import Scenario
from experiments.sync_records import SyncCell, TunnelCount

Scenarios = dict[str, ScenarioRecords]
RATE_MBPS = 100.0
OPTIONS = Options(sync.NETWORK, 1, rate_mbps=RATE_MBPS)
_HEADERS = {
    Method.MULTICAST: 1.03,
    Method.UFTP: 1.09,
    Method.PUSH: 1.065,
    Method.TUNNEL: 1.13,
    Method.RSYNC: 1.07,
    Method.PULL: 1.1,
}


def sync_run() -> Scenarios:
    """All cells of the experiment, as its own scenarios name them."""
    return {scenario.name: _records(scenario) for scenario in sync.scenarios(OPTIONS)}


def vpn_run() -> Scenarios:
    """The same for the tunnels: two associations and three policies at each end."""
    return {scenario.name: _records(scenario) for scenario in vpn.scenarios(OPTIONS)}


def _records(scenario: Scenario) -> ScenarioRecords:
    edges = len(sync.running(scenario.topology, scenario.off))
    cells = tuple(_cell(cell_from_json(data), edges) for data in scenario.acts[0].arguments["cells"])
    return ScenarioRecords(
        scenario.name,
        Path("/nowhere") / scenario.name,
        scenario.topology,
        round_trips=(RoundTrip("user1", "edge1", 4.0, 4.0),),
        cells=cells,
        tunnels=tuple(_tunnels(cell) for cell in cells if cell.method == Method.TUNNEL),
        facts={"scenario": scenario.to_json(), "windows": []},
    )


def _cell(cell: Cell, edges: int) -> SyncCell:
    size, objects = _made(cell.content)
    lost = 1 / (1 - cell.loss_percent / 100)
    is_multicast = cell.method in sync.MULTICASTS
    sent = round(size * _HEADERS[cell.method] * lost * (1 if is_multicast else edges))
    slowness = {Method.MULTICAST: 1.0, Method.UFTP: 1.5}.get(cell.method, lost**20)
    return SyncCell(
        cell=cell.name,
        method=cell.method,
        edges=edges,
        loss_percent=cell.loss_percent,
        content=cell.content.name,
        content_bytes=size,
        objects=objects,
        origin_bytes=sent,
        origin_packets=round(sent / 1500),
        busiest="origin to core1",
        busiest_bytes=sent,
        last_s=sent * 8e-6 / RATE_MBPS * slowness + 0.02,
        identical=edges,
        repair_symbols=0.0 if cell.method is Method.MULTICAST else None,
        origin_ipsec=5 * edges if cell.method is Method.TUNNEL else 0,
        error="",
    )


def _made(content: Content) -> tuple[int, int]:
    if content.kind is Kind.SMALL:
        return content.amount * 3366, content.amount
    return content.amount, 1 if content.kind is Kind.LARGE else 40


def _tunnels(cell: SyncCell) -> TunnelCount:
    inner = round(cell.origin_bytes * 0.93)
    held = (2 * cell.edges, 3 * cell.edges)
    return TunnelCount(
        cell.cell, cell.edges, *held, *held, cell.origin_packets, 0, inner, cell.origin_packets
    )
