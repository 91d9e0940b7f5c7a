"""A token bucket that counts whole Ethernet frames, so that a configured rate is the rate seen on a link."""

from __future__ import annotations

IPV6_UDP_BYTES = 48
ETHERNET_BYTES = 14


def frame_bytes(payload_bytes: int) -> int:
    """What a UDP datagram over IPv6 takes in a capture: Ethernet, IPv6 and UDP headers included."""
    return payload_bytes + IPV6_UDP_BYTES + ETHERNET_BYTES


class Pacer:
    """Says when how much may be sent at `rate_mbps`, in bursts worth about `tick_s` seconds.

    A late caller may catch up at most four ticks.
    """

    def __init__(self, rate_mbps: float, tick_s: float) -> None:
        if rate_mbps <= 0 or tick_s <= 0:
            raise ValueError(f"a rate of {rate_mbps} Mbit/s in ticks of {tick_s} s cannot be kept")
        self._bytes_per_s = rate_mbps * 125_000
        self._tick_bytes = self._bytes_per_s * tick_s
        self._tokens = self._tick_bytes
        self._updated_at: float | None = None

    def refill(self, now: float) -> None:
        """Account for the time since the last call."""
        if self._updated_at is not None and now > self._updated_at:
            earned = (now - self._updated_at) * self._bytes_per_s
            self._tokens = min(4 * self._tick_bytes, self._tokens + earned)
            self._updated_at = now
        elif self._updated_at is None:
            self._updated_at = now

    @property
    def may_send(self) -> bool:
        """Whether another frame may go out now; the last one of a burst may overdraw the bucket."""
        return self._tokens > 0

    def spend(self, payload_bytes: int) -> None:
        """Account for a datagram that goes out."""
        self._tokens -= frame_bytes(payload_bytes)

    def ready_at(self, now: float) -> float:
        """When the next burst may go out."""
        if self._updated_at is None or self._tokens > 0:
            return now
        return self._updated_at + (self._tick_bytes - self._tokens) / self._bytes_per_s
