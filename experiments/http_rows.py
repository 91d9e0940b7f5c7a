"""What a row of the HTTP matrix is: bytes to send, and what the RFC lets a server say to them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from experiments.http_exchange import Answer

DIGITS = b"0123456789" * 100
PAGE = b"".join(b"<p>%d lines of a page that compresses well</p>\n" % number for number in range(400))
FILES: Mapping[str, bytes] = {
    "digits.bin": DIGITS,
    "page.html": PAGE,
    "empty.txt": b"",
    "sp ace.txt": b"a name with a space\n",
    "folder/index.html": b"<p>the page of a folder</p>\n",
    "large.bin": DIGITS * 600,
}
"""The site that the rows ask for."""
ETAG = b"%ETAG%"
"""In a request: the entity tag of digits.bin."""

Judge = Callable[[Answer, Mapping[str, Answer]], str]
"""What is wrong with an answer, given those to plain GETs of the files by path; "" when nothing is."""


def _nothing(_answer: Answer, _plain: Mapping[str, Answer]) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come. `fields` are patterns that whole values match; `stays`: whether a further request on
    the connection is answered (None: either may be); `next`: statuses of the pipelined answers after it."""

    statuses: tuple[int, ...]
    content: bytes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    stays: bool | None = None
    next: tuple[int, ...] = ()
    judge: Judge = _nothing


@dataclass(frozen=True, slots=True)
class Row:
    """One check. `section` is of an RFC, as "9110 13.1.2"; `parts` are sent one after the other; `methods`
    are those of the pipelined requests."""

    name: str
    section: str
    parts: tuple[bytes, ...]
    expect: Expect
    methods: tuple[str, ...] = ("GET",)
    later: bytes = b""
    """Content that the client owes when it has its answer (RFC 9110 10.1.1)."""


def get(
    path: str = "/digits.bin", *lines: str | bytes, method: str = "GET", version: str = "1.1", host: str = "h"
) -> bytes:
    """A request with these further field lines; without `host` none has it."""
    first = [f"{method} {path} HTTP/{version}", *([f"Host: {host}"] if host else []), *lines]
    encoded = (line if isinstance(line, bytes) else line.encode() for line in first)
    return b"\r\n".join(encoded) + b"\r\n\r\n"


def row(
    name: str,
    section: str,
    request: bytes | tuple[bytes, ...],
    *statuses: int,
    content: bytes | None = None,
    fields: Mapping[str, str] | None = None,
    absent: tuple[str, ...] = (),
    stays: bool | None = None,
    judge: Judge = _nothing,
    then: tuple[int, ...] = (),
    methods: tuple[str, ...] = (),
    later: bytes = b"",
) -> Row:
    """A row; the method of a single request is read from its bytes."""
    parts = (request,) if isinstance(request, bytes) else request
    first = parts[0].lstrip(b"\r\n").partition(b" ")[0].decode("latin-1")
    expect = Expect(statuses, content, fields or {}, absent, stays, then, judge)
    return Row(name, section, parts, expect, methods or (first,), later)


def refused(name: str, section: str, request: bytes | tuple[bytes, ...], *statuses: int) -> Row:
    """A row for what nobody can be sure to understand: refused, and the connection ends."""
    return row(name, section, request, *(statuses or (400,)), stays=False)


def decoded(content: bytes, coding: str | None) -> bytes:
    """Content without its content coding. Raises ValueError for one that nobody asked for."""
    match coding:
        case None:
            return content
        case "gzip" | "x-gzip":
            return zlib.decompress(content, wbits=31)
        case "br":
            import brotli

            return bytes(brotli.decompress(content))
        case "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    raise ValueError(f"content coding {coding}")


def says_page_in(*codings: str | None) -> Judge:
    """The page comes in one of these codings, and says that others get it otherwise (RFC 9110 12.5.5)."""

    def judge(answer: Answer, plain: Mapping[str, Answer]) -> str:
        coding = answer.field("content-encoding")
        if coding not in codings:
            return f"Content-Encoding is {coding}"
        if decoded(answer.content, coding) != PAGE:
            return "decoded it is not the file"
        if "accept-encoding" not in (answer.field("vary") or "").lower():
            return f"Vary is {answer.field('vary')}"
        same_tag = answer.field("etag") == plain["/page.html"].field("etag")
        if coding is not None and same_tag:
            return "the coded form has the entity tag of the plain one"
        return ""

    return judge


def like_get(path: str) -> Judge:
    """A HEAD has the fields of a GET and no content (RFC 9110 9.3.2)."""

    def judge(answer: Answer, plain: Mapping[str, Answer]) -> str:
        mine, others = (
            {name: value for name, value in one.fields if name != "date"} for one in (answer, plain[path])
        )
        differing = sorted(name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name))
        return f"other than in the answer to GET: {', '.join(differing)}" if differing else ""

    return judge


def parts_of_digits(*ranges: tuple[int, int]) -> Judge:
    """The answer is a multipart/byteranges with exactly these (first, last) of digits.bin (section 14.6)."""

    def judge(answer: Answer, _plain: Mapping[str, Answer]) -> str:
        kind = re.fullmatch(
            r'multipart/byteranges; ?boundary="?([^"]+)"?', answer.field("content-type") or ""
        )
        if kind is None:
            return f"Content-Type is {answer.field('content-type')}"
        if answer.field("content-range") is not None:
            return "Content-Range beside the parts"
        boundary = b"--" + kind[1].encode()
        *pieces, end = (b"\r\n" + answer.content).split(b"\r\n" + boundary)[1:]
        if end.strip() != b"--":
            return "no boundary ends it"
        found = []
        for piece in pieces:
            head, _, content = piece.partition(b"\r\n\r\n")
            span = re.search(rb"(?i)content-range: bytes (\d+)-(\d+)/1000", head)
            if span is None:
                return "a part without Content-Range"
            first, last = int(span[1]), int(span[2])
            if content != DIGITS[first : last + 1]:
                return f"part {first}-{last} has other bytes"
            found.append((first, last))
        return "" if found == list(ranges) else f"the parts are {found}"

    return judge


def no_more_than_the_file(answer: Answer, _plain: Mapping[str, Answer]) -> str:
    """Overlapping ranges must not multiply what is sent (RFC 9110 14.2, 17.15)."""
    much = len(DIGITS) * 2
    return f"{len(answer.content)} bytes for a file of {len(DIGITS)}" if len(answer.content) > much else ""


def range_of_what_it_names(answer: Answer, plain: Mapping[str, Answer]) -> str:
    """A range is one of the selected representation, coded or not (section 14.2)."""
    length = re.fullmatch(r"bytes 0-9/(\d+)", answer.field("content-range") or "")
    if length is None:
        return f"Content-Range is {answer.field('content-range')}"
    is_whole = int(length[1]) == len(PAGE)
    if is_whole != (answer.field("content-encoding") is None):
        return f"{length[1]} bytes in all, but Content-Encoding is {answer.field('content-encoding')}"
    if is_whole and answer.content != PAGE[:10]:
        return "other bytes than those of the file"
    same_tag = answer.field("etag") == plain["/page.html"].field("etag")
    return "" if same_tag is is_whole else "the entity tag is of another form"
