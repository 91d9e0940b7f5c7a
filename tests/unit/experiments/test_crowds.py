"""Crowds and their objects: sizes, popularity, who asks for what and when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as some

from experiments.crowds import (
    THINK_S,
    crowd_sizes,
    object_count,
    plan_requests,
    with_users,
)
from experiments.objects import MOST_BYTES, OBJECTS, Popularity, object_path, object_sizes, write_objects
from topologies.check import check
from topologies.files import load
from topologies.spec import Role
from topologies.three_tier import three_tier

METRO = load("metro")
FIGURE2 = load("figure2")


def test_ten_thousand_objects_are_as_large_as_they_should_be() -> None:
    sizes = object_sizes(OBJECTS, 1)
    assert len(sizes) == OBJECTS
    assert 1_000 < median(sizes) < 2_000
    assert 50e6 < sum(sizes) < 110e6
    assert max(sizes) == MOST_BYTES
    assert sizes == object_sizes(OBJECTS, 1) != object_sizes(OBJECTS, 2)


def test_a_site_is_written_from_its_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_objects(tmp_path / name, 120, seed)
    one, again, other = (
        [(tmp_path / name / object_path(number)).read_bytes() for number in range(120)]
        for name in ("one", "again", "other")
    )
    assert one == again != other
    assert [len(content) for content in one] == object_sizes(120, 1)
    assert len(set(one)) > 115


@given(some.integers(2, 50), some.sampled_from([0.5, 0.9, 1.2]), some.integers(0, 1000))
def test_every_object_is_as_popular_as_zipf_says(count: int, exponent: float, seed: int) -> None:
    popularity, chance = Popularity(count, seed, exponent), Random(seed)
    draws = 4000
    found = Counter(popularity.draw(chance) for _ in range(draws))
    assert set(found) <= set(range(count))
    total = sum(rank**-exponent for rank in range(1, count + 1))
    first = found.most_common(1)[0][1] / draws
    assert first == pytest.approx(1 / total, abs=0.05)


def test_popularity_has_nothing_to_do_with_size() -> None:
    popularity, chance = Popularity(OBJECTS, 1), Random(1)
    sizes = object_sizes(OBJECTS, 1)
    asked = median(sizes[popularity.draw(chance)] for _ in range(20_000))
    assert asked == pytest.approx(median(sizes), rel=0.5)


def test_crowds_grow_from_the_users_of_the_topology() -> None:
    assert crowd_sizes(METRO) == (16, 64, 256)
    assert crowd_sizes(FIGURE2) == (6,)
    assert crowd_sizes(three_tier(1, 2, 20, users_per_access=2)) == (40, 160)
    assert crowd_sizes(three_tier(1, 2, 20, users_per_access=20)) == (400,)
    assert object_count(METRO) == 10_000 > object_count(FIGURE2)


def test_more_users_are_the_same_network_with_links_like_those_of_its_own() -> None:
    larger = with_users(METRO, 256)
    assert check(larger) == ()
    users = larger.of_role(Role.USER)
    assert len(users) == 256
    assert users[:16] == METRO.of_role(Role.USER)
    assert larger.nodes[: len(METRO.nodes)] == METRO.nodes
    assert larger.links[: len(METRO.links)] == METRO.links
    counts = Counter(larger.ports[user][0].peer for user in users)
    assert set(counts.values()) == {32}
    own, added = (larger.ports[user][0].link for user in (users[3], users[3 + 16 * 5]))
    assert (own.delay_ms, own.rate_mbps) == (added.delay_ms, added.rate_mbps)
    assert with_users(METRO, 16) == METRO


def test_requests_are_the_same_for_a_seed_and_in_the_order_of_their_times() -> None:
    users = METRO.of_role(Role.USER)
    gets = plan_requests(users, 1000, 20, 1)
    assert gets == plan_requests(users, 1000, 20, 1) != plan_requests(users, 1000, 20, 2)
    assert Counter(get.user for get in gets) == dict.fromkeys(users, 20)
    for user in users:
        times = [get.at_s for get in gets if get.user == user]
        assert times == sorted(times)
        assert times[0] <= THINK_S
    assert 0.8 < max(get.at_s for get in gets) / (20 * THINK_S) < 2.0


def test_a_cache_knows_nothing_of_another_crowds_requests() -> None:
    users = METRO.of_role(Role.USER)
    few, many = (plan_requests(users[:size], 50, 20, 1) for size in (4, 16))
    assert {get.path for get in few}.isdisjoint(get.path for get in many)
