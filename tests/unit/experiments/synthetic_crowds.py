"""Records of a sound run of `latency` on figure2, whose one crowd are its six users, to be spoilt."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from experiments.crowds import FEW_OBJECTS, crowd_name, plan_requests
from experiments.records import LinkSample, Request, RoundTrip, ScenarioRecords
from experiments.scenario import Mode
from topologies.files import load
from topologies.graph import nearest_edges, path_delay_ms, shortest_path_tree
from topologies.spec import Role, Topology, to_json

FIGURE2 = load("figure2")
USERS = FIGURE2.of_role(Role.USER)
CROWD = crowd_name(len(USERS))
ORIGIN = FIGURE2.of_role(Role.ORIGIN)[0]
OBJECT_BYTES = 2_000
Scenarios = dict[str, ScenarioRecords]


def latency_run() -> Scenarios:
    """All scenarios; half of what caches are asked for they have to fetch."""
    nearest = nearest_edges(FIGURE2)
    pairs = tuple(
        RoundTrip(user, nearest[user].edge, 2 * nearest[user].distance_ms, 2 * nearest[user].distance_ms)
        for user in USERS
    )
    ways = {name: _crowd(name) for name in ("edge", "cache", "central")}
    return {"paths": _records("paths", pairs, (), ()), **ways}


def _crowd(name: str) -> ScenarioRecords:
    nearest = nearest_edges(FIGURE2)
    requests = []
    loads: Counter[tuple[str, str]] = Counter()
    for number, get in enumerate(plan_requests(USERS, FEW_OBJECTS, 5, 1)):
        edge = nearest[get.user].edge
        ways = [_way(ORIGIN if name == "central" else edge, get.user)]
        if name == "cache" and number % 2:
            ways.append(_way(ORIGIN, edge))
        trips_ms = sum(2 * path_delay_ms(FIGURE2, way) for way in ways)
        times = (trips_ms / 1000, 2 * trips_ms / 1000, 2.1 * trips_ms / 1000)
        answered = "" if name == "cache" else ways[0][0]
        requests.append(
            Request(CROWD, get.user, get.path, "", 10 + get.at_s, *times, OBJECT_BYTES, 200, answered, "")
        )
        for way in ways:
            loads.update(dict.fromkeys(pairwise(way), OBJECT_BYTES))
    return _records(name, (), tuple(requests), _samples(FIGURE2, loads))


def _way(source: str, target: str) -> tuple[str, ...]:
    return shortest_path_tree(FIGURE2, source).path(target)


def _samples(topology: Topology, loads: Counter[tuple[str, str]]) -> tuple[LinkSample, ...]:
    return tuple(
        LinkSample(CROWD, t_s, link.name, *way, topology.link_layer(link), share * loads[way], 0, 0)
        for t_s, share in ((10.0, 0), (30.0, 1))
        for link in topology.links
        for way in ((link.a, link.b), (link.b, link.a))
    )


def _records(
    name: str,
    pairs: tuple[RoundTrip, ...],
    requests: tuple[Request, ...],
    links: tuple[LinkSample, ...],
) -> ScenarioRecords:
    mode = Mode.CENTRAL if name == "central" else Mode.EDGE
    asked = {"topology": to_json(FIGURE2), "mode": str(mode), "off": []}
    return ScenarioRecords(
        name,
        Path("/nowhere") / name,
        FIGURE2,
        round_trips=pairs,
        requests=requests,
        links=links,
        facts={"scenario": asked, "windows": []},
    )
