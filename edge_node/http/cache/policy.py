"""What a cache decides for itself: its name, its limits, and what it does where the RFCs leave a choice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of the cache called `name` (it goes into Via, CDN-Loop and Cache-Status)."""

    name: str
    honours_requests: bool = True
    """Whether the Cache-Control of requests counts (RFC 9111 section 5.2.1 leaves it to the cache)."""
    heuristic_fraction: float = 0.1
    """The share of a response's age at its origin for which it counts as fresh (section 4.2.2)."""
    heuristic_max_s: int = 86_400
    negative_s: int = 5
    """How long 404, 405, 410, 414 and 501 count as fresh when they say nothing about it."""
    unreachable_stale_s: int = 3_600
    """How stale a response may be served while the origin cannot be reached (section 4.2.4)."""
    uncollapsible_s: int = 60
    """How long nobody waits for somebody else's fetch of what turned out not to be shared."""
    max_fetches: int = 256
    """Upstream fetches under way; past them the answer is what is stored, however stale it may be, or 503."""
    max_response_bytes: int = 256 << 20
    max_responses: int = 10_000
    max_bytes: int = 1 << 30
    max_variants: int = 32
    """Stored responses for one URL."""
    max_parts: int = 32
    """Pieces that partial responses are combined from."""
