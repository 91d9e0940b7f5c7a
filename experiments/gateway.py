"""gateway: a host with a global address behind the default-deny gateway, and behind NAT66 and NAT44 (C12)."""

from __future__ import annotations

from experiments.options import Options
from experiments.protection import narrowed
from experiments.scenario import Act, Mode, Scenario
from topologies.spec import Role, Topology

TAKES = frozenset({"off"})
SMALL_SITE = True
NARROW_MTU_BYTES = 1280
"""The least that every IPv6 link carries (RFC 8200 section 5)."""
SUBSCRIBED_PORT = 8080


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: scans and flows of the first user. `narrow`: its flows to an edge behind a narrow link."""
    topology = options.topology
    inside = topology.of_role(Role.USER)[0]
    nearest = topology.ports[inside][0].peer
    edge = next(port.peer for port in topology.ports[nearest] if topology.role(port.peer) is Role.EDGE)
    acts = (
        Act("gateway", {"inside": inside, "outside": outsider(topology, inside), "port": SUBSCRIBED_PORT}),
        Act("nat", {"inside": inside, "edge": edge}),
    )
    return [
        Scenario("edge", Mode.EDGE, topology, options.seed, off=options.off, acts=acts),
        narrow_scenario(options, inside),
    ]


def outsider(topology: Topology, inside: str) -> str:
    """The first user of another access switch than that of `inside`. Raises ValueError when there is none."""
    own = topology.ports[inside][0].peer
    for user in topology.of_role(Role.USER):
        if topology.ports[user][0].peer != own:
            return user
    raise ValueError(f"{topology.name}: all users are on {own}; a scan needs one on another access switch")


def narrow_scenario(options: Options, user: str) -> Scenario:
    """Transfers of a user to and from an edge behind a link of 1,280 bytes."""
    topology, off = narrowed(options.topology, user, NARROW_MTU_BYTES)
    every = tuple(dict.fromkeys((*options.off, *off)))
    acts = (Act("transfer", {"user": user}),)
    return Scenario("narrow", Mode.EDGE, topology, options.seed, off=every, acts=acts)
