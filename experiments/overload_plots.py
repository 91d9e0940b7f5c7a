"""Pictures of overload: what visitors got over time, and how long those who were being served waited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.figure import Figure, Scenarios
from experiments.records import ScenarioRecords
from experiments.statistics import cumulative
from experiments.style import FULL_WIDTH_IN, INK, MUTED, OTHER_SERIES, SERIES, save, scenario_name
from experiments.visitors import Kind
from topologies.spec import Topology

_ORDER = ("crowd", "crowd-open", "loris", "loris-many", "loris-open", "readers")


def visits_over_time(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Each scenario: times of answers and refusals above, what the edges hold below."""
    shown = [name for name in _ORDER if name in scenarios and scenarios[name].visits]
    if not shown:
        return None
    height = 2.7 * len(shown)
    figure, grid = pyplot.subplots(len(shown), 2, figsize=(FULL_WIDTH_IN, height), squeeze=False)
    for (left, right), name in zip(grid, shown, strict=True):
        _answers(left, scenarios[name])
        _holdings(right, scenarios[name])
        left.set_title(scenario_name(name))
    for axes in grid[-1]:
        axes.set_xlabel("seconds since the visitors began to come")
    grid[0][0].legend(fontsize=7, loc="upper right", ncols=2)
    grid[0][1].legend(fontsize=7, loc="upper right")
    save(figure, folder, "overload")
    pyplot.close(figure)
    return Figure(
        "overload",
        "What visitors got, and what the edges held",
        "The attack lies in the shaded stretch. Left: every request by when it began; of the crowd's answers"
        " the time is that of their first byte. Right: at the edge that has most of them, requests being"
        " answered and connections, every 0.2 s.",
        tuple(f"raw/{name}/{file}" for name in shown for file in ("visits.csv", "process-load.csv")),
    )


def _answers(axes: Any, records: ScenarioRecords) -> None:
    zero_s = _shade(axes, records)
    regular = [row for row in records.visits if row.kind == Kind.REGULAR and row.ok]
    newcomers = [row for row in records.visits if row.kind == Kind.NEWCOMER and row.ok]
    crowd = [row for row in records.visits if row.kind == Kind.CROWD and row.ok]
    refused = [row for row in records.visits if row.status == 503]
    for rows, label, colour, marker in (
        (refused, "refused (503)", SERIES["central"], "x"),
        (crowd, "crowd, first byte", OTHER_SERIES[2], "."),
        (newcomers, "new users", OTHER_SERIES[0], "."),
        (regular, "served users", SERIES["edge"], "."),
    ):
        times = [(row.ttfb_s if row.kind == Kind.CROWD else row.total_s) * 1000 for row in rows]
        begun = [row.started_s - zero_s for row in rows]
        axes.plot(begun, times, marker, markersize=3, color=colour, label=label, linestyle="none")
    if crowd:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylabel("ms")


def _holdings(axes: Any, records: ScenarioRecords) -> None:
    zero_s = _shade(axes, records)
    times = sorted({row.t_s for row in records.process_loads})
    for label, colour, of in (
        ("connections", MUTED, "connections"),
        ("requests being answered", SERIES["edge"], "requests"),
    ):
        most = dict.fromkeys(times, 0)
        for row in records.process_loads:
            most[row.t_s] = max(most[row.t_s], getattr(row, of))
        axes.plot([time_s - zero_s for time_s in times], list(most.values()), color=colour, label=label)
    axes.set_ylim(bottom=0)


def _shade(axes: Any, records: ScenarioRecords) -> float:
    """Shade the attack; when the act began."""
    zero_s = min(row.t_s for row in records.process_loads)
    for period in records.periods:
        if period.period == "attack":
            axes.axvspan(period.begin_s - zero_s, period.end_s - zero_s, color=MUTED, alpha=0.12, linewidth=0)
    return zero_s


def served_users(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Distributions of the times of users who were being served, in calm and under attack."""
    pairs = [pair for pair in (("crowd", "crowd-open"), ("loris", "loris-open")) if pair[0] in scenarios]
    pairs = [pair for pair in pairs if scenarios[pair[0]].visits]
    if not pairs:
        return None
    figure, row = pyplot.subplots(1, len(pairs), figsize=(FULL_WIDTH_IN, 3.2), squeeze=False)
    for axes, (name, open_name) in zip(row[0], pairs, strict=True):
        _steps(axes, scenarios[name], "calm", "calm", MUTED, ":")
        _steps(axes, scenarios[name], "attack", "attack, limits", SERIES["edge"], "-")
        if open_name in scenarios:
            _steps(axes, scenarios[open_name], "attack", "attack, no limits", SERIES["central"], "--")
        if name == "crowd":
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0)
        axes.set_title(scenario_name(name))
        axes.set_xlabel("time of a request, ms")
        axes.legend(loc="lower right", fontsize=8, labelcolor=INK)
    row[0][0].set_ylabel("share of requests")
    save(figure, folder, "served-users")
    pyplot.close(figure)
    return Figure(
        "served-users",
        "How long served users waited",
        "Share of the requests of users on connections they keep that were answered within each time. In"
        " calm the first request of each opens its connection, under attack only those whose idle one was"
        " closed. A request that was not answered counts as never.",
        tuple(f"raw/{name}/visits.csv" for pair in pairs for name in pair if name in scenarios),
    )


def _steps(axes: Any, records: ScenarioRecords, period: str, label: str, colour: str, dash: str) -> None:
    spans = [(row.begin_s, row.end_s) for row in records.periods if row.period == period]
    rows = [
        row
        for row in records.visits
        if row.kind == Kind.REGULAR and any(begin_s <= row.started_s < end_s for begin_s, end_s in spans)
    ]
    requests = len({(row.user, row.visitor, row.request) for row in rows})
    answered = [row.total_s * 1000 for row in rows if row.ok]
    if answered:
        points = cumulative(answered)
        share = len(answered) / requests
        axes.step(
            [time for time, _ in points],
            [part * share for _, part in points],
            where="post",
            label=label,
            color=colour,
            linestyle=dash,
        )
