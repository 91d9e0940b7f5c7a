"""What a claim is, and what its functions are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.records import ScenarioRecords
from experiments.statistics import significant
from topologies.spec import Topology

Number = int | float
Interval = tuple[float, float]
"""A confidence interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One number with its baseline and verdict.

    `total` is the number that `value` is out of, if any; `rule` says when the claim holds; `notes` say
    why it does not, or what to know about it; `source` names the raw files it was computed from. The
    intervals are those of value, baseline and ratio, where there are samples to tell them from.
    """

    id: str
    statement: str
    value: Number | None
    unit: str
    rule: str
    holds: bool
    baseline: Number | None = None
    baseline_name: str = ""
    ratio: float | None = None
    total: int | None = None
    notes: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    interval: Interval | None = None
    baseline_interval: Interval | None = None
    ratio_interval: Interval | None = None

    @property
    def label(self) -> str:
        """Identifier, statement and unit in one line."""
        unit = "" if not self.unit or self.statement.startswith(self.unit) else f", {self.unit}"
        return f"{self.id} {self.statement}{unit}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        data["notes"], data["source"] = list(self.notes), list(self.source)
        return data


def compared(claim: Claim, baseline: Number | None, name: str) -> Claim:
    """The claim beside its baseline, with the ratio of the two."""
    ratio = None
    if claim.value is not None and baseline:
        ratio = significant(claim.value / baseline, 9)
    return replace(claim, baseline=baseline, baseline_name=name, ratio=ratio)


@dataclass(frozen=True)
class Evidence:
    """What claims are computed from: the topology, the scenarios' records and the edges switched off."""

    topology: Topology
    scenarios: Mapping[str, ScenarioRecords]
    off: tuple[str, ...] = ()

    def get(self, name: str) -> ScenarioRecords | None:
        """A scenario's records, None when it was not run."""
        return self.scenarios.get(name)


ClaimFunction = Callable[[Evidence], list[Claim]]
