"""Next hops and loop-free alternates (RFC 5286): where a switch sends a packet, and where it may send it
when the next hop is dead, without the packet coming back.

Neighbours that do not depend on the dead next hop come first (section 3.2), of those the nearest to the
destination; of equal ones the first in the topology. One that does depend on it is taken only if it is nearer
to the destination, or if the next hop is the destination: else, when the next hop itself is dead, packets
could go round until the controller acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.plan.distances import UNREACHABLE, Costs, Indices
from topologies.spec import Port

PORT_BITS = 12
PORT_MASK = (1 << PORT_BITS) - 1
Ways = NDArray[np.int32]
"""Ports by which to send: `primary << PORT_BITS | alternate`, an alternate of 0 for none; 0 for no way."""

_AT_ONCE = 1 << 15
_NOT_PROTECTING = 1 << 61
_UNUSABLE = 1 << 62


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The switches that have the same number of neighbours: a row for each, the neighbours in the order of
    the topology. Switches are known by their places in the matrices."""

    switches: Indices
    neighbours: Indices
    ports: Ways

    @classmethod
    def of(cls, ports: Mapping[int, Sequence[Port]], places: Mapping[str, int]) -> Neighbourhood:
        """From the ports towards other switches, by the place of the switch."""
        return cls(
            np.array(list(ports), dtype=np.intp),
            np.array([[places[port.peer] for port in row] for row in ports.values()], dtype=np.intp),
            np.array([[port.number for port in row] for row in ports.values()], dtype=np.int32),
        )


def ways_between(around: Neighbourhood, links: Costs, distances: Costs, rows: Indices, to: Indices) -> Ways:
    """The ways of switches, given by their rows, each to one switch of `to`. `links` are the costs of the
    links that are up, `distances` those between all switches."""
    step = max(1, _AT_ONCE // around.neighbours.shape[1])
    found = np.empty(len(rows), dtype=np.int32)
    for first in range(0, len(rows), step):
        some, there = rows[first : first + step], to[first : first + step]
        own = distances[around.switches[some], there]
        rest = distances[around.neighbours[some].T, there]
        found[first : first + step] = _ways(around, links, distances, some, own, rest)
    return found


def ways_to_nearest(around: Neighbourhood, links: Costs, distances: Costs, far: Costs, first: Ways) -> Ways:
    """The ways of all switches of a neighbourhood to the nearest of some hosts, which is `far` from every
    switch (by place) and reached by the port `first` (by place), 0 where there is none."""
    rows = np.arange(len(around.switches))
    own, rest = far[around.switches], far[around.neighbours.T]
    return _ways(around, links, distances, rows, own, rest, first[around.switches])


def _ways(
    around: Neighbourhood,
    links: Costs,
    distances: Costs,
    rows: Indices,
    own: Costs,
    rest: Costs,
    primary: Ways | None = None,
) -> Ways:
    """The ways of switches to destinations that are `own` away from them and `rest` from each neighbour;
    `primary` are the ports to send by, of a host or another switch, by default those of the next hops."""
    switches, near, ports = around.switches[rows], around.neighbours[rows].T, around.ports[rows].T
    pairs = np.arange(len(rows))
    link = links[near, switches]
    through = rest + link
    is_first = through == own if primary is None else ports == primary
    first, is_host = is_first.argmax(axis=0), ~is_first.any(axis=0)
    is_first = (np.arange(len(near))[:, None] == first) & ~is_host
    # C(N,D) < C(N,S) + C(S,D): the neighbour N does not send it back.
    usable = (rest < distances[near, switches] + own) & (link < UNREACHABLE) & ~is_first
    # C(N,D) < C(N,E) + C(E,D): it does not depend on the primary next hop E either. A host that is dead is
    # passed by whoever goes to another.
    left = own - link[first, pairs]
    protects = (rest < distances[near, near[first, pairs]] + left) | is_host
    # One that does may meet E's death too, and do the same: that ends only where each is nearer than the one
    # before (section 3.2). Who is behind E alone is lost with it.
    usable &= protects | (rest < own) | (left == 0)
    through += np.where(protects, 0, _NOT_PROTECTING)
    through[~usable] = _UNUSABLE
    second = (through == through.min(axis=0)).argmax(axis=0)
    alternate = np.where(usable[second, pairs], ports[second, pairs], 0)
    if primary is None:
        primary = ports[first, pairs]
    found = primary << PORT_BITS | alternate
    found[(own >= UNREACHABLE) | (own == 0)] = 0
    return found
