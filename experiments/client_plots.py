"""The picture of what a browser played while edges died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.figure import Figure, Scenarios
from experiments.playback import playing
from experiments.style import FULL_WIDTH_IN, INK, MUTED, save
from topologies.spec import Topology

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def playback(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Position and what was in hand over time, and below it who sent each segment."""
    records = scenarios.get("edge")
    samples = playing(records.playback) if records is not None else []
    if records is None or not samples:
        return None
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(FULL_WIDTH_IN, 4.6), sharex=True, height_ratios=(2.2, 1)
    )
    zero_s, first_s = samples[0].t_s, samples[0].position_s
    times = [sample.t_s - zero_s for sample in samples]
    shown = [sample.position_s - first_s for sample in samples]
    loaded = [sample.buffered_s - first_s for sample in records.playback if sample.t_s >= zero_s]
    above.fill_between(times, shown, loaded, color="#56b4e9", alpha=0.35, linewidth=0, label="in hand")
    above.plot(times, shown, color=INK, linewidth=1.5, label="shown")
    above.set_ylabel("seconds of the channel")
    above.legend(loc="upper left")
    segments = [row for row in records.browser_transfers if row.is_segment]
    edges = list(dict.fromkeys(row.edge for row in segments))
    for number, edge in enumerate(edges):
        arrived = [row.started_s + row.total_s - zero_s for row in segments if row.edge == edge]
        colour = _COLOURS[number % len(_COLOURS)]
        below.plot(arrived, [number] * len(arrived), linestyle="", marker="|", markersize=14, color=colour)
    below.set_yticks(range(len(edges)), edges)
    below.set_ylim(-0.7, len(edges) - 0.3)
    below.invert_yaxis()
    below.set_ylabel("segments from")
    below.set_xlabel("s since the picture began to move")
    for death in records.deaths:
        if death.act != "browse":
            continue
        for axes in (above, below):
            axes.axvline(death.t_s - zero_s, color=MUTED, linewidth=1)
        text = f" {death.edge} {death.kind}"
        above.annotate(text, (death.t_s - zero_s, 0), xycoords=("data", "axes fraction"), va="bottom")
    save(figure, folder, "playback")
    pyplot.close(figure)
    return Figure(
        "playback",
        "What the browser played while edges died",
        "Above: the position of the player, and how far ahead it had received. Below: when each segment"
        " had arrived, and from which edge. The vertical lines are where an edge died.",
        tuple(f"raw/edge/{name}.csv" for name in ("playback", "browser-requests", "deaths")),
    )
