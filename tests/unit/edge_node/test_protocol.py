"""A real edge spoken to byte by byte over ::1."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

Edge = Callable[..., AbstractContextManager[Any]]
GET = b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n"
LARGE_GET = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"
LARGE = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "small").write_bytes(b"a small file\n")
    (root / "middle").write_bytes(LARGE[:200_000])
    (root / "large").write_bytes(LARGE)
    return root


@pytest.fixture(scope="module")
def edge(site: Path, tmp_path_factory: pytest.TempPathFactory, edge_module: Edge) -> Iterator[Any]:
    with edge_module("--store", tmp_path_factory.mktemp("store"), "--site", site) as running:
        yield running


def connect(edge: Any) -> socket.socket:
    match = re.match(r"http://\[(.*)\]:(\d+)", edge.url)
    assert match
    return socket.create_connection((match[1], int(match[2])), timeout=10)


def everything(connection: socket.socket) -> bytes:
    """What is sent until the other end closes."""
    received = b""
    while data := connection.recv(1 << 20):
        received += data
    return received


def say(edge: Any, *parts: bytes) -> bytes:
    """All that comes back for these bytes, sent one part after the other."""
    with connect(edge) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02 if len(parts) > 1 else 0)
        connection.settimeout(10)
        return everything(connection)


CLOSING = GET[:-2] + b"Connection: close\r\n\r\n"


def undated(answer: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*", b"date: -", answer)


def test_the_quick_answer_is_the_same_as_the_other(edge: Any) -> None:
    fields = (
        b"",
        b"Range: bytes=2-6\r\n",
        b"Range: bytes=0-1,4-5\r\n",
        b"Range: bytes=99-\r\n",
        b"If-None-Match: *\r\n",
        b'If-Match: "other"\r\n',
        b"Accept-Encoding: identity;q=0\r\n",
    )
    for method in (b"GET", b"HEAD"):
        for path in (b"/small", b"/small?query"):
            for field in fields:
                head = method + b" " + path + b" HTTP/1.1\r\nHost: h\r\n" + field
                # The second is remembered; the third takes the way through ASGI.
                last = head + b"Connection: close, x-other\r\n\r\n"
                answers = say(edge, head + b"\r\n", head + b"\r\n", last)
                parts = [b"HTTP/1.1 " + part for part in answers.split(b"HTTP/1.1 ")[1:]]
                first, second, last = (undated(part) for part in parts)
                assert first == second
                assert last.replace(b"connection: close\r\n", b"") == first


def test_pipelined_requests_are_answered_in_order(edge: Any) -> None:
    other = b"GET /middle HTTP/1.1\r\nHost: h\r\n\r\n"
    post = b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /"
    answers = say(edge, GET + other + post + GET + other + CLOSING)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
    assert statuses == [b"200", b"200", b"405", b"200", b"200", b"200"]
    assert answers.count(b"a small file\n") == 3
    assert answers.count(LARGE[:200_000]) == 2


def test_a_head_may_come_byte_by_byte(edge: Any) -> None:
    with connect(edge) as connection:
        for byte in CLOSING:
            connection.sendall(bytes([byte]))
        assert everything(connection).startswith(b"HTTP/1.1 200 ")


def test_nothing_follows_chunked_content(edge: Any) -> None:
    chunked = b"POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    answers = say(edge, chunked + GET)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"405"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /small HTTP/1.1\nHost: h\n\n", b"400"),
        (b"GET /small HTTP/1.1\r\nHost: a b\r\n\r\n", b"400"),
        (b"GET /small HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", b"400"),
        (b"BREW /small HTTP/1.1\r\nHost: h\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET /small HTTP/2.0\r\nHost: h\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: " + b"a" * 60_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n", b"413"),
    ],
)
def test_what_is_refused_is_said_so_and_ends_the_connection(edge: Any, data: bytes, status: bytes) -> None:
    answer = say(edge, data + GET)
    assert answer.startswith(b"HTTP/1.1 " + status + b" ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close\r\n" in answer
    assert b"nearcast-edge: " in answer


def test_content_that_nobody_wants_is_not_read_to_its_end(edge: Any) -> None:
    with connect(edge) as connection:
        connection.sendall(b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 900000000\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 900_000_000:
                sent += connection.send(bytes(1 << 16))
        assert sent < 100_000_000


def test_a_full_edge_closes_idle_connections_for_new_ones(
    site: Path, tmp_path: Path, edge_module: Edge
) -> None:
    options = ("--max-connections", 3)
    with edge_module("--store", tmp_path / "store", "--site", site, *options) as running:
        held = []
        for _ in range(5):
            connection = connect(running)
            held.append(connection)
            connection.sendall(GET)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert [connection.recv(1) for connection in held[:2]] == [b"", b""]
        held[4].sendall(GET)
        assert held[4].recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


def test_an_edge_full_of_requests_refuses_quickly_and_keeps_who_was_served(
    site: Path, tmp_path: Path, edge_module: Edge
) -> None:
    options = ("--max-requests", 4)
    with edge_module("--store", tmp_path / "store", "--site", site, *options) as running:
        served = connect(running)
        served.sendall(GET)
        assert served.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        readers = []
        for _ in range(4):  # who ask for much and read nothing
            reader = connect(running)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(LARGE_GET)
            readers.append(reader)
            assert reader.recv(1)
        refused = say(running, LARGE_GET)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in refused
        served.sendall(LARGE_GET)
        assert served.recv(1 << 10).startswith(b"HTTP/1.1 200 ")
        at_hand = say(running, GET, CLOSING)
        assert at_hand.count(b"a small file\n") == 2  # costs no more than a refusal
        for connection in (served, *readers):
            connection.close()
