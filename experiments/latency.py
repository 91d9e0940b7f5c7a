"""latency: the round trip of every user to every edge, measured against the configured path (C1)."""

from __future__ import annotations

from experiments.options import Options
from experiments.scenario import Mode, Scenario

TAKES = frozenset({"off"})
SMALL_SITE = True


def scenarios(options: Options) -> list[Scenario]:
    """One run in which each edge in turn is the only one that answers."""
    return [
        Scenario("edge", Mode.EDGE, options.topology, options.seed, off=options.off, all_pairs=True),
    ]
