"""Pictures of crowds: what users wait for, at edges, at caches and at a central cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.charts import plain_logarithmic
from experiments.claims.crowds import by_user, first_byte_ms, total_ms
from experiments.claims.load import core_bytes
from experiments.crowds import crowd_name, crowd_sizes
from experiments.figure import Figure, Scenarios
from experiments.records import Request
from experiments.statistics import cumulative, median, percentile
from experiments.style import FULL_WIDTH_IN, INK, save, scenario_colour
from topologies.spec import Topology

WAYS = {"edge": "edges", "cache": "cold caches", "central": "central cloud"}
_DASHES = {"edge": "-", "cache": ":", "central": "--"}
_NAMED_AT = {"edge": 55.0, "cache": 62.0, "central": 22.0}
"""The percentile at which a curve is named, apart from the others' names."""
_ROOM = 3.0
"""The axis ends at so many times the largest value: names stand beside the curves."""
_MEASURES: tuple[tuple[str, Callable[[Request], float]], ...] = (
    ("time to first byte", first_byte_ms),
    ("whole object", total_ms),
)


def crowd_waits(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Distributions of the time to first byte and to the last, a row for each crowd."""
    sizes = crowd_sizes(topology)
    shown = [name for name in WAYS if name in scenarios and scenarios[name].requests]
    if not shown:
        return None
    figure, rows = pyplot.subplots(
        len(sizes),
        2,
        figsize=(FULL_WIDTH_IN, 0.6 + 2.7 * len(sizes)),
        squeeze=False,
        sharex="col",
        sharey=True,
    )
    for size, row in zip(sizes, rows, strict=True):
        for axes, (title, measure) in zip(row, _MEASURES, strict=True):
            found = {name: _values(scenarios, name, size, measure) for name in shown}
            _distributions(axes, {name: values for name, values in found.items() if values})
            axes.set_title(f"{title}, {size} users")
        row[0].set_ylabel("share of requests")
    for axes in rows[-1]:
        axes.set_xlabel("ms, logarithmic")
    save(figure, folder, "crowds")
    pyplot.close(figure)
    return Figure(
        "crowds",
        "What users wait for, by the number of users",
        "Share of requests answered within each time, with the median and the 95th percentile of each way."
        " Left: to the first byte of the answer, connect included. Right: to the last. Every request has a"
        " connection of its own; objects are asked for by Zipf's law, at the same times in every way. Caches"
        " are empty when a crowd begins. Network time only: under the virtual clock computing takes no time.",
        tuple(f"raw/{name}/requests.csv" for name in shown),
    )


def crowd_loads(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Bytes on the core links for each request, by the number of users."""
    bars = [
        (f"{WAYS[name]}, {size} users", name, found, len(by_user_rows))
        for size in crowd_sizes(topology)
        for name in WAYS
        if name in scenarios
        and (found := core_bytes(scenarios[name], crowd_name(size))) is not None
        and (by_user_rows := _values(scenarios, name, size, total_ms))
    ]
    if not bars:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 0.8 + 0.3 * len(bars)))
    for line, (_, name, found, requests) in enumerate(bars):
        kilobytes = found / requests / 1000
        axes.barh(line, kilobytes, height=0.6, color=scenario_colour(name))
        text = (
            f" {kilobytes:.3g} kB ({found / 1e6:.3g} MB for {requests:,} requests)" if found else " nothing"
        )
        axes.text(kilobytes, line, text, va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(bars)), [label for label, _, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, max(found / requests for _, _, found, requests in bars) / 1000 * 1.35 or 1.0)
    axes.set_xlabel("kB for each request, summed over all core links, both directions")
    axes.grid(visible=False, axis="y")
    save(figure, folder, "crowd-loads")
    pyplot.close(figure)
    return Figure(
        "crowd-loads",
        "What requests put on the core links",
        "Whole Ethernet frames on all links with a core switch, both directions, while a crowd asks, divided"
        " by the number of requests. A frame that crosses two core links counts twice. Bringing content to"
        " the edges beforehand is not in it.",
        tuple(f"raw/{name}/links.csv" for name in WAYS if name in scenarios),
    )


def _values(scenarios: Scenarios, name: str, size: int, measure: Callable[[Request], float]) -> list[float]:
    return [value for group in by_user(scenarios[name], size, measure) for value in group]


def _distributions(axes: Any, found: Mapping[str, Sequence[float]]) -> None:
    for name, values in found.items():
        steps = cumulative(values)
        axes.step(
            [steps[0][0], *(value for value, _ in steps)],
            [0.0, *(share for _, share in steps)],
            where="post",
            color=scenario_colour(name),
            linestyle=_DASHES[name],
            linewidth=2,
        )
        at = _NAMED_AT[name]
        axes.annotate(
            f"{WAYS[name]}\nmedian {median(values):.3g}\n95 %: {percentile(values, 95):.3g}",
            (percentile(values, at), at / 100),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=scenario_colour(name),
        )
    axes.set_ylim(0, 1.02)
    plain_logarithmic(axes)
    axes.set_xlim(right=_ROOM * max(max(values) for values in found.values()))
