"""vpn: what one more edge costs an origin that multicasts, and one with a tunnel to each edge (C6)."""

from __future__ import annotations

from experiments import sync
from experiments.cells import Cell, Method
from experiments.content import Content, Kind
from experiments.options import Options
from experiments.scenario import Scenario

TAKES = frozenset({"rate_mbps"})
SMALL_SITE = True
NETWORK = sync.NETWORK
CONTENT = Content(Kind.MIXED, 1_000_000)
METHODS = (Method.MULTICAST, Method.TUNNEL, Method.PUSH)
"""The push without tunnels tells what ESP itself adds."""


def scenarios(options: Options) -> list[Scenario]:
    """A lab for each number of edges, the largest first."""
    cells = [Cell(method, CONTENT) for method in METHODS]
    counts = sync.edge_counts(options.topology, options.off)
    return [sync.lab(options, f"edges-{count}", count, cells) for count in reversed(counts)]
