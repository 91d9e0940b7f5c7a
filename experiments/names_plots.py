"""Pictures of `names`: what a name server is told by number of edges, who is answered with an edge gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.claims.names import LATE_S
from experiments.figure import Figure, Scenarios
from experiments.names_config import Way
from experiments.style import FULL_WIDTH_IN, INK, MUTED, SERIES, save, scenario_name
from topologies.spec import Topology

_SCENARIO = {Way.ANYCAST: "edge", Way.GEO: "geo"}
_WINDOWS = {"kill": "the process of the edge is killed", "unplug": "the machine of the edge is unplugged"}


def names_by_edges(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Addresses and lines of configuration, by number of edges."""
    records = scenarios.get("edge")
    counts = records.name_counts[1:] if records else ()
    if not counts:
        return None
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 3.6))
    for axes, title, field in (
        (row[0], "addresses, and address records, of the service", "addresses"),
        (row[1], "lines of the name server's configuration", "lines"),
    ):
        for way, name in _SCENARIO.items():
            mine = [count for count in counts if count.way == way]
            axes.plot(
                [count.edges for count in mine],
                [getattr(count, field) for count in mine],
                color=SERIES[name],
                linestyle="-" if way is Way.ANYCAST else "--",
                label="one anycast address" if way is Way.ANYCAST else scenario_name(name),
            )
        axes.set_title(title)
        axes.set_xlabel("edges")
        axes.set_xlim(1, counts[-1].edges)
        axes.set_ylim(0)
    row[0].legend(loc="upper left")
    save(figure, folder, "names-edges")
    pyplot.close(figure)
    last = [count.changed_lines for count in counts if count.edges == counts[-1].edges]
    return Figure(
        "names-edges",
        "What a name server is told, by number of edges",
        "Counted in generated files for gdnsd 3, comments left out, where each edge is nearest to the users"
        f" of one prefix. One more edge changes {last[0]} lines with one anycast address, and {last[1]} with"
        " geo-DNS: the list of edges, a prefix, an address.",
        ("raw/edge/names.csv",),
    )


def answers_while_gone(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Every request of the users of an edge that is gone: answered or not, by when it was made."""
    shown = [name for name in ("edge", "geo") if name in scenarios and scenarios[name].requests]
    if not shown:
        return None
    figure, column = pyplot.subplots(len(_WINDOWS), 1, figsize=(FULL_WIDTH_IN, 4.4), sharex=True)
    for axes, (window, title) in zip(column, _WINDOWS.items(), strict=True):
        labels: list[str] = []
        for name in shown:
            rows = [row for row in scenarios[name].requests if row.window == window]
            faults = [step for step in scenarios[name].faults if step.window == window and step.is_break]
            if not rows or not faults:
                continue
            for user in sorted({row.user for row in rows}):
                own = [row for row in rows if row.user == user]
                came = [row.ended_s - faults[0].t_s for row in own if row.ok]
                lost = [row.started_s - faults[0].t_s for row in own if not row.ok or row.total_s > LATE_S]
                axes.scatter(came, [len(labels)] * len(came), s=40, color=SERIES[name], marker="|", lw=0.7)
                axes.scatter(lost, [len(labels)] * len(lost), s=9, color=INK, marker="x", lw=0.7)
                labels.append(f"{user}, {'anycast' if name == 'edge' else 'geo-DNS'}")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_title(title)
    column[-1].set_xlabel("seconds since the edge is gone")
    save(figure, folder, "names-answers")
    pyplot.close(figure)
    return Figure(
        "names-answers",
        "Who is answered while an edge is gone",
        "Requests of the users whose nearest edge it was. A bar is when an answer came, a black cross when a"
        f" request was made that got none within {LATE_S:g} s. In both scenarios the edge is back after 64 s"
        " and then answers what is sent to it again.",
        tuple(f"raw/{name}/requests.csv" for name in shown),
    )
