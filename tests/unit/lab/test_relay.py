"""Requests from other terminals on their way into a lab and back."""

from __future__ import annotations

import json
import os
import pty
import socket
import stat
import threading
import tty
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.relay import CHANNEL_VARIABLE, Channel, Handler, Relay, answer_requests, ask, lines, relayed

LARGE = "x" * (3 << 20)


def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"ok": True, "given": request}


def lab(inner: int, handler: Handler) -> threading.Thread:
    # A descriptor of its own: the number of one that a test has closed would soon belong to the next test.
    channel = Channel(os.dup(inner))
    thread = threading.Thread(target=answer_requests, args=(channel, handler), daemon=True)
    thread.start()
    return thread


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    outer, inner = socket.socketpair()
    with outer, inner:
        yield outer, inner


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "labs" / "1.sock"


def test_requests_reach_the_lab_and_answers_come_back(
    place: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    outer, inner = ends
    relay = Relay(place, Channel(outer.detach()))
    relay.start()
    lab(inner.fileno(), echo)
    assert ask(place, {"op": "status"}) == {"ok": True, "given": {"op": "status"}}
    inner.shutdown(socket.SHUT_RDWR)
    relay.close()
    assert not place.exists()


def test_only_the_user_may_use_the_socket(place: Path) -> None:
    with relayed(place):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_lab_that_nobody_may_reach_has_no_channel() -> None:
    with relayed(None) as channel:
        assert channel is None


def test_a_folder_with_a_long_name_will_do(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 50) / "1.sock"
    with relayed(place) as inner:
        assert inner is not None
        lab(os.dup(inner.fileno()), echo)
        assert ask(place, {"op": "x"})["ok"]
        inner.shutdown(socket.SHUT_RDWR)


def test_large_answers_come_whole_over_a_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest's serial line is a terminal for the lab; here a pseudo-terminal stands for it."""
    master, slave = pty.openpty()
    tty.setraw(master)
    relay = Relay(place, Channel(master))
    relay.start()
    monkeypatch.setenv(CHANNEL_VARIABLE, os.ttyname(slave))
    monkeypatch.setattr("lab.relay._JOIN_S", 0.0)
    channel = Channel.of_job()
    assert channel is not None
    assert CHANNEL_VARIABLE not in os.environ, "the lab's processes do not inherit it"

    def large(request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"ok": True, "text": LARGE, "ü": request["line"]}

    threading.Thread(target=answer_requests, args=(channel, large), daemon=True).start()
    # Control characters of a terminal, and line ends within a text, must not mean anything.
    line = "\x03\x04\x11\x13\x1a\r\n\x7f ü"
    assert ask(place, {"op": "flows", "line": line}) == {"ok": True, "text": LARGE, "ü": line}
    os.close(slave)
    channel.close()
    relay.close()


def test_a_slow_request_keeps_no_other_one_waiting(
    place: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    outer, inner = ends
    go_on = threading.Event()

    def handler(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if request["op"] == "slow":
            assert go_on.wait(20)
        return {"ok": True, "op": request["op"]}

    relay = Relay(place, Channel(outer.detach()))
    relay.start()
    lab(inner.fileno(), handler)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, place, {"op": "slow"})
        assert ask(place, {"op": "quick"})["op"] == "quick"
        assert not slow.done()
        go_on.set()
        assert slow.result(20)["op"] == "slow"
    inner.shutdown(socket.SHUT_RDWR)
    relay.close()


def test_answers_find_their_clients(place: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    outer, inner = ends
    relay = Relay(place, Channel(outer.detach()))
    relay.start()
    lab(inner.fileno(), echo)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(place, {"n": number}), range(64)))
    assert [answer["given"]["n"] for answer in answers] == list(range(64))
    inner.shutdown(socket.SHUT_RDWR)
    relay.close()


def test_who_waits_when_the_lab_ends_hears_so(place: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    outer, inner = ends
    relay = Relay(place, Channel(outer.detach()))
    relay.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, place, {"op": "status"})
        assert next(lines(inner.fileno())), "the request has arrived"
        inner.shutdown(socket.SHUT_RDWR)
        assert waiting.result(20) == {"ok": False, "error": "the lab has ended", "usage": False}
        assert ask(place, {"op": "again"})["error"] == "the lab has ended"
    relay.close()


def test_noise_on_the_line_is_ignored(place: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    outer, inner = ends
    relay = Relay(place, Channel(outer.detach()))
    relay.start()
    inner.sendall(b'Kernel panic\n{"id": 99, "answer": {}}\n{"id": "x"}\n[1]\n\xff\xfe\n')
    lab(inner.fileno(), echo)
    assert ask(place, {"op": "status"})["ok"]
    inner.shutdown(socket.SHUT_RDWR)
    relay.close()


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"\n"])
def test_a_line_that_is_no_request_is_refused(place: Path, line: bytes) -> None:
    with relayed(place), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))
        client.sendall(line)
        answer = json.loads(next(lines(client.fileno())))
    assert answer == {"ok": False, "error": "a request is a JSON object", "usage": True}


def test_lines_may_come_in_any_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    outer, inner = ends
    text = b"first\n\nthird\nlast without an end"
    with suppress(OSError):
        for place in range(len(text)):
            outer.sendall(text[place : place + 1])
    found = lines(inner.fileno())
    assert [next(found) for _ in range(3)] == [b"first", b"", b"third"]
    outer.close()
    assert list(found) == []


def test_nobody_listens(place: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ask(place, {"op": "status"})
