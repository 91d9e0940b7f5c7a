"""What a person can choose for an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topologies.spec import Topology


@dataclass(frozen=True)
class Options:
    """`site` is the directory to publish; `workload` what each user fetches; `off` edges switched off;
    `kill` edges killed in the middle of the publication; `loss_percent` loss on every link (None: as the
    topology says)."""

    topology: Topology
    seed: int
    site: Path | None = None
    workload: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    off: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    loss_percent: float | None = None
    rate_mbps: float = 100.0
