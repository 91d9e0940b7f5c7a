"""Statistics against their definitions and against an independent implementation."""

from __future__ import annotations

import math
import random
import statistics as reference

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from experiments.statistics import (
    cumulative,
    interval,
    median,
    percentile,
    resampled_clusters,
    resampled_percentiles,
    resampled_sums,
    significant,
)

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


CLUSTERS = some.lists(some.lists(some.floats(0, 1e6, allow_nan=False), max_size=8), min_size=1, max_size=6)


@given(CLUSTERS, some.floats(0, 100), some.integers(0, 2**32))
def test_a_resampled_percentile_is_that_of_the_drawn_clusters(
    clusters: list[list[float]], percent: float, seed: int
) -> None:
    counts = resampled_clusters(len(clusters), resamples=5, seed=seed)
    assert counts.sum(axis=1).tolist() == [len(clusters)] * 5
    found = resampled_percentiles(clusters, counts, percent)
    for row, estimate in zip(counts.tolist(), found.tolist(), strict=True):
        drawn = [v for times, values in zip(row, clusters, strict=True) for v in values * times]
        if drawn:
            assert estimate == pytest.approx(percentile(drawn, percent), abs=1e-6)
        else:
            assert math.isnan(estimate)


@given(some.lists(some.floats(0, 1e6), min_size=1, max_size=8), some.integers(0, 2**32))
def test_a_resampled_sum_is_that_of_the_drawn_clusters(values: list[float], seed: int) -> None:
    counts = resampled_clusters(len(values), resamples=3, seed=seed)
    for row, estimate in zip(counts.tolist(), resampled_sums(values, counts).tolist(), strict=True):
        assert estimate == pytest.approx(
            sum(times * value for times, value in zip(row, values, strict=True)), abs=1e-3
        )


@given(some.lists(some.floats(1, 1e3), min_size=1, max_size=40), some.floats(50, 99))
def test_an_interval_lies_within_the_estimates_and_grows_with_confidence(
    values: list[float], confidence: float
) -> None:
    narrow, wide = interval(numpy.array(values), confidence), interval(numpy.array(values), confidence + 1)
    assert narrow is not None
    assert wide is not None
    assert min(values) <= wide[0] <= narrow[0] <= narrow[1] <= wide[1] <= max(values)


def test_an_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    """Users differ more than their requests do: taking requests for independent would make it too narrow."""
    chance = random.Random(1)
    covered = naive = 0
    for _ in range(200):
        users = [[centre + chance.gauss(0, 1) for _ in range(10)] for centre in _centres(chance, 24)]
        counts = resampled_clusters(len(users), resamples=200)
        low, high = interval(resampled_percentiles(users, counts, 50)) or (0.0, 0.0)
        covered += low <= 100 <= high
        requests = [[value] for values in users for value in values]
        alone = resampled_percentiles(requests, resampled_clusters(len(requests), resamples=200), 50)
        low, high = interval(alone) or (0.0, 0.0)
        naive += low <= 100 <= high
    assert 0.88 <= covered / 200 <= 0.99
    assert naive / 200 < 0.75


def _centres(chance: random.Random, count: int) -> list[float]:
    return [chance.gauss(100, 10) for _ in range(count)]


def test_the_same_draws_every_time() -> None:
    assert (resampled_clusters(7) == resampled_clusters(7)).all()


def test_what_cannot_be_resampled_is_an_error_or_no_interval() -> None:
    with pytest.raises(ValueError, match="no clusters"):
        resampled_clusters(0)
    with pytest.raises(ValueError, match="2 clusters, 3 columns"):
        resampled_percentiles([[1.0], [2.0]], resampled_clusters(3), 50)
    with pytest.raises(ValueError, match="101"):
        resampled_percentiles([[1.0]], resampled_clusters(1), 101)
    assert interval(numpy.array([])) is None
    assert interval(numpy.array([1.0, math.nan])) is None
