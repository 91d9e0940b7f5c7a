"""Records of sound runs of `channels` and `locality` on figure2, made up by hand for the tests to spoil."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.channels import PHASES
from experiments.locality import ITEM_BYTES
from experiments.records import Delivery, Request, RoundTrip, ScenarioRecords
from experiments.stream_loads import tree
from experiments.stream_records import Branch, StreamBytes, StreamPhase, Viewing
from topologies.files import load
from topologies.spec import to_json

FIGURE2 = load("figure2")
EDGES = ("edge1", "edge2", "edge3")
SIZE = 50_000
WATCHING = {"one": ("edge1",), "several": ("edge1", "edge3"), "one-again": ("edge1",)}
BEGIN_S = {name: float(begin_s) for name, begin_s in PHASES}
USERS = {"user1": ("edge1", "cold"), "user5": ("edge3", "graft"), "user2": ("edge1", "warm")}
SEEN_S = {"user1": (8.0, 54.0), "user5": (20.0, 36.0), "user2": (22.0, 36.0)}
"""When each viewer watches."""
SHARING = ("unasked", "asked", "subscribed", "joining", "both", "leaving", "forgotten", "limits")


def on_link(
    phase: str, stream: str, way: str, source: str, target: str, size: int, begin_s: float
) -> StreamBytes:
    """Bytes of a stream on a direction of a link, all within one bin."""
    link = FIGURE2.port(source, target).link
    place = (link.name, source, target, str(FIGURE2.link_layer(link)))
    return StreamBytes(phase, stream, way, *place, begin_s, begin_s + 0.2, begin_s + 0.3, size, 40)


def _records(name: str, offering: Mapping[str, float]) -> ScenarioRecords:
    asked = {"topology": to_json(FIGURE2), "off": [], "acts": [], "offering": dict(offering)}
    return ScenarioRecords(
        name,
        Path("/nowhere") / name,
        FIGURE2,
        round_trips=(RoundTrip("user1", "edge1", 4.4, 4.4),),
        facts={"scenario": asked},
    )


def _channel(name: str, first_ms: Mapping[str, float], edges: Mapping[str, tuple[str, ...]], way: str,
             copies: int) -> ScenarioRecords:  # fmt: skip
    """`edges` that get the channel in each phase; by unicast the origin sends `copies` of it."""
    rows = []
    for phase, (*_, begin_s) in ((phase, (begin_s,)) for phase, begin_s in PHASES[:-1]):
        for source, target in sorted(tree(FIGURE2, "origin", edges.get(phase, ()))):
            size = SIZE * (copies if source == "origin" else 1)
            rows.append(on_link(phase, "live/news", way, source, target, size, begin_s + 1))
    # What the origin sends while edges come and go.
    if name == "edge":
        for edge, phase, begin_s in (
            ("edge1", "first", 8.5),
            ("edge3", "joining", 20.5),
            ("edge3", "leaving", 43.5),
        ):
            rows += [
                on_link(phase, "live/news", way, source, target, SIZE, begin_s)
                for source, target in sorted(tree(FIGURE2, "origin", (edge,)))
            ]
    viewings = []
    for user, (edge, viewing) in USERS.items():
        begin_s, end_s = SEEN_S[user]
        total_s = first_ms[viewing] / 2000
        path = "/live/news/index.m3u8"
        common = (0.004, 0.008, total_s)
        viewings.append(
            Viewing(user, viewing, "playlist", 5, path, begin_s, *common, 289, 200, edge, "", 0.0)
        )
        at_s, number = begin_s + total_s, 3
        while at_s < end_s:
            segment = f"/live/news/{number:05d}.ts"
            viewings.append(
                Viewing(user, viewing, "segment", number, segment, at_s, *common, 1000, 200, edge, "", 0.0)
            )
            at_s, number = at_s + 2.0, number + 1
    return _replace_all(_records(name, {"idle_s": 6.0}), rows, viewings)


def _replace_all(
    records: ScenarioRecords, rows: list[StreamBytes], viewings: list[Viewing]
) -> ScenarioRecords:
    phases = tuple(
        StreamPhase(name, begin_s, PHASES[number + 1][1], 100, 0)
        for number, (name, begin_s) in enumerate(PHASES[:-1])
    )
    branches = (
        Branch("live/news", "edge1", True, 8.08, 8.029, 8.030),
        Branch("live/news", "edge3", True, 20.09, 20.03, 20.031),
        Branch("live/news", "edge3", False, 42.0, 44.02, 44.021),
        Branch("live/news", "edge1", False, 60.0, 62.02, 62.021),
    )
    return ScenarioRecords(
        records.name,
        records.folder,
        records.topology,
        round_trips=records.round_trips,
        streams=tuple(rows),
        phases=phases,
        viewings=tuple(viewings),
        branches=branches if records.name == "edge" else (),
        facts=records.facts,
    )


def channels_run() -> dict[str, ScenarioRecords]:
    """A sound run of `channels`."""
    everywhere = {name: EDGES for name, _ in PHASES}
    times = {"cold": 240.0, "graft": 250.0, "warm": 40.0}
    unicast = {"cold": 200.0, "graft": 210.0, "warm": 110.0}
    always = dict.fromkeys(times, 40.0)
    return {
        "edge": _channel("edge", times, WATCHING, "multicast", 1),
        "unicast": _channel("unicast", unicast, WATCHING, "unicast", 2),
        "always-on": _channel("always-on", always, everywhere, "multicast", 1),
    }


def locality_run() -> dict[str, ScenarioRecords]:
    """A sound run of `locality`."""
    return {name: _sharing(name) for name in ("edge", "central")}


def _sharing(name: str) -> ScenarioRecords:
    records = _records(name, {"idle_s": 6.0})
    is_edge = name == "edge"
    seconds = 0.05 if is_edge else 0.15
    edges = {"user1": "edge1", "user2": "edge1", "user3": "edge2", "user5": "edge3"}

    def request(step: str, user: str, at_s: float, status: int = 200, size: int = ITEM_BYTES) -> Request:
        edge = edges[user] if is_edge else "origin"
        times = (at_s, 0.004, 0.008, seconds)
        return Request(step, user, "/local/x", "2001:db8:1::5", *times, size, status, edge, "")

    requests = (
        request("upload", "user1", 1.0, 201),
        request("neighbour", "user2", 1.1),
        request("asking", "user5", 11.0),
        request("subscribed", "user5", 21.0),
        request("asking", "user3", 31.0),
        request("subscribed", "user3", 41.0),
        request("subscribed", "user5", 41.2),
        request("too-large", "user1", 71.0, 413, 0),
        request("too-much", "user1", 72.0, 429, 0),
        request("again", "user1", 74.0, 201),
    )
    size = round(ITEM_BYTES * 1.12)
    rows = [on_link("unasked", "local", "unicast", "user1", "access1", ITEM_BYTES, 1.0)]
    if is_edge:
        rows += [
            on_link("both", "local/edge1", "multicast", source, target, size, 41.0)
            for source, target in sorted(tree(FIGURE2, "edge1", ("edge2", "edge3")))
        ]
    else:
        rows += [
            on_link(phase, "local", "unicast", "origin", "core1", copies * ITEM_BYTES, begin_s)
            for phase, copies, begin_s in (("unasked", 1, 1.1), ("both", 5, 41.0))
        ]
    phases = tuple(
        StreamPhase(phase, 10.0 * number, 10.0 * number + 10, 100, 0) for number, phase in enumerate(SHARING)
    )
    deliveries = (Delivery("ff34::8000:4", "edge1", "edge2", 200, 200),)
    return ScenarioRecords(
        name,
        records.folder,
        FIGURE2,
        round_trips=records.round_trips,
        streams=tuple(rows),
        phases=phases,
        requests=requests,
        deliveries=deliveries if is_edge else (),
        facts=records.facts,
    )
