"""What kind of link joins which nodes, and what such links are like in an operator's network.

One way, light in fibre takes 5 us/km (about two thirds of its speed in vacuum), so a switch-to-switch
delay below is a distance. The others are assumptions of the right order; `docs/topologies.md` gives the
source of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from topologies.spec import SWITCH_ROLES, Link, Role, Topology

FIBRE_MS_PER_KM = 0.005


@dataclass(frozen=True, slots=True)
class Layer:
    """The properties links of one kind have unless they say otherwise (see `spec.Link` for the units)."""

    delay_ms: float
    rate_mbps: float
    distance_km: float | None = None
    """The fibre length that explains the delay; None where something else than distance does."""


def _fibre(distance_km: float, rate_mbps: float) -> Layer:
    return Layer(distance_km * FIBRE_MS_PER_KM, rate_mbps, distance_km)


LAYER_KEYS = (
    "core-core",
    "core-distribution",
    "core-access",
    "distribution-distribution",
    "distribution-access",
    "access-access",
    "edge",
    "origin",
    "user",
    "dns",
)
"""Every kind of link: the two switch layers it joins, or the role of the host it attaches."""

DEFAULT_LAYERS: Mapping[str, Layer] = MappingProxyType(
    {
        "core-core": _fibre(400, 100_000),
        "core-distribution": _fibre(200, 40_000),
        "distribution-access": _fibre(100, 10_000),
        "edge": _fibre(20, 10_000),
        "origin": _fibre(1600, 10_000),
        "user": Layer(2.0, 100),
        "dns": _fibre(20, 10_000),
    }
)
"""The links of a generated network (`topologies.three_tier`)."""

_SWITCH_ORDER = (Role.CORE, Role.DISTRIBUTION, Role.ACCESS)


def layer_key(a: Role, b: Role) -> str:
    """The kind of a link between nodes of these roles, in either order: one of `LAYER_KEYS`."""
    for role in (a, b):
        if role not in SWITCH_ROLES:
            return str(role)
    return "-".join(sorted((a, b), key=_SWITCH_ORDER.index))


def link_key(topology: Topology, link: Link) -> str:
    """The kind of a link of the topology. Raises KeyError when an end is unknown."""
    return layer_key(topology.role(link.a), topology.role(link.b))
