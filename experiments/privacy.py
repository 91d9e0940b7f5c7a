"""privacy: users change their addresses all the time: do they notice, and do the edges (C16)."""

from __future__ import annotations

from dataclasses import replace

from experiments.faults import Rotation
from experiments.options import Options, edge_scenario
from experiments.scenario import Scenario, TemporaryAddresses
from experiments.windows import Get, Window
from topologies.spec import Role

TAKES = frozenset({"site", "off"})
SMALL_SITE = True
USERS = 4
LENGTH_S = 30.0
GETS_APART_S = 0.5
LIFETIMES = TemporaryAddresses(preferred_s=12, valid_s=40)
"""Linux makes the next address 5 s before the present one is deprecated: one every 7 s. An address is valid
for some of these periods, as it is with the default lifetimes."""
LONG_FILE_BYTES = 3_000_000
LONG_MBPS = 1.0
"""The long download takes 24 s: three addresses."""
ROTATION_S = 14.5


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: temporary addresses with short lifetimes, and one user who changes by hand besides. `stable`:
    the same requests from addresses that stay."""
    users = options.topology.of_role(Role.USER)[:USERS]
    ticks = range(round((LENGTH_S - 1) / GETS_APART_S))
    gets = (
        *(Get(user, round(tick * GETS_APART_S, 3)) for tick in ticks for user in users),
        *(Get(user, 0.25, "/long.bin", rate_mbps=LONG_MBPS) for user in users),
    )
    stable = replace(
        edge_scenario(options),
        name="stable",
        workload={},
        kill=(),
        windows=(Window("privacy", LENGTH_S, gets=gets),),
        long_file_bytes=LONG_FILE_BYTES,
    )
    rotation = Window("privacy", LENGTH_S, faults=(Rotation(users[-1], at_s=ROTATION_S),), gets=gets)
    return [replace(stable, name="edge", windows=(rotation,), temporary=LIFETIMES), stable]
