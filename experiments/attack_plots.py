"""Pictures of the attacks: what became of their frames, and what others noticed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from experiments.attack.records import AttackRow
from experiments.figure import Figure, Scenarios
from experiments.records import Request, ScenarioRecords
from experiments.style import FULL_WIDTH_IN, MUTED, SERIES, save, scenario_name
from topologies.spec import Topology

_FATES = (
    ("dropped", "dropped", "#0072b2"),
    ("refused", "refused with an error", "#56b4e9"),
    ("controller", "to the controller, limited", "#e69f00"),
    ("delivered", "to service or name server", "#009e73"),
)
_FLOOD = "floods"


def attack_outcomes(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """What the switches do with the frames of each family."""
    rows = scenarios["edge"].attacks if "edge" in scenarios else ()
    if not rows:
        return None
    families = list(dict.fromkeys(row.family for row in rows))
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 1.1 + 0.34 * len(families)))
    left = [0.0] * len(families)
    for field, label, colour in _FATES:
        shares = [100 * _share([row for row in rows if row.family == name], field) for name in families]
        axes.barh(families, shares, left=left, color=colour, label=label, height=0.72)
        left = [sum(pair) for pair in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the different frames, %")
    axes.grid(visible=False, axis="y")
    axes.legend(ncols=len(_FATES), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, folder, "attack-outcomes")
    pyplot.close(figure)
    leaked = sum(row.leaked for row in rows)
    return Figure(
        "attack-outcomes",
        "What became of the attacks",
        f"{len(rows)} attacks, {sum(row.distinct for row in rows):,} different frames of"
        f" {sum(row.sent for row in rows):,}, by what the switches do with them. The captures at"
        f" all hosts saw {leaked} where they must not be.",
        ("raw/edge/attacks.csv",),
    )


def _share(rows: list[AttackRow], field: str) -> float:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({name: getattr(row, name) for name, _, _ in _FATES})
    return counts[field] / (sum(counts.values()) or 1)


def others_meanwhile(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Times of other users' requests, with attacks and without."""
    shown = {name: scenarios[name] for name in ("calm", "edge") if name in scenarios}
    if not all(records.requests for records in shown.values()) or "edge" not in shown:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 3.2))
    begin_s = _begin_s(shown["edge"].requests)
    for row in shown["edge"].attacks:
        if row.family == _FLOOD:
            axes.axvspan(row.begin_s - begin_s, row.end_s - begin_s, color=MUTED, alpha=0.12, linewidth=0)
    for name, records in shown.items():
        _times(axes, name, records)
    axes.set_yscale("log")
    axes.set_ylabel("time of a request, ms")
    axes.set_xlabel("seconds since the first request")
    axes.legend(loc="upper left", ncols=2)
    save(figure, folder, "attack-others")
    pyplot.close(figure)
    return Figure(
        "attack-others",
        "What the others noticed",
        "Every request of every other user, from its start to the last byte: during the attacks, and in a run"
        " of the same network without any. The shaded stretches are floods of 10,000 frames a second. Points"
        " on one line are the users at one distance; where both runs agree, the crosses lie in the circles.",
        tuple(f"raw/{name}/requests.csv" for name in shown),
    )


def _begin_s(rows: tuple[Request, ...]) -> float:
    return min(row.started_s for row in rows)


def _times(axes: Any, name: str, records: ScenarioRecords) -> None:
    begin_s = _begin_s(records.requests)
    answered = [row for row in records.requests if row.ok]
    is_calm = name == "calm"
    axes.scatter(
        [row.started_s - begin_s for row in answered],
        [row.total_s * 1000 for row in answered],
        s=26 if is_calm else 9,
        marker="o" if is_calm else "x",
        facecolors="none" if is_calm else SERIES["edge"],
        edgecolors=MUTED if is_calm else None,
        linewidths=0.7,
        label=scenario_name(name) if is_calm else "during the attacks",
    )
