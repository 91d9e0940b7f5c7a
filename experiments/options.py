"""What a person can choose for an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.scenario import Mode, Scenario
from topologies.spec import Topology


@dataclass(frozen=True)
class Options:
    """`site` is the directory to publish; `workload` what each user fetches; `off` edges switched off;
    `kill` edges killed in the middle of the publication; `loss_percent` loss on every link (None: as the
    topology says); `rate_mbps` the rate of the multicast stream; `full` the whole of a sweep,
    however long it takes; `https` that the service is at HTTPS."""

    topology: Topology
    seed: int
    site: Path | None = None
    workload: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    loss_percent: float | None = None
    rate_mbps: float = 100.0
    full: bool = False
    https: bool = False

    @property
    def network(self) -> Topology:
        """The topology with the loss asked for on every link, in each direction."""
        return self.topology if self.loss_percent is None else with_loss(self.topology, self.loss_percent)


def edge_scenario(options: Options) -> Scenario:
    """The scenario most experiments begin with: edges, multicast, the users' fetches."""
    return Scenario(
        "edge",
        Mode.EDGE,
        options.network,
        options.seed,
        site=str(options.site),
        workload=options.workload,
        off=options.off,
        kill=options.kill,
        rate_mbps=options.rate_mbps,
        https=options.https,
    )


def with_loss(topology: Topology, loss_percent: float) -> Topology:
    """The same network with this loss on every link, in each direction."""
    links = tuple(replace(link, loss_percent=loss_percent) for link in topology.links)
    return replace(topology, links=links)
