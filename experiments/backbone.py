"""backbone: how often content crosses the most-loaded backbone link, without and with loss (C3)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options
from experiments.scenario import Mode, Scenario
from topologies.spec import Topology

SUMMARY = "multicast against unicast push on the backbone, at no loss and 2 % on every link: C3"
NEEDS_SITE = True
LOSS_PERCENT = 2.0


def scenarios(options: Options) -> list[Scenario]:
    """Multicast and push over clean links, multicast over lossy ones."""
    site = str(options.site)
    loss = LOSS_PERCENT if options.loss_percent is None else options.loss_percent
    lossy = with_loss(options.topology, loss)
    rate = options.rate_mbps
    return [
        Scenario("edge", Mode.EDGE, options.topology, options.seed, site=site, rate_mbps=rate),
        Scenario("push", Mode.PUSH, options.topology, options.seed, site=site),
        Scenario(f"edge-loss{loss:g}", Mode.EDGE, lossy, options.seed, site=site, rate_mbps=rate),
    ]


def with_loss(topology: Topology, loss_percent: float) -> Topology:
    """The same network with this loss on every link, in each direction."""
    return replace(topology, links=tuple(replace(link, loss_percent=loss_percent) for link in topology.links))
