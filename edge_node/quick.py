"""Answers that need no waiting: made at once, and remembered whole.

Most requests are for small files that are here, and most of those have been asked for in the very same words,
or in others that mean the same: users differ in fields that answers do not depend on. So an answer is
remembered under the bytes of a request, and under their meaning.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Protocol

from edge_node.http.messages import Plan, Request, request_from
from edge_node.http.raw_head import Head
from edge_node.http.respond import READS
from edge_node.http.wire import around_date

MEMORY_BYTES = 32 << 20
_ENTRY_BYTES = 500
"""What an entry takes beside its bytes, about."""
_READS = frozenset(name.encode() for name in READS)


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer at hand: `sha256` is the file it is about, `expires_unix_s` when that goes (0: never)."""

    plan: Plan
    content: bytes
    sha256: str
    expires_unix_s: int = 0


class Source(Protocol):
    """What makes answers: the same ones as it gives in other ways."""

    @property
    def generation(self) -> int:
        """Another number whenever answers may have changed."""

    def answer_now(self, request: Request, now_s: int) -> Ready | None:
        """The answer to a GET or HEAD whose making takes no waiting; None for all others."""

    def touch(self, sha256: str) -> None:
        """A file has been used."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    before_date: bytes
    after_date: bytes
    sha256: str
    expires_unix_s: int


class QuickAnswers:
    """Remembers answers in at most about `memory_bytes`; `clock` gives seconds since 1970."""

    def __init__(
        self, source: Source, *, memory_bytes: int = MEMORY_BYTES, clock: Callable[[], float] = time.time
    ) -> None:
        self._source, self._memory_bytes, self._clock = source, memory_bytes, clock
        self._answers: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._used = 0
        self._generation = source.generation
        self._second = -1
        self._date = b""
        self._touched: set[str] = set()
        self.given = 0
        """How many requests were answered in this way."""

    @property
    def memory_bytes(self) -> int:
        """What is remembered takes about so much."""
        return self._used

    def remembered(self, head: bytes) -> bytes | None:
        """The answer to a request that consists of exactly these bytes, if it is remembered."""
        found = self._answers.get(head)
        if found is None:
            return None
        now_s = self._tick()
        if self._generation != self._source.generation:
            self._forget_all()
            return None
        if 0 < found.expires_unix_s <= now_s:
            return None
        self._touched.add(found.sha256)
        self.given += 1
        return found.before_date + self._date + found.after_date

    def answer(self, raw: bytes, head: Head) -> bytes | None:
        """The answer to a request whose `head` was read from the bytes `raw`, if it needs no waiting. The
        connection is to be closed after it when the head says that it is the last."""
        if head.method not in (b"GET", b"HEAD") or head.http_version != "1.1" or head.has_content:
            return None
        meaning, is_last = _meaning(head), head.is_last
        if meaning is None:
            return None
        if not is_last and (found := self._answers.get(meaning)) and (answer := self.remembered(meaning)):
            self._remember(self._generation, raw, found)
            return answer
        target, _, query = head.target.decode("latin-1").partition("?")
        request = request_from(head.method.decode(), target, query, head.http_version, head.fields)
        now_s = self._tick()
        generation = self._source.generation
        ready = self._source.answer_now(request, now_s)
        if ready is None or ready.plan.close:
            return None
        plan = replace(ready.plan, close=is_last)
        before, after = around_date(plan, ready.content)
        if not is_last and not _depends_on_time(request):
            answer_to_all = _Remembered(before, after, ready.sha256, ready.expires_unix_s)
            self._remember(generation, meaning, answer_to_all)
            self._remember(generation, raw, answer_to_all)
        self.given += 1
        return before + self._date + after

    def _remember(self, generation: int, raw: bytes, answer: _Remembered) -> None:
        if generation != self._generation:
            self._forget_all()
        size = _size(raw, answer)
        if size > self._memory_bytes or self._source.generation != generation:
            return
        old = self._answers.pop(raw, None)
        if old is not None:
            self._used -= _size(raw, old)
        self._answers[raw] = answer
        self._used += size
        while self._used > self._memory_bytes:
            oldest, its_answer = self._answers.popitem(last=False)
            self._used -= _size(oldest, its_answer)

    def _forget_all(self) -> None:
        self._answers.clear()
        self._used = 0
        self._generation = self._source.generation

    def _tick(self) -> int:
        """The second that it is now."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
            for sha256 in self._touched:
                self._source.touch(sha256)
            self._touched.clear()
        return second


def _meaning(head: Head) -> bytes | None:
    """The same bytes for requests that have the same answer, and none that a request consists of; None when
    the answer is not one that can be at hand."""
    parts = [b"\0" + head.method, head.target]
    for name, value in head.fields:
        if name in _READS:
            parts.append(name + b":" + value)
        elif name == b"connection":
            if value.lower() not in (b"close", b"keep-alive"):
                return None
        elif name == b"expect" and value:
            return None
    return b"\n".join(parts)


def _size(raw: bytes, answer: _Remembered) -> int:
    return len(raw) + len(answer.before_date) + len(answer.after_date) + _ENTRY_BYTES


def _depends_on_time(request: Request) -> bool:
    """Whether the same request may be answered otherwise later: dates that lie ahead are no conditions yet
    (RFC 9110 section 13.1.3)."""
    return any(request.field(name) for name in ("if-modified-since", "if-unmodified-since", "if-range"))
