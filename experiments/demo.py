"""demo: the whole idea once, against a central cloud and against unicast push (C1, C2, C3, C5, C8, C10)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options, edge_scenario
from experiments.scenario import Mode, Scenario

TAKES = frozenset({"site", "off", "kill", "loss", "rate_mbps", "https"})
SMALL_SITE = False


def scenarios(options: Options) -> list[Scenario]:
    """Publish by unicast push; publish by multicast and fetch from edges; fetch from a central cloud.

    The longest comes first, so that two labs side by side end at about the same time.
    """
    edge = edge_scenario(options)
    return [
        replace(edge, name="push", mode=Mode.PUSH, workload={}, kill=()),
        edge,
        replace(edge, name="central", mode=Mode.CENTRAL, off=(), kill=()),
    ]
