"""Crowds ask for objects, one crowd after the other, on links that are quiet before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence

from experiments.acts.context import Context
from experiments.acts.fetching import join, next_beginning, start_requests
from experiments.crowds import crowd_name, plan_requests
from lab.inside import progress
from topologies.spec import Role

QUIET_S = 1.0
"""After each crowd: connections that are closing have closed, and are counted."""
SAMPLE_INTERVAL_S = 5.0


def run(context: Context, *, sizes: Sequence[int], objects: int, requests: int) -> None:
    """The first so many users make requests, crowd by crowd; each crowd is a phase and a window."""
    testbed = context.testbed
    users = testbed.topology.of_role(Role.USER)
    for size in sizes:
        name = crowd_name(size)
        progress(f"{testbed.scenario.name}: {size} users make {requests} requests each")
        gets = plan_requests(users[:size], objects, requests, testbed.scenario.seed)
        begin_s = next_beginning(context)
        process = start_requests(context, name, gets, begin_s)
        time.sleep(max(0.0, begin_s - time.monotonic()))
        with context.sampler.phase(name, SAMPLE_INTERVAL_S):
            join(context, process)
            time.sleep(QUIET_S)
