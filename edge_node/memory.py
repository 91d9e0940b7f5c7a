"""Small blobs kept in memory: a least-recently-used cache bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict


class MemoryCache:
    """Blobs of at most `max_item_bytes`, together at most `max_bytes`; blobs never change."""

    def __init__(self, max_bytes: int = 64 << 20, max_item_bytes: int = 1 << 20) -> None:
        self._max_bytes, self.max_item_bytes = max_bytes, max_item_bytes
        self._items: OrderedDict[str, bytes] = OrderedDict()
        self.used_bytes = 0
        self.evicted = 0
        """How many have been dropped for others."""

    def get(self, sha256: str) -> bytes | None:
        """The blob, now the most recently used one; None when it is not in memory."""
        content = self._items.get(sha256)
        if content is not None:
            self._items.move_to_end(sha256)
        return content

    def put(self, sha256: str, content: bytes) -> None:
        """Keep a blob, dropping the least recently used ones for it; too large a one is not kept."""
        if sha256 in self._items or len(content) > min(self.max_item_bytes, self._max_bytes):
            return
        self._items[sha256] = content
        self.used_bytes += len(content)
        while self.used_bytes > self._max_bytes:
            _, dropped = self._items.popitem(last=False)
            self.used_bytes -= len(dropped)
            self.evicted += 1
