"""neighbours: whom neighbour discovery wakes, against ARP; what a sweep of a /64 does to others (C14)."""

from __future__ import annotations

from experiments.gateway import outsider
from experiments.options import Options
from experiments.scenario import Mode, Scenario
from experiments.windows import Get, Sweep, Window
from topologies.spec import Role

TAKES = frozenset({"site", "off"})
SMALL_SITE = True
SWEEP_PER_S = 10_000
GETS_APART_S = 0.1


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: captures at every host from boot on, through address configuration, requests and a sweep.
    `arp`: the same hosts on one IPv4 segment for each access switch."""
    topology = options.topology
    users = topology.of_role(Role.USER)
    victim = users[0]
    attacker = outsider(topology, victim)
    windows = (
        Window(
            "requests",
            len(users) * GETS_APART_S,
            gets=tuple(Get(user, round(place * GETS_APART_S, 3)) for place, user in enumerate(users)),
        ),
        Window(
            "sweep",
            2.0,
            probers=(victim,),
            sweeps=(Sweep(attacker, topology.ports[victim][0].peer, SWEEP_PER_S, at_s=0.5, length_s=1.0),),
        ),
    )
    edge = Scenario(
        "edge",
        Mode.EDGE,
        topology,
        options.seed,
        site=str(options.site),
        off=options.off,
        windows=windows,
        capture_hosts=True,
    )
    return [edge, Scenario("arp", Mode.FLAT, topology, options.seed)]
