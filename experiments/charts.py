"""The charts inside the pictures: each draws records on the axes it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.claims.latency import ROUND_TRIP_TOLERANCE, first_bytes_ms, page_loads_ms
from experiments.loads import most_loaded, phase_loads, rates
from experiments.records import RoundTrip, ScenarioRecords, Transfer
from experiments.statistics import cumulative, median, percentile
from experiments.style import (
    DASHES,
    INK,
    MUTED,
    SERIES,
    SYNC_NAMES,
    scenario_colour,
    scenario_name,
)
from experiments.timelines import colours, mark_faults

_WIDE_RANGE = 20.0  # a logarithmic axis when values spread further than this

_Measure = Callable[[Sequence[Transfer]], list[float]]
_Reduce = Callable[[Sequence[float]], float]


def distributions(row: Sequence[Any], scenarios: Mapping[str, ScenarioRecords]) -> None:
    """Two cumulative distributions: time to first byte (median named), page load (95th percentile)."""
    measures: tuple[tuple[str, _Measure, str, _Reduce], ...] = (
        ("time to first byte", first_bytes_ms, "median", median),
        ("page load", page_loads_ms, "95th percentile", lambda values: percentile(values, 95)),
    )
    for axes, (title, measure, mark_name, mark) in zip(row, measures, strict=True):
        values = {name: measure(records.transfers) for name, records in scenarios.items()}
        values = {name: found for name, found in values.items() if found}
        for name, found in values.items():
            steps = cumulative(found)
            axes.step(
                [steps[0][0], *(value for value, _ in steps)],
                [0.0, *(share for _, share in steps)],
                where="post",
                color=scenario_colour(name),
                linestyle=DASHES.get(name, "-"),
                linewidth=2,
                label=f"{scenario_name(name)}: {mark_name} {mark(found):.3g} ms",
            )
        everything = [value for found in values.values() for value in found]
        if everything and min(everything) > 0 and max(everything) / min(everything) > _WIDE_RANGE:
            plain_logarithmic(axes)
        else:
            axes.set_xlim(left=0)
        axes.set_ylim(0, 1.02)
        axes.set_title(title)
        axes.set_xlabel("ms")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    row[0].set_ylabel("share of page loads")


def plain_logarithmic(axes: Any) -> None:
    """A logarithmic horizontal axis marked 1, 2, 5, 10 … in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def throughput(axes: Any, scenarios: Mapping[str, ScenarioRecords]) -> None:
    """Rate over time of each scenario's most-loaded backbone direction during the publication."""
    for name, records in scenarios.items():
        found = most_loaded(records.topology, phase_loads(records.links, "publish"))
        if found is None:
            continue
        load = found[0]
        series = rates(records.links, "publish")[load.source, load.target]
        if not series:
            continue
        began = series[0].t_s - series[0].seconds / 2
        edges = [series[0].t_s - began - series[0].seconds / 2]
        edges += [rate.t_s - began + rate.seconds / 2 for rate in series]
        axes.stairs(
            [rate.mbps for rate in series],
            edges,
            color=scenario_colour(name),
            linestyle=DASHES.get(name, "-"),
            linewidth=1.8,
            baseline=None,
            label=f"{scenario_name(name, SYNC_NAMES)}: {load.source} to {load.target}",
        )
    axes.set_xlabel("seconds since the publication began")
    axes.set_ylabel("Mbit/s")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(fontsize=9)


def completions(axes: Any, scenarios: Mapping[str, ScenarioRecords]) -> None:
    """One row for each scenario, one mark for each edge at the time it was complete."""
    for index, (name, records) in enumerate(scenarios.items()):
        published = [sample.t_s for sample in records.links if sample.phase == "publish"]
        began = min(published, default=0.0)
        times = sorted(row.completed_s - began for row in records.sync if row.completed_s is not None)
        axes.plot(
            times,
            [index] * len(times),
            marker="o",
            markersize=8,
            linewidth=1,
            color=scenario_colour(name),
            markeredgecolor="white",
        )
        axes.annotate(
            f"{len(times)} edges, last at {times[-1]:.3g} s",
            (times[-1], index),
            xytext=(8, 8),
            textcoords="offset points",
            ha="right" if times[-1] > 0 else "left",
            fontsize=9,
        )
    axes.set_yticks(range(len(scenarios)), [scenario_name(name, SYNC_NAMES) for name in scenarios])
    axes.set_ylim(len(scenarios) - 0.5, -0.7)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the publication began")


def round_trips(row: Sequence[Any], pairs: Sequence[RoundTrip]) -> None:
    """Measured over configured, and the deviation in percent."""
    configured = [pair.configured_ms for pair in pairs]
    largest = max([*configured, *(pair.measured_ms for pair in pairs)]) * 1.05
    row[0].plot((0, largest), (0, largest), color=MUTED, linewidth=1)
    row[0].scatter(configured, [pair.measured_ms for pair in pairs], s=18, color=SERIES["edge"], alpha=0.7)
    row[0].set_xlim(0, largest)
    row[0].set_ylim(0, largest)
    row[0].set_xlabel("configured, ms")
    row[0].set_ylabel("measured, ms")
    row[0].set_title(f"{len(pairs)} user-edge pairs")
    tolerance = ROUND_TRIP_TOLERANCE * 100
    for level in (-tolerance, tolerance):
        row[1].axhline(level, color=MUTED, linewidth=1, linestyle="--")
    row[1].axhline(0, color=MUTED, linewidth=1)
    row[1].scatter(
        configured, [pair.deviation * 100 for pair in pairs], s=18, color=SERIES["edge"], alpha=0.7
    )
    row[1].set_xlim(0, largest)
    reach = max(tolerance * 1.4, *(abs(pair.deviation) * 110 for pair in pairs))
    row[1].set_ylim(-reach, reach)
    row[1].set_xlabel("configured, ms")
    row[1].set_ylabel("measured minus configured, %")
    row[1].set_title("deviation")


def answers(axes: Any, records: ScenarioRecords) -> None:
    """One row for each user: requests as lines coloured by the edge that answered, crosses for lost ones."""
    users = list(dict.fromkeys(row.user for row in records.transfers))
    edges = list(dict.fromkeys(row.edge for row in records.transfers if row.ok))
    by_edge = colours(edges)
    named: set[str] = set()
    for row in records.transfers:
        y = users.index(row.user)
        if row.ok:
            label = "" if row.edge in named else row.edge
            named.add(row.edge)
            span = (row.started_s, row.ended_s)
            axes.plot(span, (y, y), color=by_edge[row.edge], linewidth=7, solid_capstyle="butt", label=label)
        else:
            label = "" if "lost" in named else "no answer"
            named.add("lost")
            axes.plot([row.started_s], [y], "x", color=INK, markersize=9, markeredgewidth=2, label=label)
    mark_faults(axes, [step for step in records.faults if step.window == "requests"])
    axes.set_yticks(range(len(users)), users)
    axes.set_ylim(len(users) - 0.4, -0.8)
    axes.set_xlabel("seconds since the scenario began")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=6, fontsize=9)
