"""The pictures of each experiment, as SVG and PNG, with captions that say what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.attack_plots import attack_outcomes, others_meanwhile
from experiments.charts import answers, completions, distributions, round_trips, throughput
from experiments.client_plots import playback
from experiments.crowd_plots import crowd_loads, crowd_waits
from experiments.drawing import LoadScale, draw_loads, link_load, load_bar
from experiments.figure import Figure, Painter, Scenarios
from experiments.loads import backbone, content_bytes, phase_loads
from experiments.names_plots import answers_while_gone, names_by_edges
from experiments.overload_plots import served_users, visits_over_time
from experiments.stream_plots import channel_bytes, channel_loads, local_loads, local_times, zap_times
from experiments.style import FULL_WIDTH_IN, NAMES, SYNC_NAMES, save, scenario_name, styled
from experiments.sync_plots import (
    lab_topology,
    sync_by_content,
    sync_by_edges,
    sync_by_loss,
    sync_times_by_edges,
    tunnel_costs,
)
from experiments.topology_plot import topology_picture
from experiments.window_plots import group_arrivals, probe_windows, requests_by_address, requests_by_edge
from topologies.spec import Topology


def request_loads(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Link loads while users fetch, edges beside the central cloud."""
    return _loads_picture(
        pyplot,
        scenarios,
        folder,
        name="link-loads-requests",
        phase="requests",
        wanted=("edge", "central"),
        title="Where user requests go",
        caption="Bytes on every link while all users fetch their pages and videos, busier direction of each"
        " link. One scale for both pictures; grey links carried next to nothing.",
    )


def publish_loads(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Link loads while content is published, by multicast and by unicast push."""
    lossy = tuple(sorted(name for name in scenarios if name.startswith("edge-")))
    return _loads_picture(
        pyplot,
        scenarios,
        folder,
        name="link-loads-publish",
        phase="publish",
        wanted=("edge", *lossy, "push"),
        title="How often content crosses each link",
        caption="Bytes sent on every link while the site is published to all edges, as multiples of the"
        " site's size, lost packets included; busier direction of each link, one scale for all pictures.",
        per_content=True,
    )


def _loads_picture(
    pyplot: Any,
    scenarios: Scenarios,
    folder: Path,
    *,
    name: str,
    phase: str,
    wanted: tuple[str, ...],
    title: str,
    caption: str,
    per_content: bool = False,
) -> Figure | None:
    loads = {
        scenario: found
        for scenario in wanted
        if scenario in scenarios and (found := phase_loads(scenarios[scenario].links, phase))
    }
    if not loads:
        return None
    largest = max(
        link_load(found, link.a, link.b, link.mtu_bytes)
        for scenario, found in loads.items()
        for link in scenarios[scenario].topology.links
    )
    scale = LoadScale(float(largest))
    height = 2.9 if len(loads) > 1 else 4.6
    figure, row = pyplot.subplots(1, len(loads), figsize=(FULL_WIDTH_IN, height), squeeze=False)
    for axes, (scenario, found) in zip(row[0], loads.items(), strict=True):
        draw_loads(axes, scenarios[scenario].topology, found, scale)
        axes.set_title(scenario_name(scenario, SYNC_NAMES if per_content else NAMES))
    size = max((content_bytes(scenarios[scenario]) or 0) for scenario in loads) if per_content else 0
    label, unit = ("times the content's size", float(size)) if size else ("MB", 1e6)
    load_bar(figure, list(row[0]), scale, label, unit)
    save(figure, folder, name)
    pyplot.close(figure)
    return Figure(name, title, caption, tuple(f"raw/{scenario}/links.csv" for scenario in loads))


def latency(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Distributions of time to first byte and page load."""
    shown = {name: scenarios[name] for name in ("edge", "central") if name in scenarios}
    if not any(records.transfers for records in shown.values()):
        return None
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 3.7))
    distributions(row, shown)
    save(figure, folder, "latency")
    pyplot.close(figure)
    return Figure(
        "latency",
        "What users wait for",
        "Share of page loads at or below each time. Left: time to the first byte of the page, name look-up"
        " and connect included (curl's time_starttransfer). Right: from the start of the page's first"
        " transfer to the end of its last, all on one connection. Network time only: under the virtual clock"
        " computing takes no time.",
        tuple(f"raw/{name}/transfers.csv" for name in shown),
    )


def backbone_throughput(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Throughput over time at the most-loaded backbone link of each scenario while content is published."""
    shown = [name for name in sorted(scenarios) if phase_loads(scenarios[name].links, "publish")]
    if not shown:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 3.0))
    throughput(axes, {name: scenarios[name] for name in shown})
    save(figure, folder, "throughput")
    pyplot.close(figure)
    links = len(backbone(topology))
    return Figure(
        "throughput",
        "The most-loaded backbone link over time",
        f"Throughput of the direction that was sent the most bytes among the {links} backbone links, between"
        " two samples of its counters, since the publication began.",
        tuple(f"raw/{name}/links.csv" for name in shown),
    )


def sync_times(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """When each edge had every file."""
    shown = {
        name: records
        for name, records in sorted(scenarios.items())
        if any(row.completed_s is not None for row in records.sync)
    }
    if not shown:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 2.8))
    completions(axes, shown)
    save(figure, folder, "sync")
    pyplot.close(figure)
    return Figure(
        "sync",
        "When each edge was complete",
        "Seconds from the beginning of the publication until an edge had verified its last file.",
        tuple(f"raw/{name}/sync.csv" for name in shown),
    )


def configured_and_measured(
    pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path
) -> Figure | None:
    """Round trips, configured against measured."""
    pairs = scenarios["paths"].round_trips if "paths" in scenarios else ()
    if not pairs:
        return None
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 3.6))
    round_trips(row, pairs)
    save(figure, folder, "round-trips")
    pyplot.close(figure)
    return Figure(
        "round-trips",
        "Measured against configured round trips",
        "A TCP handshake of every user with every edge. Left: measured over configured, the line is equality."
        " Right: by how much they differ; the dashed lines are the 0.5 % that a run under the virtual clock"
        " may be off.",
        ("raw/paths/rtt.csv",),
    )


def answers_over_time(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Each user's answers over time, by the edge that gave them."""
    records = scenarios.get("edge")
    if records is None or not records.transfers:
        return None
    users = len({row.user for row in records.transfers})
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 1.6 + 0.5 * users))
    answers(axes, records)
    save(figure, folder, "failover")
    pyplot.close(figure)
    return Figure(
        "failover",
        "Who answered, and when nobody did",
        "Every request as a line from its start to its end, coloured by the edge that answered; crosses are"
        " requests without an answer. The vertical lines are where the link broke and was mended.",
        ("raw/edge/transfers.csv", "raw/edge/faults.csv"),
    )


PAINTERS: Mapping[str, tuple[Painter, ...]] = {
    "demo": (latency, request_loads, publish_loads, backbone_throughput, sync_times, topology_picture),
    "latency": (crowd_waits, crowd_loads, configured_and_measured, topology_picture),
    "backbone": (publish_loads, backbone_throughput, sync_times, topology_picture),
    "failover": (probe_windows, answers_over_time, topology_picture),
    "drain": (requests_by_edge, topology_picture),
    "gateway": (topology_picture,),
    "private-routing": (topology_picture,),
    "neighbours": (probe_windows, topology_picture),
    "scope": (group_arrivals, requests_by_edge, topology_picture),
    "privacy": (requests_by_address, topology_picture),
    "attacks": (attack_outcomes, others_meanwhile, topology_picture),
    "overload": (visits_over_time, served_users, topology_picture),
    "channels": (channel_loads, channel_bytes, zap_times, topology_picture),
    "locality": (local_loads, local_times, topology_picture),
    "sync": (sync_by_edges, sync_times_by_edges, sync_by_loss, sync_by_content, lab_topology),
    "clients": (playback, topology_picture),
    "vpn": (tunnel_costs, lab_topology),
    "names": (answers_while_gone, names_by_edges, topology_picture),
}


def draw_all(experiment: str, topology: Topology, scenarios: Scenarios, folder: Path) -> list[Figure]:
    """Draw every picture of the experiment that there is data for. Raises OSError."""
    with styled() as pyplot:
        drawn = [painter(pyplot, topology, scenarios, folder) for painter in PAINTERS[experiment]]
    return [figure for figure in drawn if figure is not None]
