"""The attacks on the clock: when each is carried out, and with which frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from experiments.attack.catalogue import numbered
from experiments.attack.model import Attack, Attacker, marks

GAP_S = 0.1
"""After an attack, so that all that it leads to has come where it goes."""
CURL_S = 0.3
"""For each request of curl."""
JOIN_S = 2.0
"""From the join to the tree, as in `experiments.acts.groups`."""
_GRID_PER_S = 100


@dataclass(frozen=True)
class Turn:
    """When an attack is carried out, in seconds since the first began, and its distinct frames; `heard` are
    those of the origin."""

    number: int
    attack: Attack
    at_s: float
    length_s: float
    frames: tuple[bytes, ...]
    heard: tuple[bytes, ...]

    @property
    def count(self) -> int:
        """How many frames are sent in all."""
        return len(self.frames) if self.attack.count is None else self.attack.count

    @property
    def end_s(self) -> float:
        """When the next one begins."""
        return self.at_s + self.length_s


def timetable(attacker: Attacker, names: tuple[str, ...] = ()) -> Iterator[Turn]:
    """The attacks of these names, or all, one after the other with a gap after each."""
    at_s = 0.0
    for number, attack in numbered(names).items():
        mark = marks(number)
        frames = tuple(islice(attack.frames(attacker, mark), attack.count))
        heard = tuple(attack.heard(attacker, mark)) if attack.heard else ()
        turn = Turn(number, attack, at_s, _length_s(attacker, attack, len(frames)), frames, heard)
        yield turn
        at_s = turn.end_s


def _length_s(attacker: Attacker, attack: Attack, frames: int) -> float:
    if attack.urls is not None:
        needed_s = len(attack.urls(attacker)) * CURL_S
    elif attack.joins:
        needed_s = JOIN_S + GAP_S
    else:
        needed_s = (frames if attack.count is None else attack.count) / attack.per_s
    return math.ceil((needed_s + GAP_S) * _GRID_PER_S) / _GRID_PER_S
