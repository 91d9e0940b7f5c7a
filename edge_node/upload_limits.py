"""How much users may upload: per item, per user and time, and in total. Pure; time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

_MOST_CLIENTS = 4096


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Sizes in bytes. A user may upload `burst_bytes` at once and `rate_bytes_per_s` in the long run."""

    item_bytes: int = 16 << 20
    total_bytes: int = 256 << 20
    burst_bytes: int = 32 << 20
    rate_bytes_per_s: int = 256 << 10
    items: int = 1000


class UploadMeter:
    """A token bucket for each address: users of an access switch share a /64, and the switch limits how many
    addresses each of them has. When there are too many, the least recently seen are forgotten."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, size: int, now: float) -> int:
        """0 and the bytes are accounted for, or after how many seconds the user may upload `size` bytes."""
        limits = self._limits
        user = client.partition("%")[0]
        tokens, since = self._buckets.pop(user, (float(limits.burst_bytes), now))
        tokens = min(limits.burst_bytes, tokens + max(0.0, now - since) * limits.rate_bytes_per_s)
        is_allowed = tokens >= size
        self._buckets[user] = (tokens - size if is_allowed else tokens, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if is_allowed else max(1, math.ceil((size - tokens) / limits.rate_bytes_per_s))
