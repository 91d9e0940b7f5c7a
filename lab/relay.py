"""How other terminals reach a lab: requests and answers, one JSON object per line, over whatever joins the
two sides. The guest lab has a second serial line for it, the native lab a socket; neither needs a network.

Outside, a `Relay` listens on a Unix socket and hands each request on with a number; inside,
`answer_requests` carries it out and sends the answer back with that number, so that a slow request keeps no
other one waiting. Lines that are no JSON objects with a number are noise on the line and ignored.
"""

from __future__ import annotations

import json
import os
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Answers one request, whatever it contains; must not raise."""
SERIAL_LINE = "/dev/ttyS0"
"""The guest's end of the channel."""
CHANNEL_VARIABLE = "NEARCAST_CHANNEL"
"""Environment variable that tells a job what its end of the channel is: a descriptor, or a serial line."""
_READ_BYTES = 1 << 16
_JOIN_S = 2.0


class Channel:
    """One end of the line between the two sides. Lines may be written from any thread."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is open for reading and writing, and from now on the channel's."""
        self._descriptor = descriptor
        self._lock = threading.Lock()

    @classmethod
    def of_job(cls) -> Channel | None:
        """The inner end, for the job that runs here; None when nobody outside may reach it, and the second
        time. A serial line is taken as it is: no echo, no editing, every byte at once. Raises OSError."""
        name = os.environ.pop(CHANNEL_VARIABLE, "")
        if name.isdecimal():
            os.set_inheritable(int(name), False)
            return cls(int(name))
        if not name:
            return None
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        tty.setraw(descriptor, termios.TCSANOW)
        return cls(descriptor)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line, as a whole. Raises OSError when the other side is gone."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the other side writes, until it is gone."""
        for line in lines(self._descriptor):
            message = parse(line)
            if isinstance(message.get("id"), int):
                yield message

    def close(self) -> None:
        """Let go. Call it when nobody reads any more."""
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1


def lines(descriptor: int) -> Iterator[bytes]:
    """The lines that come in, without their ends, however they were cut up on the way."""
    parts: list[bytes] = []
    while True:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except OSError:  # a terminal or socket whose other end has gone
            return
        if not data:
            return
        first, *rest = data.split(b"\n")
        parts.append(first)
        for piece in rest:
            yield b"".join(parts)
            parts = [piece]


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object on a line, an empty one when there is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def answer_requests(channel: Channel, handler: Handler) -> None:
    """The inner side: answer requests until the outer side is gone, each in a thread of its own."""

    def answer(message: Mapping[str, Any]) -> None:
        with suppress(OSError):
            channel.send({"id": message["id"], "answer": handler(message["request"])})

    for message in channel.messages():
        if isinstance(message.get("request"), dict):
            threading.Thread(target=answer, args=(message,), name="request", daemon=True).start()


def failed(error: str, *, usage: bool = False) -> dict[str, Any]:
    """The answer to a request that cannot be carried out, or, with `usage`, that makes no sense."""
    return {"ok": False, "error": error, "usage": usage}


class Relay:
    """The outer side: a Unix socket that only this user may use. Each client writes request lines and reads
    answer lines, in the same order."""

    def __init__(self, path: Path, channel: Channel) -> None:
        """Listen at `path`. Raises OSError when that is not possible."""
        self._path = path
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: dict[int, Callable[[Mapping[str, Any]], None]] = {}
        self._next = 0
        self._gone = False
        self._threads = [
            threading.Thread(target=self._take_answers, name="relay-answers", daemon=True),
            threading.Thread(target=self._take_clients, name="relay-clients", daemon=True),
        ]
        self._listener = socket.socket(socket.AF_UNIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.fchmod(self._listener.fileno(), 0o600)
        with short_path(path) as name:
            self._listener.bind(name)
        self._listener.listen()

    def start(self) -> None:
        """Relay from now on, in threads of its own."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Take no more requests; those that wait hear that the lab has ended. Call it when it has."""
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end()
        for thread in self._threads:
            thread.join(_JOIN_S)
        if not any(thread.is_alive() for thread in self._threads):
            self._channel.close()

    def request(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have one request answered by the inner side, however long it takes."""
        answered = threading.Event()
        answers: list[Mapping[str, Any]] = []

        def take(answer: Mapping[str, Any]) -> None:
            answers.append(answer)
            answered.set()

        with self._lock:
            if self._gone:
                return failed("the lab has ended")
            self._next += 1
            number = self._next
            self._waiting[number] = take
        try:
            self._channel.send({"id": number, "request": request})
        except OSError:
            self._end()
        answered.wait()
        return answers[0]

    def _take_answers(self) -> None:
        for message in self._channel.messages():
            with self._lock:
                take = self._waiting.pop(message["id"], None)
            answer = message.get("answer")
            if take is not None:
                take(answer if isinstance(answer, dict) else failed("the lab gave no answer"))
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._gone = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for take in waiting:
            take(failed("the lab has ended"))

    def _take_clients(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), name="relay-client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            for line in lines(client.fileno()):
                request = parse(line)
                answer = (
                    self.request(request) if request else failed("a request is a JSON object", usage=True)
                )
                client.sendall(json.dumps(answer).encode() + b"\n")


@contextmanager
def relayed(path: Path | None) -> Iterator[socket.socket | None]:
    """Relay from `path` while the block runs; gives the inner end for the lab's process, which the caller
    closes once that process has it. Nothing happens when `path` is None."""
    if path is None:
        yield None
        return
    outer, inner = socket.socketpair()
    relay = Relay(path, Channel(outer.detach()))
    relay.start()
    with inner:
        try:
            yield inner
        finally:
            inner.close()
            relay.close()


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request to a Unix socket and wait for its answer. Raises OSError when nobody listens there,
    and ConnectionError when the answer does not come."""
    with socket.socket(socket.AF_UNIX) as connection:
        with short_path(path) as name:
            connection.connect(name)
        connection.sendall(json.dumps(request).encode() + b"\n")
        for line in lines(connection.fileno()):
            answer = parse(line)
            if answer:
                return answer
    raise ConnectionError(f"no answer on {path}")


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path in a form that fits a Unix socket's 107 bytes, wherever the folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
