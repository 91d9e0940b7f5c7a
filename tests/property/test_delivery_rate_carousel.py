"""Carousel and repair together keep the session's rate, too."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.sender import Sender
from tests.property.test_delivery_rate import Meter, burst_bytes, outgoing
from tests.unit.delivery.simulation import TSI


@settings(max_examples=30, deadline=None)
@given(
    carousel_mbps=st.floats(1, 20),
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=3),
    seed=st.integers(0, 1 << 32),
)
def test_carousel_and_repair_together_keep_the_rate(
    carousel_mbps: float, sizes: list[int], seed: int
) -> None:
    """Repairs come in between: what the carousel sends counts as well."""
    rnd = random.Random(seed)
    sender = Sender(TSI, rate_mbps=20, carousel_mbps=carousel_mbps, collection_window_s=0.01)
    sender.publish([outgoing(toi, size) for toi, size in enumerate(sizes, 1)], 0.0)
    meter, now = Meter(20), 0.0
    for _ in range(600):
        if rnd.random() < 0.1:
            sender.request_repair(rnd.randint(1, len(sizes)), rnd.randint(1, 20), now)
        deadline = sender.next_deadline()
        assert deadline is not None
        now = max(now, deadline)
        meter.see(sender.poll(now), now)
        assert meter.most_excess < burst_bytes(20, 0.001)


def test_many_small_publications_beside_a_carousel_keep_the_rate() -> None:
    """The carousel fills the pauses; what the session saves up in them must not come on top."""
    sender = Sender(TSI, rate_mbps=20, carousel_mbps=20)
    sender.publish([outgoing(1, 20_000)], 0.0)
    meter, now, toi = Meter(20), 0.0, 2
    publish_at = 0.5
    while now < 2.5:
        while publish_at <= now:
            sender.publish([outgoing(toi, 4000)], now)
            toi, publish_at = toi + 1, publish_at + 0.005
        deadline = sender.next_deadline()
        assert deadline is not None
        now = max(now + 1e-9, min(deadline, publish_at))
        meter.see(sender.poll(now), now)
    assert meter.total * 8 <= 1.01 * 20e6 * now
