"""When each of many things is due: a heap that forgets what has been cancelled or moved."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK = 64
"""So many dead entries are kept before the heap is built anew."""


class Deadlines(Generic[Key]):
    """One moment per key. Setting, cancelling and taking out cost O(log n); the memory is O(keys)."""

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        # Ties are broken by age, so the order depends on nothing but the calls.
        self._ages = count()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __getitem__(self, key: Key) -> float:
        """When a key is due, in seconds. Raises KeyError for one that is not."""
        return self._entries[key][0]

    @property
    def next_s(self) -> float | None:
        """The earliest moment, or None."""
        while self._heap and self._is_dead(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def set(self, key: Key, due_s: float) -> None:
        """The key is due then, instead of whenever it was due before."""
        age = next(self._ages)
        self._entries[key] = (due_s, age)
        heappush(self._heap, (due_s, age, key))
        if len(self._heap) > 2 * len(self._entries) + _SLACK:
            self._heap = [(due_s, age, key) for key, (due_s, age) in self._entries.items()]
            heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """The key is not due any more; nothing happens if it was not."""
        self._entries.pop(key, None)

    def pop_due(self, now_s: float) -> list[Key]:
        """Take out what is due, the earliest first."""
        due: list[Key] = []
        while (moment_s := self.next_s) is not None and moment_s <= now_s:
            key = heappop(self._heap)[2]
            del self._entries[key]
            due.append(key)
        return due

    def _is_dead(self, entry: tuple[float, int, Key]) -> bool:
        due_s, age, key = entry
        return self._entries.get(key) != (due_s, age)
