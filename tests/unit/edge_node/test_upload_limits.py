"""How much users may upload."""

from __future__ import annotations

from edge_node.upload_limits import UploadLimits, UploadMeter

LIMITS = UploadLimits(burst_bytes=1000, rate_bytes_per_s=100)


def test_a_burst_and_then_the_rate() -> None:
    meter = UploadMeter(LIMITS)
    assert meter.wait_s("2001:db8:1::5", 1000, 10.0) == 0
    assert meter.wait_s("2001:db8:1::5", 250, 10.0) == 3
    assert meter.wait_s("2001:db8:1::5", 250, 12.4) == 1
    assert meter.wait_s("2001:db8:1::5", 250, 12.5) == 0


def test_what_was_refused_is_not_counted() -> None:
    meter = UploadMeter(LIMITS)
    for _ in range(5):
        assert meter.wait_s("a", 1001, 1.0) == 1
    assert meter.wait_s("a", 1000, 1.0) == 0


def test_neighbours_do_not_pay_for_each_other() -> None:
    meter = UploadMeter(LIMITS)
    assert meter.wait_s("2001:db8:1::5", 1000, 1.0) == 0
    assert meter.wait_s("2001:db8:1::6", 1000, 1.0) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    meter = UploadMeter(LIMITS)
    assert meter.wait_s("a", 1000, 100.0) == 0
    assert meter.wait_s("a", 100, 50.0) == 1


def test_what_is_remembered_is_bounded() -> None:
    meter = UploadMeter(LIMITS)
    for number in range(10_000):
        meter.wait_s(f"user{number}", 1, 1.0)
    assert len(meter._buckets) <= 4096
