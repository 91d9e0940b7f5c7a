"""The pictures of channels and of local content: where they went, and how long users waited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.claims.channels import COLD, WARM
from experiments.drawing import LoadScale, draw_loads, link_load, load_bar
from experiments.figure import Figure, Scenarios
from experiments.loads import Direction, Load
from experiments.records import ScenarioRecords
from experiments.stream_loads import as_loads, chosen, phases_of, zap_ms
from experiments.streams import BIN_S
from experiments.style import FULL_WIDTH_IN, INK, MUTED, NAMES, save, scenario_colour, scenario_name
from topologies.spec import Topology

WAYS = {"edge": "multicast on demand", "unicast": "unicast stream", "always-on": "always-on multicast"}
"""How a scenario is called where the picture is about a channel."""
_MB = 1e6


def channel_loads(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Where the channel went in each phase, by each way of distribution."""
    return _loads_grid(
        pyplot,
        {name: scenarios[name] for name in WAYS if name in scenarios},
        folder,
        name="channel-loads",
        names=WAYS,
        phases={
            "nobody": "nobody watches",
            "one": "users of one edge watch",
            "several": "users of several edges watch",
        },
        title="Where a channel goes",
        caption="Bytes of the channel within eight seconds on every link, multicast and unicast, busier"
        " direction of each link; one scale for all pictures. Grey links carried next to nothing.",
    )


def local_loads(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Where local content went in each phase, from edges and from the central cloud."""
    return _loads_grid(
        pyplot,
        {name: scenarios[name] for name in ("edge", "central") if name in scenarios},
        folder,
        name="local-loads",
        names=NAMES,
        phases={
            "unasked": "uploaded, read by a neighbour",
            "asked": "read at another edge",
            "both": "uploaded for two subscribers",
        },
        title="Where users' uploads go",
        caption="Bytes of local content on every link, users' own requests included, busier direction of each"
        " link; one scale for all pictures. Grey links carried nothing, or next to nothing.",
    )


def _loads_grid(
    pyplot: Any,
    shown: Mapping[str, ScenarioRecords],
    folder: Path,
    *,
    name: str,
    names: Mapping[str, str],
    phases: Mapping[str, str],
    title: str,
    caption: str,
) -> Figure | None:
    """A row for each scenario, a column for each phase that all of them have."""
    columns = [
        phase for phase in phases if shown and all(phase in phases_of(each) for each in shown.values())
    ]
    if not columns:
        return None
    loads: dict[tuple[str, str], dict[Direction, Load]] = {}
    for scenario, records in shown.items():
        for phase in columns:
            span = phases_of(records)[phase]
            loads[scenario, phase] = as_loads(chosen(records, (phase,)), span.end_s - span.begin_s)
    largest = max(
        link_load(found, link.a, link.b, link.mtu_bytes)
        for (scenario, _), found in loads.items()
        for link in shown[scenario].topology.links
    )
    scale = LoadScale(float(largest))
    size = (FULL_WIDTH_IN, 2.3 * len(shown) + 0.4)
    figure, grid = pyplot.subplots(len(shown), len(columns), figsize=size, squeeze=False)
    for row, (scenario, records) in zip(grid, shown.items(), strict=True):
        for axes, phase in zip(row, columns, strict=True):
            draw_loads(axes, records.topology, loads[scenario, phase], scale)
            axes.set_title(f"{scenario_name(scenario, names)}:\n{phases[phase]}", fontsize=9)
    load_bar(figure, [axes for row in grid for axes in row], scale, "MB", _MB)
    save(figure, folder, name)
    pyplot.close(figure)
    return Figure(name, title, caption, tuple(f"raw/{scenario}/streams.csv" for scenario in shown))


def channel_bytes(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """The channel's bytes on all links, added up over time, with who watched when."""
    shown = {name: scenarios[name] for name in WAYS if name in scenarios and scenarios[name].viewings}
    if "edge" not in shown:
        return None
    figure, (axes, below) = pyplot.subplots(
        2, 1, figsize=(FULL_WIDTH_IN, 4.6), sharex=True, height_ratios=(3, 1)
    )
    for name, records in shown.items():
        times, total = _added_up(records)
        axes.step(
            times,
            total,
            where="post",
            linewidth=2,
            color=scenario_colour(name),
            label=scenario_name(name, WAYS),
        )
    axes.set_ylabel("MB on all links")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9)
    _viewers(below, shown["edge"])
    save(figure, folder, "channel-bytes")
    pyplot.close(figure)
    return Figure(
        "channel-bytes",
        "What a channel puts on the network over time",
        "Bytes of the channel on all links, added up since the first phase began. Below: who watches when,"
        " with the edge that answers. Multicast on demand costs nothing before the first viewer and after the"
        " last has gone.",
        tuple(f"raw/{name}/{file}" for name in shown for file in ("streams.csv", "viewing.csv")),
    )


def _begin_s(records: ScenarioRecords) -> float:
    return min((phase.begin_s for phase in records.phases), default=0.0)


def _added_up(records: ScenarioRecords) -> tuple[list[float], list[float]]:
    begin_s = _begin_s(records)
    end_s = max(phase.end_s for phase in records.phases)
    rows = sorted(chosen(records, phases_of(records)), key=lambda row: row.begin_s)
    times, total = [0.0], [0.0]
    for row in rows:
        times.append(row.begin_s + BIN_S - begin_s)
        total.append(total[-1] + row.bytes / _MB)
    return [*times, end_s - begin_s], [*total, total[-1]]


def _viewers(axes: Any, records: ScenarioRecords) -> None:
    """A bar for each viewer."""
    begin_s = _begin_s(records)
    users = dict.fromkeys(row.user for row in records.viewings)
    for line, user in enumerate(users):
        rows = [row for row in records.viewings if row.user == user]
        first_s, last_s = rows[0].started_s - begin_s, rows[-1].ended_s - begin_s
        axes.barh(line, last_s - first_s, left=first_s, height=0.55, color=MUTED)
        axes.text(last_s + 0.4, line, rows[-1].edge, va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(users)), users)
    axes.set_ylim(len(users) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds")


def zap_times(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """How long each user waited for a picture."""
    shown = {name: scenarios[name] for name in WAYS if name in scenarios}
    kinds = {"first viewer of an edge": COLD, "later viewer": WARM}
    rows = [
        (f"{word}: {scenario_name(name, WAYS)}", name, list(found.values()))
        for word, kind in kinds.items()
        for name, records in shown.items()
        if (found := zap_ms(records, kind))
    ]
    return _waits(
        pyplot,
        folder,
        rows,
        Figure(
            "zap",
            "From the first request to a picture",
            "Milliseconds from a viewer's first request of the playlist to the last byte of the first"
            " segment, one mark for each viewer. Every request has a connection of its own.",
            tuple(f"raw/{name}/viewing.csv" for name in shown),
        ),
    )


def local_times(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """How long uploading and reading took."""
    steps = {
        "upload": "upload",
        "neighbour": "a neighbour reads it",
        "asking": "first reader at another edge",
        "subscribed": "reader at a subscribed edge",
    }
    shown = {name: scenarios[name] for name in ("edge", "central") if name in scenarios}
    rows = [
        (f"{word}: {scenario_name(name)}", name, [row.total_s * 1000 for row in found])
        for step, word in steps.items()
        for name, records in shown.items()
        if (found := [row for row in records.requests if row.window == step and row.ok])
    ]
    return _waits(
        pyplot,
        folder,
        rows,
        Figure(
            "local-times",
            "Uploading and reading",
            "Milliseconds for each request, connect included, one mark for each. Users with slow links wait"
            " longest in both.",
            tuple(f"raw/{name}/requests.csv" for name in shown),
        ),
    )


def _waits(
    pyplot: Any, folder: Path, rows: Sequence[tuple[str, str, list[float]]], about: Figure
) -> Figure | None:
    """One line of marks for each row: its name, its scenario, milliseconds."""
    if not rows:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 0.9 + 0.36 * len(rows)))
    for line, (_, scenario, values) in enumerate(rows):
        axes.plot(
            values, [line] * len(values), "o", color=scenario_colour(scenario), alpha=0.75, markersize=7
        )
        axes.text(max(values), line, f"   {max(values):.0f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, max(max(values) for _, _, values in rows) * 1.1)
    axes.set_xlabel("ms")
    axes.grid(visible=False, axis="y")
    save(figure, folder, about.name)
    pyplot.close(figure)
    return about
