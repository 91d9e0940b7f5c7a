"""failover: links, edges, a switch and the controller fail while users ask: what they notice (C15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from experiments.faults import ControllerKill, Cut, Fault, Kill, SwitchFailure, Unplug
from experiments.options import Options, edge_scenario
from experiments.protection import Choice, choose
from experiments.scenario import Scenario
from experiments.windows import Get, Window
from topologies.spec import Role, Topology

TAKES = frozenset({"site", "off", "kill", "loss", "rate_mbps"})
SMALL_SITE = True
"""One page: what is fetched does not matter here, only when and from where."""
INTERVAL_S = 0.05
LENGTH_S = 6.0
CUT_S = 2.02
MEND_S = 4.02
"""Between two requests: what happens at the same moment may happen in either order."""
BREAK_S, REPAIR_S, WATCH_S = 0.5004, 0.8004, 2.2
"""Between two probes, for the same reason. Routes go back some time after a link has come back, so the probes
go on for a while."""
FAST_INTERVAL_S = 0.01
"""Between the requests of a user whose edge is killed."""


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: what befalls an edge, and the controller. `links`: links and a switch on the way to an edge
    further off; left out where the topology has no such way."""
    topology = options.network
    edge = next(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    switch = topology.ports[edge][0].peer
    users = tuple(port.peer for port in topology.ports[switch] if topology.role(port.peer) is Role.USER)
    near = replace(
        edge_scenario(options),
        workload=_steady(topology, users),
        faults=(Cut(switch, edge, at_s=CUT_S, mend_s=MEND_S),),
        windows=edge_windows(edge, users),
        record_tables=True,
    )
    active = tuple(other for other in topology.of_role(Role.EDGE) if other not in options.off)
    choice = choose(topology, active)
    if choice is None:
        return [near]
    far = replace(
        edge_scenario(options),
        name="links",
        workload={},
        off=(*options.off, *choice.off),
        kill=(),
        windows=link_windows(choice),
        record_tables=True,
    )
    return [near, far]


def _steady(topology: Topology, users: tuple[str, ...]) -> Mapping[str, list[dict[str, Any]]]:
    """Every user fetches the front page every 50 ms."""
    url = f"http://{topology.service.name}/"
    return {
        user: [
            {"page": f"{user}-{tick}", "kind": "page", "start_s": round(tick * INTERVAL_S, 3), "urls": [url]}
            for tick in range(int(LENGTH_S / INTERVAL_S))
        ]
        for user in users
    }


def edge_windows(edge: str, users: tuple[str, ...]) -> tuple[Window, ...]:
    """The edge's process is killed, its machine unplugged; the controller is killed and started again."""
    ticks = [round(tick * FAST_INTERVAL_S, 3) for tick in range(120)]
    gets = tuple(Get(user, at_s) for user in users for at_s in ticks)
    return (
        Window("kill", 2.5, faults=(Kill(edge, at_s=BREAK_S, mend_s=1.8),), gets=gets),
        Window("unplug", WATCH_S, (Unplug(edge, at_s=BREAK_S, mend_s=REPAIR_S),), users[:1]),
        Window("controller", 4.0, (ControllerKill(at_s=BREAK_S, mend_s=REPAIR_S),), users[:1]),
    )


def link_windows(choice: Choice) -> tuple[Window, ...]:
    """A link with a loop-free alternate fails and comes back, one without, then a switch."""
    safe, bare, probers = choice.protected, choice.unprotected, (choice.user,)
    failures: dict[str, Fault] = {"alternate": Cut(safe.a, safe.b, at_s=BREAK_S, mend_s=REPAIR_S)}
    if bare is not None:
        failures["repair"] = Cut(bare.a, bare.b, at_s=BREAK_S, mend_s=REPAIR_S)
    failures["switch"] = SwitchFailure(choice.switch, at_s=BREAK_S, mend_s=REPAIR_S)
    return tuple(Window(name, WATCH_S, (fault,), probers) for name, fault in failures.items())
