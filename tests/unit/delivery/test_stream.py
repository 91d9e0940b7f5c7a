"""Socket and timer of a session: what the kernel does not take now goes later, what it refuses is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from delivery import stream as stream_module
from delivery.errors import DeliveryError
from delivery.stream import Stream, open_group


class Machine:
    """A sender that has so many batches to send, one each time it is asked."""

    def __init__(self, batches: list[list[bytes] | Exception], now: Callable[[], float]) -> None:
        self.batches, self.now = batches, now

    def poll(self, _now: float) -> list[bytes]:
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def next_deadline(self) -> float | None:
        return self.now() if self.batches else None


def numbered(count: int) -> list[bytes]:
    return [b"%03d" % number for number in range(count)]


def run(batches: list[list[bytes] | Exception], wanted: int) -> tuple[Any, ...]:
    """What arrives at the other end of a pair of sockets, what failed, errors and polls."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    received: list[bytes] = []
    problems: list[str] = []
    polls: list[int] = []

    async def test() -> int:
        machine: Any = Machine(batches, asyncio.get_running_loop().time)
        stream = Stream(machine, ours, lambda error: problems.append(str(error)), lambda: polls.append(1))
        stream.wake()
        while len(received) < wanted or machine.batches:
            await asyncio.sleep(0.001)
            while True:
                try:
                    received.append(theirs.recv(2000, socket.MSG_DONTWAIT))
                except BlockingIOError:
                    break
        stream.close()
        stream.wake()
        return stream.send_errors

    errors = asyncio.run(asyncio.wait_for(test(), 20))
    theirs.close()
    return received, problems, errors, len(polls)


def test_a_full_socket_is_waited_for() -> None:
    """A Unix socket takes about ten datagrams before it blocks."""
    received, problems, errors, polls = run([numbered(500), numbered(3)], 503)
    assert received == numbered(500) + numbered(3)
    assert (problems, errors, polls) == ([], 0, 2)


def test_what_cannot_be_read_is_told_and_the_rest_goes_out() -> None:
    batches: list[list[bytes] | Exception] = [numbered(2), DeliveryError("gone"), ValueError("odd"), [b"x"]]
    received, problems, _, polls = run(batches, 3)
    assert received == [*numbered(2), b"x"]
    assert (problems, polls) == (["gone", "odd"], 4)


def test_what_the_kernel_refuses_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    send = stream_module.send

    def refusing(sock: socket.socket, datagrams: list[bytes]) -> int:
        if datagrams[0] == b"001":
            raise OSError(101, "Network is unreachable")
        return send(sock, datagrams[:1])

    monkeypatch.setattr(stream_module, "send", refusing)
    received, _, errors, _ = run([numbered(4)], 3)
    assert (received, errors) == ([b"000", b"002", b"003"], 1)


def test_nothing_is_sent_once_it_is_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    async def test() -> None:
        machine: Any = Machine([numbered(1)], asyncio.get_running_loop().time)
        stream = Stream(machine, ours, lambda _: None)
        stream.wake()
        stream.close()
        stream.wake()
        await asyncio.sleep(0.01)
        assert machine.batches == [numbered(1)]

    asyncio.run(test())
    theirs.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("::1", "nosuch0", "ff35::1", 4001), "there is no interface nosuch0; --interface is one of .*lo"),
        (("2001:db8::77", "lo", "ff35::1", 4001), "cannot send from 2001:db8::77 to ff35::1 through lo"),
    ],
)
def test_what_cannot_be_opened(arguments: tuple[str, str, str, int], message: str) -> None:
    with pytest.raises(DeliveryError, match=message):
        open_group(*arguments)
