"""The bench of the edge beside nginx: what it reads, how it judges, what it tells nginx."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.http_bench import Row, compared, row_cells, to_json
from experiments.http_load import Load, connections_for, is_served, parse_report, thinking_script
from experiments.http_servers import BenchError, Core, nginx_configuration

WRK = """\
Running 1s test @ http://[::1]:8000/small.bin
  2000 requests in 0.50s, 2.60MB read
report {"requests": 2000, "bytes": 2600000, "duration_us": 500000, "p50_us": 250, "p99_us": 1500, "errors": 3}
"""


def load(per_s: float, errors: int = 0) -> Load:
    return Load(round(per_s), 1000, 1.0, 1.0, 2.0, errors, 0.5)


def test_what_wrk_says() -> None:
    found = parse_report(WRK, cpu_s=0.25)
    assert found == Load(2000, 2_600_000, 0.5, 0.25, 1.5, 3, 0.25)
    assert (found.per_s, found.mb_per_s, found.per_cpu_s, found.mb_per_cpu_s) == (4000, 5.2, 8000, 10.4)


def test_wrk_without_our_report_is_an_error() -> None:
    with pytest.raises(BenchError, match="no report"):
        parse_report("unable to connect to ::1:8000", 0.0)


def test_the_ratio_is_of_the_same_turn() -> None:
    calm, busy = (load(400), load(1000)), (load(40), load(100))
    row = compared("requests", "/s", [calm, busy, (load(300), load(1000))], lambda one: one.per_s, 1 / 3)
    assert (row.edge, row.nginx, row.ratio, row.ok) == (300, 1000, 0.4, True)


def test_failed_requests_miss_every_bar() -> None:
    row = compared("requests", "/s", [(load(900, errors=1), load(1000))], lambda one: one.per_s, 1 / 3)
    assert not row.ok
    assert "1 requests to the edge failed" in row.problem


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (Row("a", 1, 2, "/s", 0.5, 0.5), True),
        (Row("a", 1, 2, "/s", 0.49, 0.5), False),
        (Row("a", 6, 2, "ms", 3.0, 3, is_most=True), True),
        (Row("a", 7, 2, "ms", 3.5, 3, is_most=True), False),
        (Row("a", 40, 2, "kB", None, 40, is_most=True), True),
        (Row("a", 41, 2, "kB", None, 40, is_most=True), False),
        (Row("a", 41, 2, "kB"), None),
    ],
)
def test_bars(row: Row, ok: bool | None) -> None:
    assert row.ok is ok
    assert to_json([row])[0]["ok"] is ok
    assert row_cells(row)[-1] == {True: "yes", False: "NO", None: ""}[ok]


def test_users_who_think_make_the_rate() -> None:
    assert connections_for(5000) == 100
    assert connections_for(1) == 1
    assert "math.randomseed(7)" in thinking_script(7)
    assert "-20 *" in thinking_script(7)


def test_nginx_gets_the_same_files_and_fields(tmp_path: Path) -> None:
    text = nginx_configuration(tmp_path, tmp_path / "site", 8001, {"small.bin": [("nearcast-edge", "edge")]})
    for line in (
        "worker_processes 1;",
        "access_log off;",
        "sendfile on;",
        "listen [::1]:8001;",
        f"root {tmp_path}/site;",
        "location = /small.bin {",
        "add_header nearcast-edge 'edge';",
    ):
        assert line in text
    assert text.count("{") == text.count("}")


def test_a_process_keeps_to_its_core() -> None:
    assert Core(3).pinned(["wrk"]) == ["taskset", "-c", "3", "setpriv", "--pdeathsig", "TERM", "wrk"]
    assert Core(3, is_urgent=True).pinned(["wrk"])[:3] == ["chrt", "--rr", "1"]


@contextmanager
def answering(answer: bytes) -> Iterator[socket.socket]:
    """A connection to somebody who gives this answer to whatever comes, and closes."""
    mine, theirs = socket.socketpair()

    def server() -> None:
        with theirs:
            theirs.recv(1000)
            theirs.sendall(answer)

    thread = threading.Thread(target=server)
    thread.start()
    try:
        with mine:
            yield mine
    finally:
        thread.join()


@pytest.mark.parametrize(
    ("answer", "fine"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nabc", False),
        (b"", False),
    ],
)
def test_a_connection_is_served_when_all_of_a_200_comes(answer: bytes, fine: bool) -> None:
    with answering(answer) as connection:
        assert is_served(connection, "small.bin") is fine
