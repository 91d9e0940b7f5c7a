"""A catalogue of objects: sizes as web servers have them, content from a seed, popularity by Zipf's law."""

from __future__ import annotations

from bisect import bisect
from hashlib import shake_128
from itertools import accumulate
from pathlib import Path
from random import Random

OBJECTS = 10_000
ZIPF_EXPONENT = 0.9
"""Web proxies saw 0.64 to 0.83 (Breslau et al., INFOCOM '99); a steeper law is in favour of caches."""
BODY_SHARE = 0.93
BODY_MU, BODY_SIGMA = 9.357, 1.318
TAIL_LEAST_BYTES, TAIL_ALPHA = 133_000, 1.1
"""SURGE's model of the files of a web server (Barford and Crovella, SIGMETRICS '98): 93 % lognormal, the
rest Pareto."""
SCALE = 1 / 8
MOST_BYTES = 1_000_000
"""All sizes are an eighth of SURGE's, none is above this: eight edges keep all in a guest's memory."""


def object_sizes(count: int, seed: int) -> list[int]:
    """Bytes of each object, by its number."""
    chance = Random(f"sizes {seed}")
    return [_size(chance) for _ in range(count)]


def _size(chance: Random) -> int:
    if chance.random() < BODY_SHARE:
        size = chance.lognormvariate(BODY_MU, BODY_SIGMA)
    else:
        size = TAIL_LEAST_BYTES * chance.paretovariate(TAIL_ALPHA)
    return max(1, min(MOST_BYTES, round(size * SCALE)))


def object_path(number: int) -> str:
    """Where an object lies below the site's root."""
    return f"objects/{number // 100:03}/{number:05}.bin"


def write_objects(folder: Path, count: int, seed: int) -> None:
    """Write the site: so many objects that nothing can compress. Raises OSError."""
    for number, size in enumerate(object_sizes(count, seed)):
        target = folder / object_path(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(shake_128(f"object {seed} {number}".encode()).digest(size))


class Popularity:
    """Draws objects by Zipf's law; which object is how popular has nothing to do with its size."""

    def __init__(self, count: int, seed: int, exponent: float = ZIPF_EXPONENT) -> None:
        """The object of rank r is asked for with a probability proportional to 1 / r ** exponent."""
        self._by_rank = list(range(count))
        Random(f"ranks {seed}").shuffle(self._by_rank)
        self._sums = list(accumulate(rank**-exponent for rank in range(1, count + 1)))

    def draw(self, chance: Random) -> int:
        """The number of an object."""
        return self._by_rank[bisect(self._sums, chance.random() * self._sums[-1], hi=len(self._sums) - 1)]
