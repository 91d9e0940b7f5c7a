"""A picture of a run, and how one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.records import ScenarioRecords
from topologies.spec import Topology

Scenarios = Mapping[str, ScenarioRecords]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture that was drawn: `plots/NAME.svg` and `.png`, and the raw files it shows."""

    name: str
    title: str
    caption: str
    source: tuple[str, ...] = ()


Painter = Callable[[Any, Topology, Scenarios, Path], Figure | None]
"""Draws one picture with pyplot and saves it; None when the run has no data for it."""
