"""failover: an edge's link breaks while its users fetch, and is mended: what they see (C15)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options, edge_scenario
from experiments.scenario import Cut, Scenario
from topologies.spec import Role

TAKES = frozenset({"site", "off", "kill", "loss", "rate_mbps"})
SMALL_SITE = True
"""One page: what is fetched does not matter here, only when and from where."""
INTERVAL_S = 0.05
LENGTH_S = 6.0
CUT_S = 2.0
MEND_S = 4.0


def scenarios(options: Options) -> list[Scenario]:
    """The users of the first edge's access switch fetch one small page every 50 ms."""
    topology = options.network
    edge = next(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    switch = topology.ports[edge][0].peer
    users = [port.peer for port in topology.ports[switch] if topology.role(port.peer) is Role.USER]
    url = f"http://{topology.service.name}/"
    fetches = {
        user: [
            {"page": f"{user}-{tick}", "kind": "page", "start_s": round(tick * INTERVAL_S, 3), "urls": [url]}
            for tick in range(int(LENGTH_S / INTERVAL_S))
        ]
        for user in users
    }
    cut = Cut(switch, edge, CUT_S, MEND_S)
    return [replace(edge_scenario(options), workload=fetches, cuts=(cut,))]
