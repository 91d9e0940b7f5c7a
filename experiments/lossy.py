"""Loss on the last link to an edge, put on and taken off while the lab runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pyroute2 import IPRoute

from experiments.testbed import Testbed
from topologies.netem import netem_options


def set_loss(testbed: Testbed, edges: Iterable[str], loss_percent: float) -> None:
    """Let the switches lose this share of what they send to each of these edges, independently.

    The same seed again: every cell of a sweep begins with the same losses. Must be called in the switches'
    namespace.
    """
    topology = testbed.topology
    with IPRoute() as netlink:
        for number, edge in enumerate(edges):
            port = topology.port(topology.ports[edge][0].peer, edge)
            index = netlink.link_lookup(ifname=port.interface)[0]
            link = replace(port.link, loss_percent=port.link.loss_percent + loss_percent)
            seed = (testbed.scenario.seed << 20) + (1 << 16) + number
            options = netem_options(link, seed)
            netlink.tc("change", kind="netem", index=index, handle=0x10000, nearcast=options)
