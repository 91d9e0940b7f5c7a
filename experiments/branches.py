"""When the branches of a group's tree came and went, from the event logs of the edges and the controller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]
COLUMNS = ("stream", "edge", "is_join", "edge_s", "controller_s", "synced_s")


def read_events(path: Path) -> list[Event]:
    """The events of a log, none when there is no log. Raises OSError, ValueError."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def branch_rows(
    stream: str,
    group: str,
    edges: Mapping[str, Sequence[Event]],
    controller: Sequence[Event],
    origin_s: float,
) -> list[tuple[str | int, ...]]:
    """The rows of branches.csv: each time an edge joined `stream` or left it, and the controller saw it."""
    rows: list[tuple[str | int, ...]] = []
    for edge, events in edges.items():
        for word, change, is_join in (("joined", "member-join", 1), ("left", "member-leave", 0)):
            told = [each["t"] for each in events if _is(each, word) and each["session"] == stream]
            seen = [each["t"] for each in controller if _is(each, change) and _of(each) == (edge, group)]
            for edge_s, controller_s in zip(told, seen, strict=False):
                synced_s = _first(controller, "synced", controller_s)
                times = (edge_s, controller_s, controller_s if synced_s is None else synced_s)
                rows.append((stream, edge, is_join, *(f"{value - origin_s:.6f}" for value in times)))
    return sorted(rows, key=lambda row: float(row[4]))


def _is(event: Event, word: str) -> bool:
    return bool(event.get("event") == word)


def _of(event: Event) -> tuple[Any, Any]:
    return event.get("host"), event.get("group")


def _first(events: Iterable[Event], word: str, since_s: float) -> float | None:
    """When the first such event happened, from `since_s` on."""
    return next((float(event["t"]) for event in events if _is(event, word) and event["t"] >= since_s), None)
