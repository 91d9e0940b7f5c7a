"""Probes, requests, scans and peers: what they make of what comes back, between real network namespaces."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments import probe as probe_module
from experiments import scan as scan_module
from experiments.acts.routers import extended_error
from experiments.echo import respond
from experiments.hosts import read_hosts
from experiments.http_client import Server, ShortAnswerError, fetch, parse_head, reason, row
from experiments.peer import _serve, exchange
from experiments.probe import Prober, rows, run
from experiments.scan import TCP_PORTS, UDP_PORTS, scan
from experiments.windows import Get
from tests.unit.lab.namespaces import Namespace, connect, isolated, new_namespace, wait_reachable

SERVER, CLIENT = "fd00::1", "fd00::2"


def _pair() -> tuple[Namespace, Namespace]:
    """A server's and a client's namespace that reach each other."""
    server, client = new_namespace(), new_namespace()
    connect(server, "eth0", client, "eth0")
    server.command("ip", "address", "add", f"{SERVER}/64", "dev", "eth0", "nodad")
    client.command("ip", "address", "add", f"{CLIENT}/64", "dev", "eth0", "nodad")
    wait_reachable(client, server, SERVER)
    return server, client


def _child(work: Callable[[], object]) -> int:
    """Run in a forked process that ends with the test."""
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(1)
    return process


def test_words_name_hosts_by_their_descriptor() -> None:
    (host,) = read_hosts(["user1=17"]).values()
    assert (host.name, host.fd) == ("user1", 17)
    with pytest.raises(ValueError, match="invalid literal"):
        read_hosts(["user1"])


@isolated
def test_probes_say_who_answered_and_which_were_lost(tmp_path: Path) -> None:
    probe_module.LAST_WAIT_S = 0.05
    server, client = _pair()
    responder = _child(lambda: respond({"edge7": server}, SERVER))
    prober = Prober(client, SERVER)
    while not (prober.probes and prober.probes[0].edge):  # until the responder is there
        prober.probes.clear()
        prober.send(time.monotonic())
        time.sleep(0.01)
        prober.receive(time.monotonic())
    prober.probes.clear()
    begin_s = time.monotonic()
    run([prober], 0.001, begin_s, 0.02)
    os.kill(responder, signal.SIGKILL)
    os.waitpid(responder, 0)
    run([prober], 0.001, time.monotonic(), 0.005)
    found = list(rows("kill", {"user1": prober}, begin_s))
    assert [cells[4] for cells in found] == ["edge7"] * 20 + [""] * 5
    assert all(float(cells[3]) > 0 for cells in found[:20])
    assert [cells[3] for cells in found[20:]] == [""] * 5
    assert float(found[19][2]) == pytest.approx(0.019, abs=0.5)


class _Web:
    """A web server that sends the same bytes to everyone and then closes the connection."""

    def __init__(self, namespace: Namespace, answer: bytes) -> None:
        with namespace.entered():
            self._listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._listener.bind((SERVER, 80))
        self._listener.listen()
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.recv(4096)
            connection.sendall(self._answer)
            connection.close()


@isolated
def test_a_request_knows_its_edge_its_address_and_its_size(tmp_path: Path) -> None:
    server, client = _pair()
    _Web(server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nNearcast-Edge: edge3\r\n\r\nhello")
    get = Get("user1", 0.0, "/x")
    answer = asyncio.run(fetch(get, client, Server(SERVER, 80, "www"), time.monotonic()))
    assert (answer.status, answer.edge, answer.bytes, answer.error, answer.source) == (
        *(200, "edge3", 5, ""),
        CLIENT,
    )
    assert 0 < answer.connect_s <= answer.ttfb_s <= answer.total_s
    cells = row("w", get, answer, answer.started_s)
    assert cells[:5] == ("w", "user1", "/x", CLIENT, "0.000000")


@isolated
def test_a_request_that_fails_says_why(tmp_path: Path) -> None:
    server, client = _pair()
    _Web(server, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
    short = asyncio.run(fetch(Get("u", 0.0), client, Server(SERVER, 80, "www"), time.monotonic()))
    assert (short.error, short.bytes) == ("short", 5)
    refused = asyncio.run(fetch(Get("u", 0.0), client, Server(SERVER, 81, "www"), time.monotonic()))
    assert (refused.error, refused.status) == ("refused", 0)


@isolated
def test_a_client_that_reads_slowly_takes_its_time_and_one_that_holds_ends_as_held(tmp_path: Path) -> None:
    server, client = _pair()
    size = 40_000
    _Web(server, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    to = Server(SERVER, 80, "www")
    paced = asyncio.run(fetch(Get("u", 0.0, rate_mbps=3.2), client, to, time.monotonic()))
    assert (paced.error, paced.bytes) == ("", size)
    assert paced.total_s - paced.ttfb_s >= 0.09
    held = asyncio.run(fetch(Get("u", 0.0, hold_s=0.02), client, to, time.monotonic()))
    assert held.error == "held"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nNEARCAST-EDGE:  edge1 ", (200, 7, "edge1")),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0", (503, 0, "")),
    ],
)
def test_the_head_of_an_answer(head: bytes, expected: tuple[int, int, str]) -> None:
    found = parse_head(head)
    assert (found.status, found.length, found.edge) == expected


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1", b"HTTP/1.1 OK", b"HTTP/1.1 200 OK\r\nX: 1"])
def test_a_head_without_status_or_length_is_no_answer(head: bytes) -> None:
    with pytest.raises(ShortAnswerError):
        parse_head(head)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ECONNREFUSED, ""), "refused"),
        (OSError(errno.ECONNRESET, ""), "reset"),
        (OSError(errno.EHOSTUNREACH, ""), "unreachable"),
        (TimeoutError(), "timeout"),
        (ShortAnswerError(), "short"),
        (OSError(errno.EMFILE, ""), "OSError"),
    ],
)
def test_errors_have_a_word(error: BaseException, word: str) -> None:
    assert reason(error) == word


@isolated
def test_a_scan_of_an_open_host_arrives_everywhere(tmp_path: Path) -> None:
    scan_module.WAIT_S = 0.2
    inside, outside = _pair()
    knocks = scan(inside, outside, SERVER)
    assert len(knocks) == len(TCP_PORTS) + len(UDP_PORTS) + 1
    assert all(knock.has_arrived for knock in knocks)
    assert {knock.answer for knock in knocks if knock.protocol == "tcp"} == {"connected"}
    assert knocks[-1].answer == "reply"


@isolated
def test_a_scan_of_a_host_that_drops_everything_arrives_nowhere(tmp_path: Path) -> None:
    scan_module.WAIT_S = 0.2
    inside, outside = _pair()
    inside.command("ip", "-6", "route", "add", "blackhole", f"{CLIENT}/128")
    inside.command("ip", "address", "del", f"{SERVER}/64", "dev", "eth0")
    knocks = scan(inside, outside, SERVER)
    assert not any(knock.has_arrived for knock in knocks)
    assert {knock.answer for knock in knocks} == {"none"}


@isolated
def test_a_peer_says_whom_it_sees_and_both_count_the_bytes(tmp_path: Path) -> None:
    server, client = _pair()
    with server.entered():
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.bind((SERVER, 5001))
    listener.listen()
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    found = exchange(client, SERVER, send=100_000, receive=200_000)
    assert found.is_complete
    assert found.own == found.seen
    assert found.own.startswith(f"{CLIENT} ")
    assert found.path_mtu == 1500
    assert found.mbps > 0


def _error(origin: int, icmp_type: int, offender: str) -> tuple[int, int, bytes]:
    data = struct.pack("=IBBBBII", 113, origin, icmp_type, 0, 0, 0, 0)
    data += struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, IPv6Address(offender).packed, 0)
    return socket.IPPROTO_IPV6, 25, data


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        ([_error(3, 3, "2001:db8::1")], ("time-exceeded", "2001:db8::1")),
        ([_error(3, 1, "fe80::1")], ("unreachable", "fe80::1")),
        ([(socket.IPPROTO_IPV6, 52, b"\0\0\0\0"), _error(3, 2, "::5")], ("too-big", "::5")),
        ([_error(1, 0, "::")], None),
        ([], None),
    ],
)
def test_errors_in_the_error_queue(
    controls: list[tuple[int, int, bytes]], expected: tuple[str, str] | None
) -> None:
    assert extended_error(controls) == expected
