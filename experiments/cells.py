"""Cells of a sweep: one way to bring one content to all edges of a lab, with one loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiments.content import Content, Kind


class Method(StrEnum):
    """How content comes from the origin to the edges."""

    MULTICAST = "multicast"
    UFTP = "uftp"
    PUSH = "push"
    TUNNEL = "tunnel"
    RSYNC = "rsync"
    PULL = "pull"


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement; `loss_percent` is lost independently on the last link to each edge."""

    method: Method
    content: Content
    loss_percent: float = 0.0

    @property
    def name(self) -> str:
        """Unique in its lab: the phase of links.csv, the prefix of logs."""
        return f"{self.method}-{self.content.name}-loss{self.loss_percent:g}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, see `cell_from_json`."""
        return {
            "method": str(self.method),
            "kind": str(self.content.kind),
            "amount": self.content.amount,
            "loss_percent": self.loss_percent,
        }


def cell_from_json(data: Mapping[str, Any]) -> Cell:
    """The inverse of `Cell.to_json`."""
    content = Content(Kind(data["kind"]), data["amount"])
    return Cell(Method(data["method"]), content, data["loss_percent"])
