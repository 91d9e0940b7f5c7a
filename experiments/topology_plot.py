"""The picture of the network that every report ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.drawing import draw_topology
from experiments.figure import Figure, Scenarios
from experiments.style import FULL_WIDTH_IN, save
from topologies.spec import Link, Topology


def topology_picture(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """The network as it was asked for."""
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 4.6))
    draw_topology(axes, topology)
    save(figure, folder, "topology")
    pyplot.close(figure)
    hosts, switches = len(topology.hosts), len(topology.switches)
    return Figure(
        "topology",
        f"The network {topology.name}",
        f"{switches} switches (each an IPv6 router hop), {hosts} hosts, {len(topology.links)} links. Squares"
        " are switches, green circles edges, small circles users, the diamond is the origin. One-way"
        f" delay and rate of the links: {_layers(topology)}.",
    )


def _layers(topology: Topology) -> str:
    """Delay and rate of the links of each layer, in words."""
    layers: dict[str, list[Link]] = {}
    for link in topology.links:
        layers.setdefault(topology.link_layer(link), []).append(link)
    return "; ".join(
        f"{layer} {_span([link.delay_ms for link in links])} ms,"
        f" {_span([link.rate_mbps for link in links])} Mbit/s"
        for layer, links in layers.items()
    )


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"
