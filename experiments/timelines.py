"""Charts of windows: probes, requests and faults over time; and where multicast arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.records import Delivery, FaultStep, Probe, Request
from experiments.style import INK, LOAD_MAP, MUTED, OTHER_SERIES, SERIES

PALETTE = (SERIES["edge"], SERIES["central"], *OTHER_SERIES, SERIES["push"], "#8c564b")
_AROUND_MS = 20.0
_LONG_S = 1.0
_LANE = 0.2
_LOST_AT = -0.06
"""Where lost probes are marked, as a share of the axis."""


def colours(names: Sequence[str]) -> Mapping[str, str]:
    """A colour for each name, in the order of first use."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(dict.fromkeys(names))}


def mark_faults(axes: Any, steps: Sequence[FaultStep], origin_s: float = 0.0) -> None:
    """A vertical line where something breaks (solid) or is mended (dashed), with its name."""
    for step in steps:
        axes.axvline(step.t_s - origin_s, color=INK, linewidth=1, linestyle="-" if step.is_break else "--")
        text = f"{step.kind} {step.target}" if step.is_break else "mended"
        axes.annotate(
            text,
            (step.t_s - origin_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            fontsize=7,
            va="top",
            rotation=90,
        )


def probes_over_time(axes: Any, probes: Sequence[Probe], steps: Sequence[FaultStep], title: str) -> None:
    """Round trips of a window's probes by when they were sent, coloured by who answered; crosses below are
    probes that were lost, and the axis shows the time around them. Time counts from the first fault."""
    origin_s = min((step.t_s for step in steps), default=min(probe.sent_s for probe in probes))
    by_edge = colours([probe.edge for probe in probes if probe.rtt_ms is not None])
    for edge, colour in by_edge.items():
        found = [probe for probe in probes if probe.rtt_ms is not None and probe.edge == edge]
        axes.plot(
            [(probe.sent_s - origin_s) * 1000 for probe in found],
            [probe.rtt_ms for probe in found],
            ".",
            markersize=3,
            color=colour,
            label=edge,
        )
    lost = [(probe.sent_s - origin_s) * 1000 for probe in probes if probe.rtt_ms is None]
    largest = max((probe.rtt_ms for probe in probes if probe.rtt_ms is not None), default=1.0)
    if lost:
        axes.plot(lost, [largest * _LOST_AT] * len(lost), "x", markersize=4, color=INK, label="lost")
    for step in steps:
        style = "-" if step.is_break else "--"
        axes.axvline((step.t_s - origin_s) * 1000, color=MUTED, linewidth=1, linestyle=style)
    axes.set_ylim(largest * _LOST_AT * 2, largest * 1.15)
    if lost:
        axes.set_xlim(min(lost) - _AROUND_MS, max(lost) + 2 * _AROUND_MS)
    axes.set_title(title)
    axes.set_xlabel("ms since it broke" if steps else "ms since the window began")
    axes.set_ylabel("round trip, ms")
    axes.legend(fontsize=8, markerscale=3, loc="lower right")


def requests_over_time(
    axes: Any, requests: Sequence[Request], steps: Sequence[FaultStep], by: Mapping[str, Sequence[str]]
) -> None:
    """One row for each user: short requests as strokes, long ones as lines below, crosses where one failed.
    `by` gives the series of each user's requests (an edge, an address), which sets their colour."""
    users = list(by)
    series = colours([name for names in by.values() for name in names])
    remaining = {user: iter(names) for user, names in by.items()}
    named: set[str] = set()
    lanes: dict[str, int] = {}
    for row in requests:
        y, name = users.index(row.user), next(remaining[row.user])
        if not row.ok:
            axes.plot([row.started_s], [y], "x", color=INK, markersize=8, markeredgewidth=2)
            continue
        label = "" if name in named or len(series) > len(PALETTE) else name
        named.add(name)
        if row.total_s <= _LONG_S:
            axes.plot(
                [row.started_s], [y], "|", color=series[name], markersize=9, markeredgewidth=2, label=label
            )
            continue
        lanes[row.user] = lanes.get(row.user, 0) + 1
        below = y + _LANE * lanes[row.user]
        span = (row.started_s, row.ended_s)
        axes.plot(span, (below, below), color=series[name], linewidth=4, solid_capstyle="butt", label=label)
    mark_faults(axes, steps)
    axes.set_yticks(range(len(users)), users)
    axes.set_ylim(len(users) - 0.4, -0.8)
    axes.set_xlabel("seconds since the scenario began")
    if named and len(series) <= len(PALETTE):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=6, fontsize=9)


def arrivals(row: Sequence[Any], deliveries: Sequence[Delivery]) -> None:
    """For each sender a matrix: the share of its datagrams that arrived, by group and receiver."""
    senders = list(dict.fromkeys(delivery.sender for delivery in deliveries))
    for axes, sender in zip(row, senders, strict=True):
        own = [delivery for delivery in deliveries if delivery.sender == sender]
        groups = list(dict.fromkeys(delivery.group for delivery in own))
        receivers = list(dict.fromkeys(delivery.receiver for delivery in deliveries))
        share = [[float("nan")] * len(receivers) for _ in groups]
        for delivery in own:
            place = share[groups.index(delivery.group)]
            place[receivers.index(delivery.receiver)] = delivery.received / delivery.sent
        axes.imshow(share, aspect="auto", cmap=LOAD_MAP, vmin=0, vmax=1.3)
        axes.set_xticks(range(len(receivers)), receivers, rotation=90, fontsize=7)
        axes.set_yticks(range(len(groups)), groups, fontsize=8)
        axes.grid(visible=False)
        axes.set_title(f"sent by {sender}")
