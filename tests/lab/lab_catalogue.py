"""What each of the shared labs does: figure2 with a small site, under one fault each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.faults import Cut
from experiments.offering import Offering
from experiments.preparation import plan_fetches
from experiments.scenario import Act, Mode, Scenario
from lab.jobs import Clock, Job
from tests.lab.labs import WALL_LIMIT_S, scenario_job
from tests.lab.site import STYLE
from topologies.files import load
from topologies.spec import Topology

SEED = 7
LOSS_PERCENT = 2.0
KILLED = "edge2"
OFF = "edge1"
CUT_EDGE = "edge3"
CUT = Cut("access3", CUT_EDGE, at_s=1.0, mend_s=3.0)
FETCH_TIMES_S = (*(tick / 10 for tick in range(40)), *range(4, 15))
"""Dense around the cut, then for as long as a member may take to answer a query (RFC 9777 9.3: 10 s)."""


OFFERING = Offering(
    channels=("news",),
    has_local=True,
    idle_s=3.0,
    channel_rate_mbps=2.0,
    upload_bytes=100_000,
    burst_bytes=150_000,
)
ITEM_BYTES = 60_000


def topology() -> Topology:
    """The network of all labs here."""
    return load("figure2")


def makers(site: Path, large_site: Path) -> dict[str, Callable[[Path], Job]]:
    """The job of every lab, by name, given the folder for its output; the lossy one publishes the large site
    (of a small one, chance decides what a loss costs)."""
    network = topology()
    edge = Scenario(
        "edge",
        Mode.EDGE,
        network,
        SEED,
        site=str(site),
        workload=_with_style(plan_fetches(site, network, SEED), network),
        all_pairs=True,
    )
    plain = replace(edge, all_pairs=False)
    silent = replace(plain, workload={})
    lossy = replace(network, links=tuple(replace(link, loss_percent=LOSS_PERCENT) for link in network.links))
    scenarios = {
        "edge": edge,
        "again": edge,
        "other_seed": replace(silent, seed=SEED + 1),
        "central": replace(plain, mode=Mode.CENTRAL),
        "push": replace(silent, mode=Mode.PUSH),
        "lossy": replace(silent, topology=lossy, site=str(large_site)),
        # A slow stream, so that the kill falls into the middle of the publication.
        "killed": replace(silent, kill=(KILLED,), rate_mbps=2.0),
        "switched_off": replace(plain, off=(OFF,)),
        "cut": replace(plain, workload=_steady(network), faults=(CUT,)),
        "streams": replace(silent, offering=OFFERING, acts=(_watching(), _sharing())),
    }
    jobs: dict[str, Callable[[Path], Job]] = {
        name: _scenario_maker(scenario) for name, scenario in scenarios.items()
    }
    probing = {"scenario": silent.to_json()}
    jobs["packets"] = lambda out: Job(
        "tests.lab.packet_jobs:probe", probing, out, seed=SEED, wall_limit_s=WALL_LIMIT_S
    )
    jobs["native"] = lambda out: Job(
        "tests.lab.native_jobs:outer", probing, out, Clock.REAL, seed=SEED, wall_limit_s=WALL_LIMIT_S
    )
    return jobs


def _scenario_maker(scenario: Scenario) -> Callable[[Path], Job]:
    return lambda out: scenario_job(scenario, out)


def _steady(network: Topology) -> dict[str, list[dict[str, Any]]]:
    """The users below the cut edge, and one elsewhere, fetch a page at a steady pace."""
    url = f"http://{network.service.name}/"
    return {
        user: [
            {"page": f"{user}-{number}", "kind": "page", "start_s": start_s, "urls": [url]}
            for number, start_s in enumerate(FETCH_TIMES_S)
        ]
        for user in ("user5", "user1")
    }


def _with_style(
    workload: Mapping[str, list[dict[str, Any]]], network: Topology
) -> dict[str, list[dict[str, Any]]]:
    """In addition every user asks for one file compressed, all at one moment."""
    url = f"http://{network.service.name}/{STYLE}"
    more = {"page": STYLE, "kind": "page-part", "start_s": 1.0, "urls": [url], "compressed": True}
    return {user: [*entries, more] for user, entries in workload.items()}


def _watching() -> Act:
    """A user of the first edge watches, then one of the last edge too."""
    phases = (
        *(("nobody", 0), ("first", 2), ("one", 6), ("joining", 10)),
        *(("both", 14), ("leaving", 20), ("nobody-again", 32), ("end", 36)),
    )
    viewers = [
        {"user": "user1", "start_s": 2.0, "watch_s": 18.0, "viewing": "cold"},
        {"user": "user5", "start_s": 10.0, "watch_s": 10.0, "viewing": "graft"},
    ]
    return Act("watch", {"channel": "news", "phases": phases, "viewers": viewers})


def _sharing() -> Act:
    """A user uploads; a neighbour reads it, then a user of the last edge; in the end it is too much."""

    def step(phase: str, step: str, do: str, user: str, item: str, **more: int) -> dict[str, Any]:
        return {"phase": phase, "step": step, "do": do, "user": user, "item": item, **more}

    steps = [
        step("unasked", "upload", "upload", "user1", "one", bytes=ITEM_BYTES),
        step("unasked", "neighbour", "read", "user2", "one"),
        {"phase": "unasked", "do": "wait", "s": 1.0},
        step("asked", "asking", "read", "user5", "one"),
        {"phase": "asked", "do": "wait", "s": 1.0},
        step("subscribed", "upload", "upload", "user1", "two", bytes=ITEM_BYTES),
        {"phase": "subscribed", "do": "wait", "s": 1.0},
        step("read", "subscribed", "read", "user5", "two"),
        step("limits", "too-large", "upload", "user1", "large", bytes=100_001),
        step("limits", "upload", "upload", "user1", "three", bytes=ITEM_BYTES),
        step("limits", "upload", "upload", "user1", "four", bytes=ITEM_BYTES),
        step("limits", "too-much", "upload", "user1", "five", bytes=ITEM_BYTES),
    ]
    return Act("share", {"steps": steps})
