"""locality: what users upload stays at their edge until another asks, regional content in its region (C4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from experiments.channels import watching_users
from experiments.offering import Offering
from experiments.options import Options, edge_scenario
from experiments.scenario import Act, Mode, Scenario
from experiments.scope import regional_acts
from topologies.spec import Role

TAKES = frozenset({"site", "off", "rate_mbps"})
SMALL_SITE = True
ITEM_BYTES = 300_000
TOO_LARGE_BYTES = 400_001
UPLOAD_BYTES, BURST_BYTES = 400_000, 1_500_000
IDLE_S = 6.0
QUIET_S = 2.0
"""Within it everything that an upload sets off has arrived."""
FORGOTTEN_S = 12.0
"""Idle time, the pause between two looks at it, and the time that a switch goes on asking for listeners."""

Step = dict[str, Any]


def scenarios(options: Options) -> list[Scenario]:
    """The same users upload to their edge and to the central cloud, and the same users read it."""
    topology = options.network
    edges = tuple(edge for edge in topology.of_role(Role.EDGE) if edge not in options.off)
    steps = list(sharing_steps(watching_users(topology, edges)))
    offering = Offering(has_local=True, idle_s=IDLE_S, upload_bytes=UPLOAD_BYTES, burst_bytes=BURST_BYTES)
    share = Act("share", {"steps": steps})
    edge = replace(
        edge_scenario(options),
        workload={},
        kill=(),
        acts=(share, *regional_acts(edges)),
        offering=offering,
    )
    return [edge, replace(edge, name="central", mode=Mode.CENTRAL, off=(), acts=(share,))]


def sharing_steps(groups: list[tuple[str, ...]]) -> Iterator[Step]:
    """What the users of the edges do (`groups`, one for each edge): those of the first upload, with two users
    there are neighbours, and those of the last and the one before read it."""
    first, last, other = groups[0], groups[-1], groups[(len(groups) - 1) // 2]
    uploader, neighbour = first[0], first[-1]

    def upload(phase: str, item: str, step: str = "upload", size: int = ITEM_BYTES) -> Step:
        return {"phase": phase, "step": step, "do": "upload", "user": uploader, "item": item, "bytes": size}

    def read(phase: str, step: str, user: str, item: str) -> Step:
        return {"phase": phase, "step": step, "do": "read", "user": user, "item": item}

    def wait(phase: str, s: float = QUIET_S) -> Step:
        return {"phase": phase, "do": "wait", "s": s}

    yield upload("unasked", "one.bin")
    yield read("unasked", "neighbour", neighbour, "one.bin")
    yield wait("unasked")
    yield read("asked", "asking", last[0], "one.bin")
    yield read("asked", "asked", last[-1], "one.bin")
    yield wait("asked")
    yield upload("subscribed", "two.bin")
    yield read("subscribed", "neighbour", neighbour, "two.bin")
    yield wait("subscribed")
    yield read("subscribed", "subscribed", last[0], "two.bin")
    yield read("subscribed", "subscribed", last[-1], "two.bin")
    if other is not first and other is not last:
        yield read("joining", "asking", other[0], "one.bin")
        yield wait("joining")
        yield upload("both", "three.bin")
        yield wait("both")
        for user in (neighbour, last[0], last[-1], other[0], other[-1]):
            yield read("both", "neighbour" if user == neighbour else "subscribed", user, "three.bin")
    yield wait("leaving", FORGOTTEN_S)
    yield upload("forgotten", "four.bin")
    yield read("forgotten", "neighbour", neighbour, "four.bin")
    yield wait("forgotten")
    yield upload("limits", "large.bin", "too-large", TOO_LARGE_BYTES)
    for number in range(BURST_BYTES // ITEM_BYTES):
        yield upload("limits", f"much-{number}.bin")
    yield upload("limits", "more.bin", "too-much")
    yield wait("limits", QUIET_S)
    yield upload("limits", "more.bin", "again")
