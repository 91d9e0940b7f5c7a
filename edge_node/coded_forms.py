"""Coded forms of files, made when somebody asks for the first time and kept in memory.

One thread compresses, so that the event loop goes on; who asks for a form that is being made waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edge_node.forms import effort, is_codable, is_worth_it, undecided
from edge_node.http.messages import Coded, Representation
from edge_node.memory import MemoryCache

DEFAULT_BYTES = 32 << 20
_MOST_WAITING = 64
"""Forms to be made at once. Who would wait behind so many is served without one: compressing is what users
could keep an edge busy with."""
_MOST_FILES = 1 << 14
"""Decisions remembered: for so many files, some 600 bytes each."""


def compress(coding: str, content: bytes) -> bytes:
    """`content` in a content coding, the same bytes every time (RFC 7932, 8878, 1952)."""
    import gzip

    import brotli
    import zstandard

    quality = effort(coding, len(content))
    if coding == "br":
        compressed: bytes = brotli.compress(content, quality=quality)
        return compressed
    if coding == "zstd":
        # No window is larger than the content, so all are within the 8 MB that browsers take (RFC 9659).
        return zstandard.ZstdCompressor(level=quality).compress(content)
    return gzip.compress(content, quality, mtime=0)


class CodedForms:
    """The forms of files, in at most `memory_bytes`; with 0 there are none.

    `read` gives the content of a file by its SHA-256; it runs on another thread, and raises BlobGoneError.
    """

    def __init__(self, read: Callable[[str], bytes], memory_bytes: int = DEFAULT_BYTES) -> None:
        self._read, self._memory_bytes = read, memory_bytes
        self._bytes = MemoryCache(max_bytes=memory_bytes, max_item_bytes=memory_bytes)
        self._decided: OrderedDict[str, dict[str, Coded | None]] = OrderedDict()
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forms")
        self._made: Counter[str] = Counter()
        self._not_worth_it = 0
        self._saved_bytes = 0

    def offers(self, content_type: str, size: int) -> bool:
        """Whether such a file has forms, made or not: answers for it depend on what a client accepts."""
        return self._memory_bytes > 0 and is_codable(content_type, size)

    def of(self, sha256: str) -> tuple[Coded, ...]:
        """The forms of a file that have been made so far."""
        return tuple(form for form in self._decided.get(sha256, {}).values() if form is not None)

    def get(self, sha256: str) -> bytes | None:
        """The bytes of a form, by their own SHA-256; None when they are not in memory (any more)."""
        return self._bytes.get(sha256)

    def lacks(self, file: Representation | None, accept_encoding: str | None) -> str | None:
        """The coding whose form has to be made before a client can get `file`, if that is any; None when it
        need not wait. Answers given then are final: they do not change with what others ask for."""
        if file is None or not file.is_codable:
            return None
        return undecided(accept_encoding, self._decided.get(file.sha256, {}))

    async def provide(
        self, file: Representation | None, accept_encoding: str | None, *, again: bool = False
    ) -> None:
        """See to it that the form which a client gets of `file` is made, or known not to be worth it; `again`
        also when it was made once, but its bytes had to give way to others. Raises BlobGoneError."""
        if file is not None and again:
            self._forget_lost(file.sha256)
        while file is not None and (coding := self.lacks(file, accept_encoding)) is not None:
            key = (file.sha256, coding)
            if key not in self._under_way:
                if len(self._under_way) >= _MOST_WAITING:
                    return
                self._under_way[key] = asyncio.create_task(self._make(*key, file.size))
            await asyncio.shield(self._under_way[key])

    def to_json(self) -> dict[str, Any]:
        """Counts since the start: `made` by coding, `not_worth_it` and `evicted` ones, and by how much those
        made are smaller than their files. `bytes` and `max_bytes` are what they take and may take."""
        return {
            "made": dict(sorted(self._made.items())),
            "not_worth_it": self._not_worth_it,
            "evicted": self._bytes.evicted,
            "saved_bytes": self._saved_bytes,
            "bytes": self._bytes.used_bytes,
            "max_bytes": self._memory_bytes,
        }

    async def close(self) -> None:
        """Make no more; what is being compressed is finished."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(cancel_futures=True)

    async def _make(self, sha256: str, coding: str, size: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            content, digest = await loop.run_in_executor(self._thread, self._compressed, sha256, coding)
            form = None
            if is_worth_it(size, len(content)) and len(content) <= self._memory_bytes:
                form = Coded(coding, digest, len(content))
                self._bytes.put(digest, content)
                self._made[coding] += 1
                self._saved_bytes += size - len(content)
            else:
                self._not_worth_it += 1
            self._decide(sha256, coding, form)
        finally:
            del self._under_way[sha256, coding]

    def _compressed(self, sha256: str, coding: str) -> tuple[bytes, str]:
        content = compress(coding, self._read(sha256))
        return content, hashlib.sha256(content).hexdigest()

    def _forget_lost(self, sha256: str) -> None:
        decided = self._decided.get(sha256, {})
        lost = [coding for coding, form in decided.items() if form and self.get(form.sha256) is None]
        for coding in lost:
            del decided[coding]

    def _decide(self, sha256: str, coding: str, form: Coded | None) -> None:
        self._decided.setdefault(sha256, {})[coding] = form
        self._decided.move_to_end(sha256)
        while len(self._decided) > _MOST_FILES:
            self._decided.popitem(last=False)
