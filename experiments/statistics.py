"""The few statistics the claims and pictures use."""

from __future__ import annotations

import math
from collections.abc import Sequence


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
