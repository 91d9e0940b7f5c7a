"""The few statistics the claims and pictures use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_PERCENT = 95.0
RESAMPLES = 2000
BOOTSTRAP_SEED = 1
"""Fixed, so that the same data always give the same interval."""

Counts = NDArray[np.int64]
"""For each resample (row) how often it contains each cluster (column)."""
Estimates = NDArray[np.float64]
"""A statistic in each resample."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The `percent`-th percentile, linear between the two nearest ranks (Hyndman and Fan's type 7).

    Raises ValueError without values or for a percentage outside 0..100.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} is not within 0..100")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    fraction = position - below
    if fraction == 0 or ordered[below] == ordered[above]:
        return ordered[below]
    return min(ordered[above], ordered[below] + (ordered[above] - ordered[below]) * fraction)


def median(values: Sequence[float]) -> float:
    """The 50th percentile. Raises ValueError without values."""
    return percentile(values, 50)


def cumulative(values: Sequence[float]) -> list[tuple[float, float]]:
    """The empirical distribution: each distinct value with the share of values at or below it."""
    ordered = sorted(values)
    return [
        (value, (index + 1) / len(ordered))
        for index, value in enumerate(ordered)
        if index + 1 == len(ordered) or ordered[index + 1] != value
    ]


def significant(value: float, digits: int) -> float:
    """`value` rounded to that many significant digits."""
    return float(f"{value:.{digits}g}")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line of least squares through points (x, y).

    Raises ValueError when there are not two different x.
    """
    if len({x for x, _ in points}) < 2:
        raise ValueError("a line needs two different x")
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / sum(
        (x - middle_x) ** 2 for x, _ in points
    )


def resampled_clusters(clusters: int, resamples: int = RESAMPLES, seed: int = BOOTSTRAP_SEED) -> Counts:
    """Draw as many clusters as there are, with replacement, again and again.

    Clusters are what is independent of each other, users say: the values of one user are not. Statistics of
    two samples that have their clusters in common are to use the same draws. Raises ValueError without
    clusters.
    """
    if clusters < 1:
        raise ValueError("no clusters")
    chance = np.random.Generator(np.random.PCG64(seed))
    return chance.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def resampled_percentiles(clusters: Sequence[Sequence[float]], counts: Counts, percent: float) -> Estimates:
    """`percentile` of all values of the clusters in each resample; NaN for a resample without values.

    Raises ValueError for a percentage outside 0..100 or where `counts` is not of these clusters.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} is not within 0..100")
    if counts.shape[1] != len(clusters):
        raise ValueError(f"{len(clusters)} clusters, {counts.shape[1]} columns of counts")
    values = np.array([value for cluster in clusters for value in cluster], dtype=np.float64)
    owners = np.repeat(np.arange(len(clusters)), [len(cluster) for cluster in clusters])
    order = np.argsort(values, kind="stable")
    values, owners = values[order], owners[order]
    found = np.full(len(counts), np.nan)
    for index, row in enumerate(counts):
        # Rank r of the resample is the first value with more than r copies at or before it.
        copies = np.cumsum(row[owners])
        if not len(copies) or copies[-1] == 0:
            continue
        position = (copies[-1] - 1) * percent / 100
        below = math.floor(position)
        low, high = values[np.searchsorted(copies, (below, min(below + 1, copies[-1] - 1)), side="right")]
        found[index] = low + (high - low) * (position - below)
    return found


def resampled_sums(clusters: Sequence[float], counts: Counts) -> Estimates:
    """The sum over the clusters in each resample, where each cluster has one value."""
    sums: Estimates = counts.astype(np.float64) @ np.asarray(clusters, dtype=np.float64)
    return sums


def interval(
    estimates: Estimates, confidence_percent: float = CONFIDENCE_PERCENT
) -> tuple[float, float] | None:
    """The bootstrap's percentile interval: the middle of the estimates; None when some are no numbers."""
    if not len(estimates) or not np.isfinite(estimates).all():
        return None
    tail = (100 - confidence_percent) / 2
    values = estimates.tolist()
    return percentile(values, tail), percentile(values, 100 - tail)
