"""The querier of a port in simulated time."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from controller.state.querier import QUICK_RESPONSE_S, Querier, Timing
from controller.wire.mld import Query

OWN = IPv6Address("fe80::5")
LOWER, HIGHER = IPv6Address("fe80::4"), IPv6Address("fe80::6")
GENERAL = Query(10_000)


def started(now_s: float = 0.0) -> Querier:
    querier = Querier(OWN)
    querier.start(now_s, QUICK_RESPONSE_S)
    return querier


def test_the_default_values_of_section_9() -> None:
    timing = Timing()
    assert (timing.robustness, timing.query_interval_s, timing.response_interval_s) == (2, 125.0, 10.0)
    assert timing.listening_interval_s == 270.0
    assert timing.other_querier_present_interval_s == 255.0
    assert (timing.startup_query_interval_s, timing.startup_query_count) == (31.25, 2)
    assert (timing.last_listener_query_interval_s, timing.last_listener_query_count) == (1.0, 2)
    assert timing.last_listener_query_time_s == 2.0
    assert timing.older_host_present_interval_s == 260.0


def test_values_that_follow_from_others_change_with_them() -> None:
    timing = Timing(robustness=3, query_interval_s=20.0, response_interval_s=4.0)
    assert (timing.listening_interval_s, timing.other_querier_present_interval_s) == (68.0, 62.0)
    assert (timing.startup_query_interval_s, timing.startup_query_count) == (5.0, 3)
    assert (timing.last_listener_query_time_s, timing.older_host_present_interval_s) == (3.0, 64.0)


def test_a_router_that_starts_is_the_querier_and_asks_in_quick_succession() -> None:
    querier = Querier(OWN)
    assert (querier.is_querier, querier.deadline_s) == (True, None)
    assert querier.start(0.0, QUICK_RESPONSE_S) == Query(100, robustness=2, interval_s=125)
    moments = []
    for _ in range(3):
        assert querier.deadline_s is not None
        moments.append(querier.deadline_s)
        assert querier.tick(querier.deadline_s - 0.001) is None
        assert querier.tick(querier.deadline_s) == GENERAL
    assert moments == [31.25, 156.25, 281.25]


def test_the_lower_address_wins_and_the_other_router_is_silent() -> None:
    querier = started()
    assert querier.heard(10.0, LOWER, GENERAL)
    assert (querier.is_querier, querier.deadline_s) == (False, 265.0)
    assert querier.heard(100.0, LOWER, GENERAL)
    assert querier.deadline_s == 355.0
    assert querier.tick(354.9) is None


@pytest.mark.parametrize("sender", [OWN, HIGHER])
def test_a_router_whose_address_is_not_lower_loses(sender: IPv6Address) -> None:
    querier = started()
    assert not querier.heard(10.0, sender, Query(10_000, robustness=5, interval_s=60))
    assert (querier.is_querier, querier.deadline_s, querier.timing) == (True, 31.25, Timing())


def test_only_the_interface_identifier_counts() -> None:
    querier = Querier(IPv6Address("fe80::1:0:0:0"))
    assert not querier.heard(0.0, IPv6Address("fe80::2:0:0:0"), GENERAL)
    assert querier.heard(0.0, IPv6Address("fe80::ffff:ffff:ffff"), GENERAL)


def test_when_the_other_querier_is_gone_the_router_asks_again_with_its_own_values() -> None:
    querier = started()
    querier.heard(10.0, LOWER, Query(10_000, robustness=3, interval_s=20))
    assert querier.deadline_s == 10.0 + 3 * 20 + 5
    assert querier.tick(75.0) == GENERAL
    assert (querier.is_querier, querier.timing, querier.deadline_s) == (True, Timing(), 200.0)


def test_the_values_of_the_querier_are_adopted() -> None:
    querier = started()
    querier.heard(10.0, LOWER, Query(10_000, robustness=4, interval_s=60))
    assert querier.timing == Timing(robustness=4, query_interval_s=60.0)
    querier.heard(11.0, LOWER, Query(10_000, robustness=1, interval_s=125))
    assert querier.timing == Timing(robustness=1)


def test_where_the_querier_tells_none_the_configured_values_hold() -> None:
    querier = started()
    querier.heard(10.0, LOWER, Query(10_000, robustness=4, interval_s=60))
    querier.heard(11.0, LOWER, Query(10_000, robustness=0, interval_s=0))
    assert querier.timing == Timing()


def test_a_port_that_is_out_of_use_has_nothing_due() -> None:
    querier = started()
    querier.stop()
    assert (querier.deadline_s, querier.tick(1000.0)) == (None, None)
