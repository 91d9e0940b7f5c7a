"""A real edge in front of a small real server, over ::1."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Edge = Callable[..., AbstractContextManager[Any]]
LARGE = bytes(range(256)) * 40_000
PAST = "Sun, 06 Nov 1994 08:49:37 GMT"


class Server(ThreadingHTTPServer):
    """The upstream; `asked` counts requests by method and path."""

    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("::1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.seen: dict[str, dict[str, str]] = {}
        self.sent = 0
        self.is_dead = False
        self.gate = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://[::1]:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """What the paths of the upstream do."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response_only(status)
        named = {"Date": self.date_time_string(), "Content-Length": str(len(body)), **fields}
        for name, value in named.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self) -> None:
        if self.server.is_dead:
            self.close_connection = True
            return
        self.server.asked[f"{self.command} {self.path}"] += 1
        self.server.seen[self.path] = {name.lower(): value for name, value in self.headers.items()}
        content = self.content()
        match self.path.partition("?")[0]:
            case "/cached":
                self.reply(200, b"cached", Cache_Control="max-age=100", ETag='"c"')
            case "/early":
                self.send_response_only(100)
                self.end_headers()
                self.send_response_only(103)
                self.send_header("Link", "</a.css>; rel=preload")
                self.send_header("Connection", "X-Hop")
                self.send_header("X-Hop", "1")
                self.end_headers()
                self.reply(200, b"early", Cache_Control="max-age=100")
            case "/dated":
                self.reply(200, b"dated", Date=PAST)
            case "/large":
                self.reply(200, LARGE, Cache_Control="max-age=100000", ETag='"l"')
            case "/long":
                self.send_response_only(200)
                self.send_header("Cache-Control", "max-age=100")
                self.end_headers()
                self.wfile.write(LARGE)
                self.close_connection = True
            case "/slow":
                self.server.gate.wait(5)
                self.reply(200, b"slow", Cache_Control="max-age=100")
            case "/stale":
                if self.headers.get("If-None-Match") == '"s"':
                    self.reply(304, b"", Cache_Control="max-age=0", ETag='"s"')
                else:
                    self.reply(200, b"stale", Cache_Control="max-age=0, stale-if-error=100", ETag='"s"')
            case "/echo":
                self.reply(200, self.command.encode() + b" " + hashlib.sha256(content).hexdigest().encode())
            case "/private":
                self.reply(200, b"private", Cache_Control="private")
            case "/endless":
                self.send_response_only(200)
                self.end_headers()
                self.close_connection = True
                try:
                    for _ in range(4000):
                        self.wfile.write(bytes(64 << 10))
                        self.server.sent += 64 << 10
                except OSError:
                    pass
            case "/broken":
                self.send_response_only(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"half")
                self.close_connection = True
            case "/until-close":
                self.send_response_only(200)
                self.end_headers()
                self.wfile.write(b"to the end")
                self.close_connection = True
            case "/nonsense":
                self.wfile.write(b"nonsense\r\n\r\n")
                self.close_connection = True
            case "/silent":
                self.close_connection = True
            case _:
                self.reply(404, b"none")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def running(server: Server, edge: Edge, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_bytes(b"ours")
    arguments = ("--store", tmp_path / "store", "--site", tmp_path / "site", "--proxy-url", server.url)
    with edge(*arguments) as running:
        yield running


def ask(
    running: Any, path: str, method: str = "GET", body: Any = None, **fields: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("::1", running.ready["port"], timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in fields.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll, for what becomes true soon."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_in_no_manifest_is_fetched_once(running: Any, server: Server) -> None:
    missed, body = ask(running, "/cached?x=1")
    assert (missed.status, body) == (200, b"cached")
    assert missed.getheader("Cache-Status") == "edge1; fwd=uri-miss; fwd-status=200; stored"
    seen = server.seen["/cached?x=1"]
    assert (seen["via"], seen["cdn-loop"]) == ("1.1 edge1", "edge1")
    assert ask(running, "/")[1] == b"ours"
    assert ask(running, "/", "DELETE")[0].status == 405
    assert server.asked == {"GET /cached?x=1": 1}


def test_hits_heads_and_ranges(running: Any, server: Server) -> None:
    assert ask(running, "/large")[1] == LARGE

    def is_hit() -> bool:
        return "; hit" in (ask(running, "/large", "HEAD")[0].getheader("Cache-Status") or "")

    wait_for(is_hit)
    hit, body = ask(running, "/large")
    assert body == LARGE
    assert hit.getheader("Age") is not None
    assert len(hit.headers.get_all("Date") or []) == 1
    head, nothing = ask(running, "/large", "HEAD")
    assert (nothing, head.getheader("Content-Length")) == (b"", str(len(LARGE)))
    part, body = ask(running, "/large", Range="bytes=1000000-2999999")
    assert (part.status, body) == (206, LARGE[1_000_000:3_000_000])
    current, body = ask(running, "/large", If_None_Match='"l"')
    assert (current.status, body) == (304, b"")
    assert server.asked["GET /large"] == 1


def test_a_date_is_passed_on_as_it_is(running: Any) -> None:
    response, _ = ask(running, "/dated")
    assert response.headers.get_all("Date") == [PAST]
    assert len(ask(running, "/")[0].headers.get_all("Date") or []) == 1


def test_many_wait_for_one(running: Any, server: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, running, "/slow") for _ in range(8)]
        wait_for(lambda: server.asked["GET /slow"] == 1)
        time.sleep(0.2)
        server.gate.set()
        assert {future.result()[1] for future in waiting} == {b"slow"}
    assert server.asked["GET /slow"] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("chunked", [False, True])
def test_content_goes_up(running: Any, method: str, chunked: bool) -> None:
    body: Any = (
        (LARGE[start : start + 99_999] for start in range(0, len(LARGE), 99_999)) if chunked else LARGE
    )
    response, answer = ask(running, "/echo", method, body)
    assert answer.decode() == f"{method} {hashlib.sha256(LARGE).hexdigest()}"
    assert response.getheader("Cache-Status") == "edge1; fwd=method; fwd-status=200"


def test_a_change_invalidates(running: Any, server: Server) -> None:
    ask(running, "/cached")
    wait_for(lambda: "; hit" in (ask(running, "/cached")[0].getheader("Cache-Status") or ""))
    ask(running, "/cached", "PUT", b"x")
    before = server.asked["GET /cached"]
    ask(running, "/cached")
    assert server.asked["GET /cached"] == before + 1


def test_a_slow_client_holds_back_the_upstream(running: Any, server: Server) -> None:
    with socket.create_connection(("::1", running.ready["port"])) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1000)
        time.sleep(0.5)
        held = server.sent
        time.sleep(0.5)
        assert server.sent == held < 64 << 20
    time.sleep(0.5)
    assert server.sent < 64 << 20


def test_failures(running: Any, server: Server) -> None:
    assert ask(running, "/nonsense")[0].status == 502
    assert ask(running, "/silent")[0].status == 502
    assert ask(running, "/until-close")[1] == b"to the end"
    with pytest.raises(http.client.IncompleteRead):
        ask(running, "/broken")
    assert ask(running, "/none")[0].status == 404


def test_the_upstream_goes_away(running: Any, server: Server) -> None:
    ask(running, "/stale")
    wait_for(lambda: "304" in (ask(running, "/stale")[0].getheader("Cache-Status") or ""))
    server.is_dead = True
    server.shutdown()
    server.server_close()
    stale, body = ask(running, "/stale")
    assert (stale.status, body) == (200, b"stale")
    assert "fwd=stale" in (stale.getheader("Cache-Status") or "")
    assert ask(running, "/other")[0].status == 502
    assert ask(running, "/")[1] == b"ours"


def raw(running: Any, request: bytes) -> bytes:
    """Bytes on the wire until the edge closes."""
    with socket.create_connection(("::1", running.ready["port"]), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /x HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(101)) + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_refused_never_gets_upstream(
    running: Any, server: Server, request_bytes: bytes, status: int
) -> None:
    answer = raw(running, request_bytes + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not server.asked


def test_a_head_that_does_not_end_is_cut_off(running: Any, server: Server) -> None:
    with socket.create_connection(("::1", running.ready["port"]), timeout=5) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nX: ")
        answer = b""
        try:
            for _ in range(100):
                client.sendall(b"y" * 10_000)
            answer = client.recv(1000)
        except (ConnectionResetError, BrokenPipeError):
            pass  # while it was sending
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert not server.asked
    assert ask(running, "/")[1] == b"ours"


def test_what_does_not_fit_the_store_goes_through(server: Server, edge: Edge, tmp_path: Path) -> None:
    arguments = ("--store", tmp_path / "store", "--max-bytes", "1000000", "--proxy-url", server.url)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_bytes(b"ours")
    with edge(*arguments, "--site", tmp_path / "site") as running:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for path in ("/large", "/long"):
                answers = list(pool.map(lambda _, path=path: ask(running, path)[1], range(4)))
                assert all(body == LARGE for body in answers)
        assert ask(running, "/cached")[1] == b"cached"
        wait_for(lambda: "; hit" in (ask(running, "/cached")[0].getheader("Cache-Status") or ""))
        wait_for(lambda: not list((tmp_path / "store" / "tmp").iterdir()))


def test_what_is_said_before_the_answer_is_passed_on(running: Any) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
    last = b"Host: h\r\nConnection: close\r\n\r\n"
    old = raw(running, b"GET /early?old HTTP/1.0\r\n" + last)
    assert old.startswith(b"HTTP/1.1 200 OK\r\n")
    first, second = (raw(running, b"GET /early HTTP/1.1\r\n" + last) for _ in range(2))
    assert first.startswith(early)
    assert b"x-hop" not in first.lower()
    assert second.startswith(b"HTTP/1.1 200 OK\r\n"), "it is not stored"
    assert all(answer.endswith(b"\r\n\r\nearly") for answer in (old, first, second))


def test_two_requests_on_one_connection(running: Any, server: Server) -> None:
    get = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    answer = raw(running, get % (b"/private", b"") + get % (b"/", b"Connection: close\r\n"))
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b"private") < answer.index(b"ours")


def test_content_survives_new_versions_and_is_not_there_after_a_restart(
    running: Any, server: Server, tmp_path: Path
) -> None:
    ask(running, "/cached")
    name = hashlib.sha256(b"cached").hexdigest()
    blob = tmp_path / "store" / "blobs" / name[:2] / name
    wait_for(blob.exists)
    ask(running, "/large")  # another commit, which removes what nobody lists
    wait_for(lambda: "; hit" in (ask(running, "/large", "HEAD")[0].getheader("Cache-Status") or ""))
    assert blob.exists()
    wait_for(lambda: not list((tmp_path / "store" / "tmp").iterdir()))
    assert running.stop()[0] == 0
