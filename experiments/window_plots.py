"""The pictures of windows and groups: what users noticed of faults, and where multicast arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.figure import Figure, Scenarios
from experiments.records import Request, ScenarioRecords
from experiments.style import FULL_WIDTH_IN, save
from experiments.timelines import arrivals, probes_over_time, requests_over_time
from topologies.spec import Topology

TITLES = {
    "alternate": "a link with a loop-free alternate",
    "repair": "a link without an alternate",
    "switch": "a switch",
    "unplug": "an edge is unplugged",
    "controller": "the controller is killed",
    "sweep": "another user sweeps the /64",
}
_COLUMNS = 2


def probe_windows(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Every window with probes, side by side."""
    shown = [
        (name, window)
        for name in sorted(scenarios)
        for window in dict.fromkeys(probe.window for probe in scenarios[name].probes)
    ]
    if not shown:
        return None
    lines = -(-len(shown) // _COLUMNS)
    width = min(_COLUMNS, len(shown))
    size = (FULL_WIDTH_IN, 2.6 * lines + 0.3)
    figure, grid = pyplot.subplots(lines, width, figsize=size, squeeze=False)
    places = [axes for row in grid for axes in row]
    for axes, (name, window) in zip(places, shown, strict=False):
        records = scenarios[name]
        probes = [probe for probe in records.probes if probe.window == window]
        steps = [step for step in records.faults if step.window == window]
        probes_over_time(axes, probes, steps, TITLES.get(window, window))
    for axes in places[len(shown) :]:
        axes.set_visible(False)
    save(figure, folder, "probes")
    pyplot.close(figure)
    return Figure(
        "probes",
        "What a probe every millisecond saw",
        "Round trip of every probe to the service by when it was sent, coloured by the edge that answered."
        " Crosses below are probes that were lost; solid lines are where something broke, dashed where it"
        " was mended.",
        tuple(dict.fromkeys(f"raw/{name}/probes.csv" for name, _ in shown)),
    )


def requests_by_edge(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Every request of the windows of `edge`, coloured by the edge that answered."""
    return _requests_picture(
        pyplot,
        scenarios,
        folder,
        key="edge",
        name="answers",
        title="Who answered",
        caption="Every request as a stroke where it began, coloured by the edge that answered; long downloads"
        " are lines below. Crosses are requests that failed. Solid lines are where a fault or"
        " a policy began, dashed lines where it ended.",
    )


def requests_by_address(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Every request of the windows of `edge`, coloured by the address it came from."""
    return _requests_picture(
        pyplot,
        scenarios,
        folder,
        key="source",
        name="addresses",
        title="The addresses that edges see",
        caption="Every request as a stroke where it began; the colour changes with the user's address. Long"
        " downloads are lines below, and keep the address they began with.",
    )


def _requests_picture(
    pyplot: Any, scenarios: Scenarios, folder: Path, *, key: str, name: str, title: str, caption: str
) -> Figure | None:
    records = scenarios.get("edge")
    if records is None or not records.requests:
        return None
    requests = [row for row in records.requests if row.error != "held"]
    users = dict.fromkeys(row.user for row in requests)
    by = {user: _series([row for row in requests if row.user == user], key) for user in users}
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 1.8 + 0.35 * len(users)))
    windows = {row.window for row in requests}
    requests_over_time(axes, requests, [step for step in records.faults if step.window in windows], by)
    save(figure, folder, name)
    pyplot.close(figure)
    return Figure(name, title, caption, ("raw/edge/requests.csv", "raw/edge/faults.csv"))


def _series(rows: list[Request], key: str) -> list[str]:
    """What each request is coloured by: the edge, or the number of the address among the user's own."""
    values = [str(getattr(row, key)) for row in rows]
    if key == "edge":
        return values
    order = list(dict.fromkeys(value for value, row in zip(values, rows, strict=True) if row.ok))
    return [f"address {order.index(value) + 1}" if value in order else "" for value in values]


def group_arrivals(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Where the groups of each scope arrived."""
    records = scenarios.get("edge")
    first = _first_act(records)
    if not first:
        return None
    senders = {delivery.sender for delivery in first}
    figure, row = pyplot.subplots(1, len(senders), figsize=(FULL_WIDTH_IN, 3.6), squeeze=False)
    arrivals(row[0], first)
    save(figure, folder, "groups")
    pyplot.close(figure)
    return Figure(
        "groups",
        "Where multicast of each scope arrived",
        "Every host has joined every group. Dark: all datagrams arrived; light: none. The fourth digit of a"
        " group is its scope: 3 one switch, 4 a distribution area, 5 and 8 the whole network without its"
        " users, e the world.",
        ("raw/edge/groups.csv",),
    )


def _first_act(records: ScenarioRecords | None) -> list[Any]:
    """The deliveries of the groups that were tried everywhere, not those of the content."""
    if records is None or not records.deliveries:
        return []
    everyone = {delivery.receiver for delivery in records.deliveries}
    heard_by: dict[str, set[str]] = {}
    for delivery in records.deliveries:
        heard_by.setdefault(delivery.group, set()).add(delivery.receiver)
    return [delivery for delivery in records.deliveries if len(heard_by[delivery.group]) == len(everyone)]
