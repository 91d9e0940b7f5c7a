"""clients: dig, curl and Chromium use the service while the edge that answers them dies (C5, C15)."""

from __future__ import annotations

from dataclasses import replace

from experiments.channels import watching_users
from experiments.offering import Offering
from experiments.options import Options, edge_scenario
from experiments.portal import SCRIPT
from experiments.preparation import UsageError
from experiments.scenario import Act, Scenario
from topologies.spec import Role

TAKES = frozenset({"site", "off", "rate_mbps"})
SMALL_SITE = False
CHANNEL = "news"
WATCH_S = 45.0
KILL_S, UNPLUG_S = 12.0, 26.0
"""After the picture has begun to move."""


def scenarios(options: Options) -> list[Scenario]:
    """A user downloads by curl, another one (where there is one) watches in a browser and uploads; the first
    reads that. Raises UsageError for a site without the portal."""
    site = options.site
    if site is not None and site.is_dir() and not (site / SCRIPT).is_file():
        raise UsageError(f"--site {site}: it has no {SCRIPT}, the portal's script; leave --site out")
    edges = tuple(edge for edge in options.network.of_role(Role.EDGE) if edge not in options.off)
    users = watching_users(options.network, edges)[0]
    watcher, reader = users[0], users[-1]
    times = {"watch_s": WATCH_S, "kill_s": KILL_S, "unplug_s": UNPLUG_S}
    browse = {"user": watcher, "reader": reader, "channel": CHANNEL, **times}
    scenario = replace(
        edge_scenario(options),
        workload={},
        acts=(Act("resume", {"user": reader}), Act("browse", browse)),
        offering=Offering(channels=(CHANNEL,), has_local=True),
    )
    return [scenario]
