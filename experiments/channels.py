"""channels: a live channel goes where somebody watches it, and nowhere else (C7)."""

from __future__ import annotations

from dataclasses import replace

from experiments.offering import Offering
from experiments.options import Options, edge_scenario
from experiments.scenario import Act, Scenario
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

TAKES = frozenset({"site", "off", "rate_mbps"})
SMALL_SITE = True
CHANNEL = "news"
IDLE_S = 6.0
CHANNEL_RATE_MBPS = 2.0
"""Four times the stream's own rate, so that a segment takes half a second to send and not an instant."""
PHASES = (
    ("nobody", 0.0),
    ("first", 8.0),
    ("one", 12.0),
    ("joining", 20.0),
    ("several", 26.0),
    ("leaving", 34.0),
    ("one-again", 46.0),
    ("last", 54.0),
    ("nobody-again", 66.0),
    ("end", 72.0),
)
"""When each begins. Nobody watches in `nobody` and `nobody-again`, users of one edge in `one` and
`one-again`, users of several in `several`; in between they come and go."""
FIRST_S, OTHERS_S, WARM_S = 8.0, 20.0, 22.0
OTHERS_STOP_S, STOP_S = 36.0, 54.0
APART_S = 0.3
"""Between the first requests of users at different edges."""


def scenarios(options: Options) -> list[Scenario]:
    """The same users watch by multicast on demand, with every edge pulling by unicast, and with every edge
    joined all the time."""
    topology = options.network
    edges = tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    watching = watching_users(topology, edges)
    first, *others = watching[:: 1 if len(watching) < 3 else 2]
    viewers = [_viewer(first[0], FIRST_S, STOP_S, "cold")]
    viewers += [
        _viewer(users[0], OTHERS_S + APART_S * n, OTHERS_STOP_S, "graft") for n, users in enumerate(others)
    ]
    if len(first) > 1:
        viewers.append(_viewer(first[1], WARM_S, OTHERS_STOP_S, "warm"))
    watch = {"channel": CHANNEL, "phases": PHASES, "viewers": viewers}
    offering = Offering(channels=(CHANNEL,), idle_s=IDLE_S, channel_rate_mbps=CHANNEL_RATE_MBPS)
    edge = replace(
        edge_scenario(options), workload={}, kill=(), acts=(Act("watch", watch),), offering=offering
    )
    always = replace(edge, name="always-on", acts=(Act("watch", {**watch, "keepers": edges}),))
    unicast = replace(edge, name="unicast", offering=replace(offering, by_unicast=True))
    return [always, edge, unicast]


def watching_users(topology: Topology, edges: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The users of each edge that has any, the edges in the order of the topology."""
    nearest = nearest_edges(topology, edges)
    users = topology.of_role(Role.USER)
    groups = [tuple(user for user in users if nearest[user].edge == edge) for edge in edges]
    return [group for group in groups if group]


def _viewer(user: str, start_s: float, stop_s: float, viewing: str) -> dict[str, str | float]:
    start_s = round(start_s, 3)
    return {"user": user, "start_s": start_s, "watch_s": round(stop_s - start_s, 3), "viewing": viewing}
