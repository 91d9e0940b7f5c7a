"""Range requests (RFC 9110 section 14): from a Range field to the parts of an answer."""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from typing import Protocol

from edge_node.http.messages import Fields, Plan, Slice

MAX_RANGES = 16
"""A request for more ranges than this gets the whole file (section 14.2 allows it, 17.15 advises it)."""
_SPEC = re.compile(r"(?P<first>\d+)-(?P<last>\d*)|-(?P<suffix>\d+)")
_FAR = 10**18


class NoPart(Enum):
    """Why there is no part to send: the field is to be ignored, or no range can be satisfied (416)."""

    IGNORE = "ignore"
    UNSATISFIABLE = "unsatisfiable"


def parse_range(value: str, size: int) -> list[tuple[int, int]] | NoPart:
    """The (start, stop) byte intervals a Range field asks for of a file of `size` bytes.

    An unknown unit, a malformed field or too many ranges mean `IGNORE` (section 14.2). Ranges that
    overlap or touch are joined, so that no byte is sent twice (section 15.3.7.2); the others keep the
    order of the request.
    """
    unit, equals, range_set = value.partition("=")
    if not equals or unit.lower() != "bytes":
        return NoPart.IGNORE
    specs = [spec for spec in (item.strip(" \t") for item in range_set.split(",")) if spec]
    if not specs or len(specs) > MAX_RANGES:
        return NoPart.IGNORE
    wanted: list[tuple[int, int]] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return NoPart.IGNORE
        if match["suffix"] is not None:
            suffix = _number(match["suffix"])
            if suffix and not size:
                return NoPart.IGNORE  # satisfiable, but Content-Range cannot say "no bytes"
            wanted.append((max(size - suffix, 0), size))
            continue
        first = _number(match["first"])
        last = _number(match["last"]) if match["last"] else _FAR
        if last < first:
            return NoPart.IGNORE
        wanted.append((first, min(last + 1, size)))
    satisfiable = [(start, stop) for start, stop in wanted if start < stop]
    return _joined(satisfiable) if satisfiable else NoPart.UNSATISFIABLE


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= 18 else _FAR


def _joined(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join intervals that overlap or touch; a joined one stands where its first member stood."""
    joined: list[tuple[int, int, int]] = []
    for start, stop, place in sorted((start, stop, place) for place, (start, stop) in enumerate(intervals)):
        if joined and start <= joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], stop), min(before[2], place))
        else:
            joined.append((start, stop, place))
    return [(start, stop) for start, stop, _ in sorted(joined, key=lambda interval: interval[2])]


_CONTENT_RANGE = re.compile(r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<size>\d{1,18}|\*)", re.ASCII)


def parse_content_range(value: str) -> tuple[int, int, int | None] | None:
    """The (start, stop, size) a part's Content-Range says, size None when that is not known; None when it
    says nothing sensible (section 14.4)."""
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        return None
    start, stop = int(match["first"]), int(match["last"]) + 1
    size = None if match["size"] == "*" else int(match["size"])
    return (start, stop, size) if start < stop and (size is None or stop <= size) else None


def content_range(start: int, stop: int, size: int) -> str:
    """The Content-Range of one part (section 14.4)."""
    return f"bytes {start}-{stop - 1}/{size}"


class Divisible(Protocol):
    """Content that parts can be taken of."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def content_type(self) -> str:
        """Its media type, "" when nobody knows."""

    @property
    def sha256(self) -> str:
        """The digest of its bytes, or of some that are among them."""

    def slices(self, start: int, stop: int) -> tuple[Slice, ...]:
        """Where the bytes from `start` to `stop` (exclusive) are."""


def partial(fields: Fields, target: Divisible, intervals: list[tuple[int, int]]) -> Plan:
    """206 Partial Content: one part as it is, several as multipart/byteranges (section 15.3.7)."""
    if len(intervals) > 1:
        content_type, pieces, length = multipart(target, intervals)
        return Plan(206, (*fields, ("Content-Type", content_type), ("Content-Length", str(length))), pieces)
    start, stop = intervals[0]
    fields += (("Content-Range", content_range(start, stop, target.size)),)
    if target.content_type:
        fields += (("Content-Type", target.content_type),)
    return Plan(206, (*fields, ("Content-Length", str(stop - start))), target.slices(start, stop))


def multipart(
    target: Divisible, intervals: list[tuple[int, int]]
) -> tuple[str, tuple[bytes | Slice, ...], int]:
    """The Content-Type, the pieces and the length of a multipart/byteranges answer (section 14.6).

    The boundary derives from the content's digest, which the content cannot contain.
    """
    boundary = "nearcast-" + hashlib.sha256(f"{target.sha256} {intervals}".encode()).hexdigest()[:32]
    media_type = f"Content-Type: {target.content_type}\r\n" if target.content_type else ""
    pieces: list[bytes | Slice] = []
    length = 0
    for start, stop in intervals:
        in_whole = content_range(start, stop, target.size)
        head = f"\r\n--{boundary}\r\n{media_type}Content-Range: {in_whole}\r\n\r\n".encode("latin-1")
        pieces += [head, *target.slices(start, stop)]
        length += len(head) + stop - start
    tail = f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/byteranges; boundary={boundary}", (*pieces, tail), length + len(tail)
