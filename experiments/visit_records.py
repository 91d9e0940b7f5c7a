"""What else an act with visitors leaves as typed records: its periods, and states of edges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of an act by name: `calm` before an attack, `attack`, `after`."""

    period: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class EdgeStateChange:
    """From `t_s` on the controller took the edge for `accepting`, `keeping` (no new users) or `dead`."""

    edge: str
    state: str
    t_s: float
