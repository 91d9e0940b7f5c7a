"""The HTTP matrix: a real edge against all of it, and servers that do wrong, which it notices."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from delivery.asgi import listen
from experiments.http_exchange import Answer
from experiments.http_matrix import ROWS, SHORT_OF, check, check_all, edge_with_files
from experiments.http_rows import DIGITS, PAGE, Row, get, parts_of_digits, refused, row, says_page_in

DATE = b"Date: Tue, 01 Dec 2026 00:00:00 GMT\r\n"
RIGHT = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 1000\r\n\r\n" + DIGITS
PLAIN = {"/digits.bin": Answer(200, (("etag", '"a"'), ("content-length", "1000")), DIGITS)}
GET = row("a request", "9112 3", get(), 200, content=DIGITS)


def test_there_are_enough_rows_with_their_sections() -> None:
    assert len(ROWS) >= 100
    assert all(re.fullmatch(r"(9110|9111|9112|6585) \d+(\.\d+)*", row.section) for row in ROWS)
    assert len({(row.section, row.name) for row in ROWS}) == len(ROWS)


def test_an_edge_does_what_the_rows_say() -> None:
    with edge_with_files() as port:
        failed = {verdict.row.name: verdict.problem for verdict in check_all(port) if verdict.problem}
    assert failed.keys() == SHORT_OF, failed


@contextmanager
def server(*answers: bytes) -> Iterator[int]:
    """A server that gives these answers to whatever comes, one to each, then closes; its port."""
    listener = listen("::1", 0)
    listener.setblocking(True)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            for answer in answers:
                connection.recv(1 << 16)
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("row", "answers", "problem"),
    [
        (GET, (RIGHT, RIGHT), ""),
        (GET, (RIGHT.replace(b"200 OK", b"404 No"), RIGHT), "status 404"),
        (GET, (RIGHT.replace(b"456", b"654"), RIGHT), "not what was asked for"),
        (GET, (RIGHT.replace(DATE, b""), RIGHT), "no Date"),
        (GET, (b"HTTP/1.1 100 Continue\r\n\r\n" + RIGHT, RIGHT), "interim"),
        (GET, (RIGHT,), "the next request: the connection was closed"),
        (GET, (RIGHT.replace(DATE, DATE + b"Connection: close\r\n"), RIGHT), "does not end"),
        (GET, (RIGHT.replace(b"1000", b"999"), RIGHT), "the next request: no status line"),
        (GET, (RIGHT.replace(b"1000", b"1001"),), "closed before the answer ended"),
        (GET, (RIGHT.replace(b"Date:", b"Date :"), RIGHT), "no field"),
        (GET, (RIGHT.replace(b"Date:", b"Transfer-Encoding: chunked\r\nDate:"), RIGHT), "framed by"),
        (refused("lone LF", "9112 2.2", get()), (RIGHT, RIGHT), "status 200; Connection is not there"),
        (
            row("HEAD", "9110 9.3.2", get(method="HEAD"), 200, stays=True),
            (RIGHT, RIGHT),
            "the next request: no status line",
        ),
        (
            row("range", "9110 15.3.7", get(), 206),
            (RIGHT.replace(b"200 OK", b"206 Part"), RIGHT),
            "206 without Content-Range",
        ),
    ],
)
def test_what_is_wrong_is_noticed(row: Row, answers: tuple[bytes, ...], problem: str) -> None:
    with server(*answers) as port:
        found = check(port, row, PLAIN)
    assert (problem in found) if problem else not found


def parts(*ranges: tuple[int, int], kind: str = "multipart/byteranges; boundary=b") -> Answer:
    content = b"".join(
        b"\r\n--b\r\nContent-Range: bytes %d-%d/1000\r\n\r\n%b" % (first, last, DIGITS[first : last + 1])
        for first, last in ranges
    )
    return Answer(206, (("content-type", kind),), content + b"\r\n--b--\r\n")


def test_parts_are_read() -> None:
    judge = parts_of_digits((0, 4), (10, 14))
    assert judge(parts((0, 4), (10, 14)), PLAIN) == ""
    assert judge(parts((0, 4)), PLAIN) == "the parts are [(0, 4)]"
    assert "Content-Type" in judge(parts((0, 4), (10, 14), kind="text/plain"), PLAIN)
    damaged = parts((0, 4), (10, 14))
    assert "other bytes" in judge(
        Answer(206, damaged.fields, damaged.content.replace(b"01234", b"12345")), PLAIN
    )


def test_codings_are_decoded() -> None:
    plain = {"/page.html": Answer(200, (("etag", '"a"'), ("vary", "Accept-Encoding")), PAGE)}
    assert says_page_in(None)(plain["/page.html"], plain) == ""
    assert "Content-Encoding is None" in says_page_in("gzip")(plain["/page.html"], plain)
    coded = Answer(
        200, (("content-encoding", "gzip"), ("vary", "accept-encoding"), ("etag", '"a"')), _gzip(PAGE)
    )
    assert "entity tag of the plain one" in says_page_in("gzip")(coded, plain)
    without_vary = Answer(200, (("content-encoding", "gzip"), ("etag", '"b"')), _gzip(PAGE))
    assert "Vary" in says_page_in("gzip")(without_vary, plain)
    other = Answer(200, (*without_vary.fields, ("vary", "accept-encoding")), _gzip(b"other"))
    assert "not the file" in says_page_in("gzip")(other, plain)


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content)
