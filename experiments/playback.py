"""How well a video played, from samples of its position; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol


class Sample(Protocol):
    """Where the player was at a time; both in seconds."""

    @property
    def t_s(self) -> float:
        """When."""

    @property
    def position_s(self) -> float:
        """The place in the video."""


def playing(samples: Iterable[Sample]) -> list[Sample]:
    """The samples from the one on after which the picture moves for the first time."""
    found = list(samples)
    for number, (before, after) in enumerate(pairwise(found)):
        if before.position_s > 0 and after.position_s > before.position_s:
            return found[number:]
    return []


def advanced_s(samples: Sequence[Sample]) -> float:
    """How much of the video was shown."""
    return samples[-1].position_s - samples[0].position_s if samples else 0.0


def longest_still_s(samples: Sequence[Sample]) -> float:
    """The longest time for which the picture stood still, as exactly as the samples are dense."""
    longest_s = since_s = 0.0
    for number, sample in enumerate(samples):
        if number == 0 or sample.position_s != samples[number - 1].position_s:
            since_s = sample.t_s
        longest_s = max(longest_s, sample.t_s - since_s)
    return longest_s
