"""Whole answers that are remembered: never another one than would be made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from edge_node.http.messages import Coded, Plan, Representation, Request
from edge_node.http.raw_head import Head, read_head
from edge_node.http.respond import READS, Responder
from edge_node.quick import QuickAnswers, Ready

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass
class Clock:
    now_s: float = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Files:
    """Answers every GET with what it holds."""

    content: bytes = b"one"
    generation: int = 0
    asked: int = 0
    expires_unix_s: int = 0
    touched: list[str] = field(default_factory=list)

    def answer_now(self, request: Request, now_s: int) -> Ready | None:
        self.asked += 1
        if request.path != "/a" or 0 < self.expires_unix_s <= now_s:
            return None
        fields = (("Content-Length", str(len(self.content))),)
        return Ready(Plan(200, fields), self.content, "sha", self.expires_unix_s)

    def touch(self, sha256: str) -> None:
        self.touched.append(sha256)


def ask(quick: QuickAnswers, raw: bytes = GET) -> bytes | None:
    """As a connection asks."""
    remembered = quick.remembered(raw)
    if remembered is not None:
        return remembered
    head = read_head(raw)
    assert isinstance(head, Head)
    return quick.answer(raw, head)


def test_the_second_time_nobody_is_asked_and_the_date_is_right() -> None:
    files, clock = Files(), Clock()
    quick = QuickAnswers(files, clock=clock)
    first = ask(quick)
    assert first == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 09 Sep 2001 01:46:40 GMT\r\ncontent-length: 3\r\n\r\none"
    )
    assert ask(quick) == first
    clock.now_s += 1
    assert ask(quick) == first.replace(b"01:46:40", b"01:46:41")
    assert (files.asked, quick.given) == (1, 3)


def test_other_words_for_the_same_get_the_same_answer() -> None:
    files = Files()
    quick = QuickAnswers(files, clock=Clock())
    first = ask(quick)
    for line in (b"Cookie: a=1", b"Cookie: a=2", b"User-Agent: b", b"Connection: keep-alive"):
        assert ask(quick, GET[:-2] + line + b"\r\n\r\n") == first
    assert ask(quick, GET.replace(b"Host: h", b"Host: i")) == first
    assert (files.asked, quick.given) == (1, 6)
    files.content, files.generation = b"two", 1
    assert (ask(quick, GET[:-2] + b"Cookie: a=3\r\n\r\n") or b"").endswith(b"two")


def test_what_an_answer_depends_on_is_part_of_the_question() -> None:
    files = Files()
    quick = QuickAnswers(files, clock=Clock())
    questions = [
        GET,
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"/a", b"/a?b"),
        GET[:-2] + b"Accept-Encoding: gzip\r\n\r\n",
        GET[:-2] + b"Accept-Encoding: br\r\n\r\n",
        GET[:-2] + b"Range: bytes=0-1\r\n\r\n",
        GET[:-2] + b'If-Match: "a"\r\n\r\n',
        GET[:-2] + b'If-None-Match: "a"\r\n\r\n',
        GET[:-2] + b'If-None-Match: "b"\r\nIf-None-Match: "a"\r\n\r\n',
    ]
    for number, question in enumerate(questions, 1):
        ask(quick, question)
        assert files.asked == number, question


class Recording(dict[str, str]):
    """The fields of a request, and which of them were read."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.read: set[str] = set()

    def get(self, name: str, default: object = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def test_answers_depend_on_no_other_fields() -> None:
    file = Representation("ab" * 32, 10, "text/html", is_codable=True, coded=(Coded("gzip", "cd" * 32, 5),))
    values = {
        "accept-encoding": ("gzip", "identity;q=0, *;q=0"),
        "range": ("bytes=0-1", "bytes=99-"),
        "if-range": (file.etag, "Sun, 09 Sep 2001 01:46:40 GMT"),
        "if-match": (file.etag, '"other"'),
        "if-none-match": (file.etag, '"other"'),
        "if-modified-since": ("Sun, 09 Sep 2001 01:46:40 GMT",),
        "if-unmodified-since": ("Sun, 09 Sep 2001 01:46:40 GMT",),
    }
    read = set()
    for chosen in product(*((None, *options) for options in values.values())):
        fields = Recording({name: value for name, value in zip(values, chosen, strict=True) if value})
        for path in ("/a", "/b", "/none"):
            files = {"/a": file, "/b/": file}
            Responder("edge").respond(Request("GET", path, fields=fields), files.get, 1_000_000_000)
        read |= fields.read
    assert read - {"transfer-encoding", "content-length"} == READS, (
        "only how a request with content is framed"
    )


def test_a_change_shows_at_once() -> None:
    files = Files()
    quick = QuickAnswers(files, clock=Clock())
    ask(quick)
    files.content, files.generation = b"two", 1
    assert (ask(quick) or b"").endswith(b"two")
    assert files.asked == 2


def test_what_expires_is_not_served_any_longer() -> None:
    clock = Clock()
    files = Files(expires_unix_s=int(clock.now_s) + 2)
    quick = QuickAnswers(files, clock=clock)
    assert ask(quick) is not None
    clock.now_s += 2
    assert ask(quick) is None


def test_what_may_soon_be_answered_otherwise_is_not_remembered() -> None:
    files = Files()
    quick = QuickAnswers(files, clock=Clock())
    dated = GET[:-2] + b"If-Modified-Since: Sun, 09 Sep 2031 01:46:40 GMT\r\n\r\n"
    ask(quick, dated)
    ask(quick, dated)
    assert files.asked == 2


def test_memory_is_bounded() -> None:
    quick = QuickAnswers(Files(content=bytes(10_000)), memory_bytes=100_000, clock=Clock())
    for number in range(1_000):
        ask(quick, GET[:-2] + b"X: %d\r\n\r\n" % number)
        assert quick.memory_bytes <= 100_000
    assert quick.memory_bytes > 80_000


def test_a_file_that_is_asked_for_counts_as_used() -> None:
    files, clock = Files(), Clock()
    quick = QuickAnswers(files, clock=clock)
    ask(quick)
    ask(quick)
    clock.now_s += 1
    ask(quick)
    assert files.touched == ["sha"]


def test_what_takes_waiting_is_left_to_others() -> None:
    quick = QuickAnswers(Files(), clock=Clock())
    for raw in (
        b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n",
    ):
        assert ask(quick, raw) is None


def test_the_last_answer_on_a_connection_says_so_and_is_not_given_to_others() -> None:
    files = Files()
    quick = QuickAnswers(files, clock=Clock())
    last = GET[:-2] + b"Connection: close\r\n\r\n"
    for _ in range(2):
        assert b"connection: close\r\n" in (ask(quick, last) or b"")
    assert files.asked == 2
