"""sync: what the origin sends to bring content to all edges, and how soon the last one has it (C3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from experiments.cells import Cell, Method
from experiments.content import Content, Kind
from experiments.options import Options
from experiments.scenario import Act, Mode, Scenario
from topologies.spec import Role, Topology
from topologies.three_tier import three_tier

TAKES = frozenset({"rate_mbps", "full"})
SMALL_SITE = True
NETWORK = three_tier(2, 4, 32, users_per_access=1)
WALL_LIMIT_S = 3600.0
MIXED = Content(Kind.MIXED, 2_000_000)
KINDS = (Content(Kind.LARGE, 2_000_000), MIXED, Content(Kind.SMALL, 600))
"""The same bytes as one file, as a web site and as hundreds of files."""
SIZES = (Content(Kind.MIXED, 500_000), Content(Kind.MIXED, 4_000_000))
LOSSES_PERCENT = (1.0, 5.0, 10.0)
ALL_METHODS_EDGES = 8
"""The number of edges at which every method meets every loss and every kind of content, and the most that
tunnels are set up to: `vpn` has them for more."""
LARGE = Content(Kind.MIXED, 100_000_000)
ONE_FILE = Content(Kind.LARGE, 20_000_000)
MANY = Content(Kind.SMALL, 10_000)
LARGE_EDGES = 2
LARGE_LOSS_PERCENT = 5.0
MULTICASTS = (Method.MULTICAST, Method.UFTP)


def scenarios(options: Options) -> list[Scenario]:
    """`large`: 100 MB, one file of 20 MB and 10,000 files to a few edges; then a lab for each number of
    edges, the largest first."""
    counts = edge_counts(options.topology, options.off)
    large = lab(options, "large", min(LARGE_EDGES, counts[-1]), list(_large_cells(options.full)))
    return [
        large,
        *(
            lab(options, f"edges-{count}", count, list(_cells(count, counts, options.full)))
            for count in reversed(counts)
        ),
    ]


def edge_counts(topology: Topology, off: tuple[str, ...]) -> tuple[int, ...]:
    """1, 2, 4, … and as many edges as there are."""
    most = len(running(topology, off))
    return (*(1 << power for power in range(most.bit_length()) if 1 << power < most), most)


def running(topology: Topology, off: tuple[str, ...]) -> tuple[str, ...]:
    """The edges that are not switched off."""
    return tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in off)


def lab(options: Options, name: str, count: int, cells: list[Cell]) -> Scenario:
    """A lab with so many edges, spread over the network, that carries out cells one after the other.

    Multicast comes first: after a push edges report to an origin that does not listen, and go on trying.
    """
    edges = running(options.topology, options.off)
    chosen = {edges[index * len(edges) // count] for index in range(count)}
    off = tuple(edge for edge in options.topology.of_role(Role.EDGE) if edge not in chosen)
    ordered = sorted(cells, key=lambda cell: cell.method is not Method.MULTICAST)
    act = Act("cells", {"cells": [cell.to_json() for cell in ordered]})
    network = with_uplink(options.topology, options.rate_mbps)
    return Scenario(name, Mode.EDGE, network, options.seed, off=off, acts=(act,), rate_mbps=options.rate_mbps)


def with_uplink(topology: Topology, rate_mbps: float) -> Topology:
    """The same network with a line of the origin that has the rate of the stream: no way gets more of it
    than another."""
    links = tuple(
        replace(link, rate_mbps=rate_mbps)
        if Role.ORIGIN in (topology.role(link.a), topology.role(link.b))
        else link
        for link in topology.links
    )
    return replace(topology, links=links)


def _cells(count: int, counts: tuple[int, ...], full: bool) -> Iterator[Cell]:
    everything = count == min(ALL_METHODS_EDGES, counts[-1])
    for method in Method:
        if method is not Method.TUNNEL or count <= ALL_METHODS_EDGES or full:
            yield Cell(method, MIXED)
    for loss in LOSSES_PERCENT:
        methods = tuple(Method) if everything or full else MULTICASTS
        yield from (Cell(method, MIXED, loss) for method in methods)
    if everything or full:
        yield from (Cell(method, KINDS[0], loss) for loss in LOSSES_PERCENT for method in MULTICASTS)
        contents = [content for content in (*KINDS, *SIZES) if content != MIXED]
        yield from (Cell(method, content) for content in contents for method in Method)


def _large_cells(full: bool) -> Iterator[Cell]:
    yield from (Cell(method, LARGE) for method in (*MULTICASTS, Method.PUSH))
    yield from (Cell(method, LARGE, LARGE_LOSS_PERCENT) for method in MULTICASTS)
    # One large file is what UFTP is best at.
    yield from (Cell(method, ONE_FILE, loss) for loss in (0.0, LARGE_LOSS_PERCENT) for method in MULTICASTS)
    yield from (Cell(method, MANY) for method in (tuple(Method) if full else MULTICASTS))
