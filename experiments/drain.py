"""drain: an edge is drained and taken back, another is overloaded: nobody may notice (C15, C5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from experiments.faults import Drain, Overload
from experiments.options import Options, edge_scenario
from experiments.scenario import Scenario
from experiments.windows import Get, Window
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

TAKES = frozenset({"site", "off", "loss", "rate_mbps"})
SMALL_SITE = True
REQUESTS = 1000
LENGTH_S = 14.0
CAPACITY = 20
"""Requests at once: few enough that one user can overload an edge."""
OVERLOAD_DOWNLOADS = 19
DRAIN_S, UNDRAIN_S = 2.0, 5.0
OVERLOAD_S, RELIEF_S = 3.0, 5.5
"""An edge that was overloaded gets new connections again 5 s after its relief."""
LONG_FILE_BYTES = 3_000_000
LONG_MBPS = 4.0
LONG_STARTS_S = (1.0, 3.5)
"""One long download begins before the drain, one in it; each takes 6 s."""


def scenarios(options: Options) -> list[Scenario]:
    """One run; the edges drained and overloaded are the first and the last that users are nearest to."""
    topology = options.network
    active = tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    nearest = nearest_edges(topology, active)
    users = tuple(user for user in topology.of_role(Role.USER) if user in nearest)
    served = list(dict.fromkeys(nearest[user].edge for user in users))
    drained, loaded = served[0], served[-1]
    window = Window(
        "drain",
        LENGTH_S,
        faults=(
            Drain(drained, at_s=DRAIN_S, mend_s=UNDRAIN_S),
            Overload(
                loaded,
                _user_of(loaded, users, topology, active),
                OVERLOAD_DOWNLOADS,
                at_s=OVERLOAD_S,
                mend_s=RELIEF_S,
            ),
        ),
        gets=(
            *short_gets(users, options.seed),
            *(
                Get(user, at_s, "/long.bin", rate_mbps=LONG_MBPS)
                for user in users
                if nearest[user].edge == drained
                for at_s in LONG_STARTS_S
            ),
        ),
    )
    base = replace(edge_scenario(options), workload={}, kill=())
    return [replace(base, windows=(window,), capacity=CAPACITY, long_file_bytes=LONG_FILE_BYTES)]


def _user_of(edge: str, users: Sequence[str], topology: Topology, active: Sequence[str]) -> str:
    nearest = nearest_edges(topology, active)
    return next(user for user in users if nearest[user].edge == edge)


def short_gets(users: Sequence[str], seed: int) -> tuple[Get, ...]:
    """1,000 requests in all, the users in turn, at random times within the window but for its end."""
    chance = random.Random(f"drain {seed}")
    times = sorted(chance.uniform(0.1, LENGTH_S - 0.5) for _ in range(REQUESTS))
    return tuple(Get(users[number % len(users)], round(at_s, 6)) for number, at_s in enumerate(times))
