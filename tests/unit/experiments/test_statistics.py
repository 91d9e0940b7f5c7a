"""Statistics against their definitions and against an independent implementation."""

from __future__ import annotations

import statistics as reference

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from experiments.statistics import cumulative, median, percentile, significant

VALUES = some.lists(some.floats(0, 1e6, allow_nan=False), min_size=1, max_size=60)


@given(VALUES, some.floats(0, 100))
def test_a_percentile_is_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(float(numpy.percentile(values, percent)), abs=1e-6)


@given(VALUES)
def test_the_median_is_the_standard_librarys(values: list[float]) -> None:
    assert median(values) == pytest.approx(reference.median(values))


@given(VALUES, some.floats(0, 100), some.floats(0, 100))
def test_percentiles_grow_and_stay_within_the_values(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert min(values) <= percentile(values, low) <= percentile(values, high) <= max(values)


@given(VALUES)
def test_a_distribution_counts_the_values_at_or_below(values: list[float]) -> None:
    points = cumulative(values)
    assert points[-1] == (max(values), 1.0)
    for value, share in points:
        assert share == sum(item <= value for item in values) / len(values)
    assert [value for value, _ in points] == sorted(set(values))


@given(VALUES)
def test_order_does_not_matter(values: list[float]) -> None:
    assert percentile(values, 95) == percentile(values[::-1], 95)


def test_no_values_and_no_such_percentile_are_errors() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="101"):
        percentile([1.0], 101)


def test_significant_digits() -> None:
    assert significant(123456.789, 3) == 123000
    assert significant(0.000123456, 3) == 0.000123
