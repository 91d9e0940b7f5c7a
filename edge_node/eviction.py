"""Which blobs make room for others: the least recently used of those that no manifest pins. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pins:
    """What is not to be evicted: `never`, and `last`, only when nothing else is left.

    Never: what sites that must stay whole want here. Last: what subscriptions (channels) want, which can be
    had again.
    """

    never: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()


class Candidates:
    """The blobs that may be evicted, least recently used first. What loses its pin counts as used now."""

    def __init__(self) -> None:
        self._pins = Pins()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self.total_bytes = 0

    def add(self, sha256: str, size: int) -> None:
        """A blob of `size` bytes was stored."""
        if sha256 not in self._pins.never and sha256 not in self._sizes:
            self._sizes[sha256] = size
            self.total_bytes += size

    def remove(self, sha256: str) -> None:
        """A blob was removed; harmless when it is no candidate."""
        self.total_bytes -= self._sizes.pop(sha256, 0)

    def touch(self, sha256: str) -> None:
        """A blob was used just now."""
        if sha256 in self._sizes:
            self._sizes.move_to_end(sha256)

    def repin(self, pins: Pins, stored: Mapping[str, int]) -> None:
        """From now on `pins` hold; `stored` are the sizes of all blobs there are."""
        self._pins = pins
        for sha256 in [sha256 for sha256 in self._sizes if sha256 in pins.never]:
            self.remove(sha256)
        for sha256, size in stored.items():
            self.add(sha256, size)

    def victims(self, needed_bytes: int) -> list[str]:
        """What to evict so that `needed_bytes` become free; nothing when all of it would not be enough."""
        if needed_bytes > self.total_bytes:
            return []
        chosen: list[str] = []
        for is_last in (False, True):
            for sha256, size in self._sizes.items():
                if needed_bytes <= 0:
                    return chosen
                if size and (sha256 in self._pins.last) == is_last:
                    chosen.append(sha256)
                    needed_bytes -= size
        return chosen
