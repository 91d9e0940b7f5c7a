"""latency: crowds of users ask for objects by Zipf's law, edges against a central cloud and against caches;
and the round trip of every user to every edge, measured against the configured path (C1, C2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.crowds import FEW_REQUESTS, REQUESTS, crowd_sizes, is_small, object_count, with_users
from experiments.objects import write_objects
from experiments.options import Options
from experiments.scenario import Act, Mode, Scenario

TAKES = frozenset({"off"})
SMALL_SITE = True
MEMORY_MB = 4096
"""80,000 files of eight edges lie in the guest's memory, with the networks of 256 users."""
RATE_MBPS = 400.0
"""Of the publication, which is not what is measured: the more comes at once, the less it takes."""
PATHS = "paths"
"""The scenario in which each edge in turn is the only one that answers."""


def make_site(folder: Path, options: Options) -> None:
    """Write the objects. Raises OSError."""
    write_objects(folder, object_count(options.topology), options.seed)


def scenarios(options: Options) -> list[Scenario]:
    """The crowds at edges that have everything, at edges that are caches, at a central cloud; and the paths.

    The longest comes first, so that two labs side by side end at about the same time.
    """
    sizes = crowd_sizes(options.topology)
    act = Act(
        "crowds",
        {
            "sizes": list(sizes),
            "objects": object_count(options.topology),
            "requests": FEW_REQUESTS if is_small(options.topology) else REQUESTS,
        },
    )
    network = with_users(options.topology, sizes[-1])
    site = str(options.site)
    edge = Scenario(
        "edge", Mode.EDGE, network, options.seed, site=site, off=options.off, acts=(act,), rate_mbps=RATE_MBPS
    )
    paths = Scenario(PATHS, Mode.EDGE, options.topology, options.seed, off=options.off, all_pairs=True)
    return [
        edge,
        replace(edge, name="cache", pull_through=True),
        replace(edge, name="central", mode=Mode.CENTRAL, off=()),
        paths,
    ]
