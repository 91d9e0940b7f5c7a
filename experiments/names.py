"""names: one anycast address, against an address for each edge and geo-DNS (C5, C13)."""

from __future__ import annotations

from dataclasses import replace

from experiments.faults import Fault, Kill, Unplug
from experiments.names_config import Way
from experiments.options import Options, edge_scenario
from experiments.scenario import DNS_TTL_S, Act, Scenario
from experiments.windows import Get, Window
from topologies.graph import nearest_edges
from topologies.spec import EdgeAddressing, Role

TAKES = frozenset({"site", "off", "loss", "rate_mbps"})
SMALL_SITE = True
BREAK_S = 0.5004
"""Between two requests: what happens at the same moment may happen in either order."""
MEND_S = BREAK_S + DNS_TTL_S + 4
LENGTH_S = MEND_S + 1
FAST_UNTIL_S, FAST_INTERVAL_S, INTERVAL_S = 2.0, 0.02, 0.1
"""Requests are close together around the failure, and further apart while users of geo-DNS wait."""
CALM_GETS = 3


def scenarios(options: Options) -> list[Scenario]:
    """`geo`: an address for each edge. `edge`: one for all. The same users do the same at the same times."""
    topology = options.network
    active = tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    nearest = nearest_edges(topology, active)
    users = tuple(user for user in topology.of_role(Role.USER) if user in nearest)
    edge = nearest[users[0]].edge
    victims = tuple(user for user in users if nearest[user].edge == edge)
    windows = (
        Window("nearest", 2.0, gets=_calm(users), resolves=True),
        _broken("kill", Kill(edge, at_s=BREAK_S, mend_s=MEND_S), victims),
        _broken("unplug", Unplug(edge, at_s=BREAK_S, mend_s=MEND_S), victims),
    )
    return [
        replace(
            edge_scenario(options),
            name="geo" if way is Way.GEO else "edge",
            topology=replace(topology, edges=EdgeAddressing.UNICAST) if way is Way.GEO else topology,
            workload={},
            windows=windows,
            acts=(Act("names", {"way": str(way), "user": users[-1]}),),
        )
        for way in (Way.GEO, Way.ANYCAST)
    ]


def _calm(users: tuple[str, ...]) -> tuple[Get, ...]:
    return tuple(Get(user, round(0.1 + 0.5 * number, 3)) for number in range(CALM_GETS) for user in users)


def _broken(name: str, fault: Fault, users: tuple[str, ...]) -> Window:
    """A window in which the users of an edge go on asking while it is gone."""
    ticks = [number * FAST_INTERVAL_S for number in range(int(FAST_UNTIL_S / FAST_INTERVAL_S))]
    while ticks[-1] < LENGTH_S - INTERVAL_S:
        ticks.append(ticks[-1] + INTERVAL_S)
    gets = tuple(Get(user, round(tick, 3)) for tick in ticks for user in users)
    return Window(name, LENGTH_S, (fault,), gets=gets, resolves=True)
