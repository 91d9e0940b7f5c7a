"""backbone: how often content crosses the most-loaded backbone link, without and with loss (C3)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options, edge_scenario, with_loss
from experiments.scenario import Mode, Scenario

TAKES = frozenset({"site", "off", "kill", "loss", "rate_mbps"})
SMALL_SITE = False
LOSS_PERCENT = 2.0


def scenarios(options: Options) -> list[Scenario]:
    """Multicast and push over the network as it is, multicast with loss on every link (`loss_percent`)."""
    loss = LOSS_PERCENT if options.loss_percent is None else options.loss_percent
    edge = replace(edge_scenario(options), topology=options.topology, workload={})
    return [
        edge,
        replace(edge, name="push", mode=Mode.PUSH, kill=()),
        replace(edge, name=f"edge-loss{loss:g}", topology=with_loss(options.topology, loss)),
    ]
