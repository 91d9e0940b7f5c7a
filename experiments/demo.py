"""demo: the whole idea once, against a central cloud and against unicast push (C1, C2, C3, C5, C8, C10)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options
from experiments.scenario import Mode, Scenario

TAKES = frozenset({"site", "off", "kill", "loss", "rate_mbps"})


def scenarios(options: Options) -> list[Scenario]:
    """Publish by unicast push; publish by multicast and fetch from edges; fetch from a central cloud.

    The longest comes first, so that two labs side by side end at about the same time.
    """
    edge = Scenario(
        "edge",
        Mode.EDGE,
        options.network,
        options.seed,
        site=str(options.site),
        workload=options.workload,
        off=options.off,
        kill=options.kill,
        rate_mbps=options.rate_mbps,
    )
    return [
        replace(edge, name="push", mode=Mode.PUSH, workload={}, kill=()),
        edge,
        replace(edge, name="central", mode=Mode.CENTRAL, off=(), kill=()),
    ]
