"""scope: where multicast of each scope arrives, and content that stays in its region (C10, C4)."""

from __future__ import annotations

from dataclasses import replace

from experiments.faults import Bind
from experiments.options import Options, edge_scenario
from experiments.scenario import Act, Scenario
from experiments.windows import Get, Window
from topologies.graph import shortest_path_tree
from topologies.spec import Role, Topology

TAKES = frozenset({"site", "off", "rate_mbps"})
SMALL_SITE = True
SOURCE_SPECIFIC = ("ff33::8000:2", "ff34::8000:2", "ff35::8000:2", "ff38::8000:2", "ff3e::8000:2")
ANY_SOURCE = ("ff05::8000:3", "ff0e::8000:3")
REGIONAL, SITE_WIDE = "ff34::8000:4", "ff35::8000:4"
PACKETS = 5
CONTENT_PACKETS, CONTENT_PACKET_BYTES = 200, 1200
BOUND_S, UNBOUND_S, LENGTH_S = 1.0, 2.0, 3.0
GETS_APART_S = 0.05


def scenarios(options: Options) -> list[Scenario]:
    """One run: all groups and all hosts, a regional stream and the same one site-wide, and a user bound to
    the edge that is furthest from it."""
    topology = options.network
    edges = tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    origin = topology.of_role(Role.ORIGIN)[0]
    user = topology.of_role(Role.USER)[0]
    everyone = (*edges, *topology.of_role(Role.USER))
    groups = {"groups": (*SOURCE_SPECIFIC, *ANY_SOURCE), "senders": (origin, edges[0]), "receivers": everyone}
    acts = (Act("groups", {**groups, "packets": PACKETS}), *regional_acts(edges))
    window = Window(
        "bind",
        LENGTH_S,
        faults=(Bind(user, furthest(topology, user, edges), at_s=BOUND_S, mend_s=UNBOUND_S),),
        gets=tuple(
            Get(user, round(tick * GETS_APART_S, 3)) for tick in range(round(LENGTH_S / GETS_APART_S))
        ),
    )
    return [replace(edge_scenario(options), workload={}, kill=(), acts=acts, windows=(window,))]


def regional_acts(edges: tuple[str, ...]) -> tuple[Act, ...]:
    """The first edge sends content to its region, then the same to all edges."""
    content = {
        "senders": (edges[0],),
        "receivers": edges,
        "packets": CONTENT_PACKETS,
        "payload_bytes": CONTENT_PACKET_BYTES,
    }
    return (
        Act("groups", {**content, "groups": (REGIONAL,), "phase": "regional"}),
        Act("groups", {**content, "groups": (SITE_WIDE,), "phase": "site-wide"}),
    )


def furthest(topology: Topology, user: str, edges: tuple[str, ...]) -> str:
    """The edge that is furthest from a user."""
    distance = shortest_path_tree(topology, user).distance_ms
    return max(edges, key=lambda edge: distance.get(edge, 0.0))
