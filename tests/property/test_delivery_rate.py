"""The sender keeps its session rate on the wire, whoever polls it how, and reaches it.

The bound: over any interval of t seconds the frames that go out have less than `rate * t + burst` bytes, with
a burst of four ticks' worth and one frame. A caller that is late may catch up four ticks, and the last frame
of a burst may overdraw the bucket by all of itself but one byte; what it overdraws is waited for afterwards.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.announcement import BUNDLE_TYPE
from delivery.pacing import frame_bytes
from delivery.sender import Outgoing, Sender
from tests.unit.delivery.simulation import TSI

CATCH_UP_TICKS = 4
LARGEST_FRAME_BYTES = 1514
CONTENT = random.Random(1).randbytes(400_000)


def outgoing(toi: int, size: int) -> Outgoing:
    return Outgoing(toi, f"bundle/{toi}", BUNDLE_TYPE, size, lambda: CONTENT[:size])


class Meter:
    """Sees frames and holds them against a rate, over every interval at once.

    `excess` is the most that any interval that ends now has beyond its rate: a bucket that leaks at the rate.
    """

    def __init__(self, rate_mbps: float) -> None:
        self.excess = self.most_excess = 0.0
        self.total = 0
        self._bytes_per_s = rate_mbps * 125_000
        self._at = 0.0

    def see(self, datagrams: list[bytes], now: float) -> None:
        self.excess = max(0.0, self.excess - (now - self._at) * self._bytes_per_s)
        self._at = now
        size = sum(frame_bytes(len(datagram)) for datagram in datagrams)
        self.excess += size
        self.total += size
        self.most_excess = max(self.most_excess, self.excess)


def burst_bytes(rate_mbps: float, tick_s: float) -> float:
    """The bound in the module's words; the float arithmetic of a long run may add a hair."""
    return CATCH_UP_TICKS * tick_s * rate_mbps * 125_000 + LARGEST_FRAME_BYTES + 1e-3


@settings(max_examples=60, deadline=None)
@given(
    rate_mbps=st.floats(0.05, 1000),
    tick_s=st.sampled_from((0.0002, 0.001, 0.005)),
    sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=6),
    overhead=st.sampled_from((0.0, 7.0, 30.0)),
    seed=st.integers(0, 1 << 32),
)
def test_no_interval_has_more_than_the_rate_and_the_burst(
    rate_mbps: float, tick_s: float, sizes: list[int], overhead: float, seed: int
) -> None:
    rnd = random.Random(seed)
    sender = Sender(
        TSI, rate_mbps=rate_mbps, tick_s=tick_s, overhead_percent=overhead, collection_window_s=0.01
    )
    meter, now = Meter(rate_mbps), rnd.uniform(0, 10)
    left = [outgoing(toi, size) for toi, size in enumerate(sizes, 1)]
    for _ in range(400):
        if left and rnd.random() < 0.1:
            sender.publish([left.pop(0)], now)
        if rnd.random() < 0.05:
            sender.request_repair(rnd.randrange(len(sizes) + 1), rnd.choice((1, 5, 100)), now)
        deadline = sender.next_deadline()
        on_time = now if deadline is None else max(now, deadline)
        late = on_time + rnd.choice((0.1, 1, 3, 5, 100)) * rnd.random() * tick_s
        now = rnd.choice((now, now + rnd.random() * tick_s, on_time, on_time, late))
        meter.see(sender.poll(now), now)
        assert meter.most_excess < burst_bytes(rate_mbps, tick_s)
    assert meter.total == sender.counters.wire_bytes


def test_a_late_caller_gets_the_whole_burst_and_no_more() -> None:
    """The bound is not wider than it must be."""
    sender = Sender(TSI, rate_mbps=100, tick_s=0.001)
    sender.publish([outgoing(1, 400_000)], 0.0)
    sender.poll(0.0)
    burst = sum(frame_bytes(len(datagram)) for datagram in sender.poll(1.0))
    assert CATCH_UP_TICKS * 12_500 <= burst < CATCH_UP_TICKS * 12_500 + LARGEST_FRAME_BYTES


@pytest.mark.parametrize("rate_mbps", [0.1, 1, 9.7, 100, 1000, 10_000])
@pytest.mark.parametrize("tick_s", [0.0002, 0.001, 0.01])
def test_the_rate_is_reached_by_a_caller_who_is_on_time(rate_mbps: float, tick_s: float) -> None:
    sender = Sender(TSI, rate_mbps=rate_mbps, tick_s=tick_s)
    needed = max(400_000, 250 * tick_s * rate_mbps * 125_000)
    objects = min(200, int(needed // 400_000) + 1)
    sender.publish([outgoing(toi, 400_000) for toi in range(1, objects + 1)], 0.0)
    now, sent_until, sent = 0.0, 0.0, 0
    while (deadline := sender.next_deadline()) is not None:
        now = max(now, deadline)
        sent_until, sent = now, sender.counters.wire_bytes
        sender.poll(now)
    # What the last poll sends is the beginning of an interval that nothing fills any more.
    assert sent * 8 >= 0.995 * rate_mbps * 1e6 * sent_until
