"""Users' HTTP requests, each on a connection of its own, many in one process: starting curl a thousand
times would cost the guest more than the requests."""

from __future__ import annotations

import argparse
import asyncio
import csv
import errno
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.hosts import read_hosts
from experiments.windows import Get
from topologies.namespaces import NetworkNamespace

COLUMNS = (
    "window", "user", "path", "source", "started_s", "connect_s", "ttfb_s", "total_s", "bytes", "status",
    "edge", "error",
)  # fmt: skip
TIMEOUT_S = 20.0
SLOW_TIMEOUT_S = 120.0
"""For a client that reads slowly or not at all."""
_CHUNK_BYTES = 16 << 10
_HEAD_BYTES = 64 << 10
_CONTINUE = 100
_PACED_BUFFER_BYTES = 64 << 10
_HELD_BUFFER_BYTES = 4 << 10
"""A client that does not read leaves as much as it can with the server."""
_REASONS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "unreachable",
}


class ShortAnswerError(Exception):
    """The connection ended before the answer did."""


@dataclass(slots=True)
class Answer:
    """What came of a request; times in seconds since it began, `error` empty when all of it came."""

    started_s: float = 0.0
    source: str = ""
    connect_s: float = 0.0
    ttfb_s: float = 0.0
    total_s: float = 0.0
    bytes: int = 0
    status: int = 0
    edge: str = ""
    error: str = ""
    location: str = ""
    retry_after_s: int | None = None
    """When to come again, if the answer said so (RFC 9110 section 10.2.3)."""
    is_last: bool = False
    """Whether the server closes the connection after this answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the header fields that matter."""

    status: int
    length: int
    edge: str
    location: str = ""
    retry_after_s: int | None = None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked."""

    address: str
    port: int
    name: str


def parse_head(head: bytes) -> Head:
    """The head of an HTTP/1.1 answer without transfer coding.

    Raises ShortAnswerError when it makes no sense.
    """
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    words = lines[0].split()
    if words[1:2] == [str(_CONTINUE)]:
        return Head(_CONTINUE, 0, "")
    if len(words) < 2 or not words[1].isdigit() or not fields.get("content-length", "").isdigit():
        raise ShortAnswerError
    return Head(
        int(words[1]),
        int(fields["content-length"]),
        edge=fields.get("nearcast-edge", ""),
        location=fields.get("location", ""),
        retry_after_s=int(later) if (later := fields.get("retry-after", "")).isdigit() else None,
        is_last=fields.get("connection", "").lower() == "close",
    )


def reason(error: BaseException) -> str:
    """Why a request failed, in a word."""
    if isinstance(error, ShortAnswerError):
        return "short"
    if isinstance(error, TimeoutError):
        return "timeout"
    return _REASONS.get(getattr(error, "errno", 0) or 0, type(error).__name__)


async def fetch(
    get: Get,
    namespace: NetworkNamespace,
    server: Server,
    zero_s: float,
    content: bytearray | None = None,
) -> Answer:
    """Make one request at its time. Errors end up in the answer, what was got in `content`."""
    await asyncio.sleep(max(0.0, zero_s + get.at_s - time.monotonic()))
    answer = Answer(started_s=time.monotonic())
    with namespace.entered():
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    is_slow = get.rate_mbps is not None or get.hold_s is not None
    with connection:
        if is_slow:
            size = _PACED_BUFFER_BYTES if get.hold_s is None else _HELD_BUFFER_BYTES
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        try:
            async with asyncio.timeout(SLOW_TIMEOUT_S if is_slow else TIMEOUT_S):
                await _exchange(get, connection, server, answer, content)
        except (OSError, ShortAnswerError) as error:
            answer.error = reason(error)
    answer.total_s = time.monotonic() - answer.started_s
    return answer


async def _exchange(
    get: Get, connection: socket.socket, server: Server, answer: Answer, content: bytearray | None
) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (server.address, server.port))
    answer.connect_s = time.monotonic() - answer.started_s
    answer.source = connection.getsockname()[0]
    request = f"GET {get.path} HTTP/1.1\r\nHost: {server.name}\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, request.encode())
    head, body = await receive_head(loop, connection, answer)
    answer.bytes = len(body)
    if get.hold_s is not None:
        await asyncio.sleep(get.hold_s)
        answer.error = "held"
        return
    began_s = time.monotonic()
    if content is not None:
        content += body
    while answer.bytes < head.length:
        data = await receive(loop, connection)
        answer.bytes += len(data)
        if content is not None:
            content += data
        if get.rate_mbps is not None:
            due_s = began_s + answer.bytes * 8e-6 / get.rate_mbps
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def upload(namespace: NetworkNamespace, server: Server, path: str, content: bytes) -> Answer:
    """PUT `content`; the answer counts the bytes that were sent.

    As curl does with large content, it is not sent before the server has said that it wants it.
    """
    loop = asyncio.get_running_loop()
    answer = Answer(started_s=time.monotonic())
    request = f"PUT {path} HTTP/1.1\r\nHost: {server.name}\r\nContent-Length: {len(content)}\r\n"
    with namespace.entered():
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with connection:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await loop.sock_connect(connection, (server.address, server.port))
                answer.connect_s = time.monotonic() - answer.started_s
                answer.source = connection.getsockname()[0]
                fields = "Expect: 100-continue\r\nConnection: close\r\n\r\n"
                await loop.sock_sendall(connection, (request + fields).encode())
                head, rest = await receive_head(loop, connection, answer)
                if head.status == _CONTINUE:
                    await loop.sock_sendall(connection, content)
                    answer.bytes = len(content)
                    head, rest = await receive_head(loop, connection, answer, rest)
                while len(rest) < head.length:
                    rest += await receive(loop, connection)
        except (OSError, ShortAnswerError) as error:
            answer.error = reason(error)
    answer.total_s = time.monotonic() - answer.started_s
    return answer


async def receive_head(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, answer: Answer, data: bytes = b""
) -> tuple[Head, bytes]:
    """The next head, noted in the answer, and what came after it."""
    while b"\r\n\r\n" not in data:
        data += await receive(loop, connection)
        answer.ttfb_s = answer.ttfb_s or time.monotonic() - answer.started_s
        if len(data) > _HEAD_BYTES:
            raise ShortAnswerError
    head_bytes, _, rest = data.partition(b"\r\n\r\n")
    head = parse_head(head_bytes)
    answer.status, answer.edge, answer.location = head.status, head.edge, head.location
    answer.retry_after_s, answer.is_last = head.retry_after_s, head.is_last
    return head, rest


async def receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    """What comes next. Raises ShortAnswerError when nothing will."""
    data = await loop.sock_recv(connection, _CHUNK_BYTES)
    if not data:
        raise ShortAnswerError
    return data


def row(window: str, get: Get, answer: Answer, origin_s: float) -> tuple[Any, ...]:
    """A row of requests.csv; times count from `origin_s`."""
    times = (answer.started_s - origin_s, answer.connect_s, answer.ttfb_s, answer.total_s)
    return (
        *(window, get.user, get.path, answer.source, *(f"{value:.6f}" for value in times)),
        *(answer.bytes, answer.status, answer.edge, answer.error),
    )


async def _fetch_all(plan: dict[str, Any]) -> list[tuple[Any, ...]]:
    hosts = read_hosts(plan["hosts"])
    server = Server(plan["address"], plan["port"], plan["name"])
    gets = [Get(**entry) for entry in plan["gets"]]
    answers = await asyncio.gather(*(fetch(get, hosts[get.user], server, plan["begin_s"]) for get in gets))
    pairs = zip(gets, answers, strict=True)
    found = [row(plan["window"], get, answer, plan["origin_s"]) for get, answer in pairs]
    return sorted(found, key=lambda cells: (float(cells[4]), cells[1]))


def main(argv: Sequence[str]) -> int:
    """Make the requests of a plan (JSON) and append to the file of requests."""
    parser = argparse.ArgumentParser(prog="python -m experiments.http_client")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    found = asyncio.run(_fetch_all(json.loads(arguments.plan.read_text())))
    with arguments.out.open("a", newline="") as file:
        csv.writer(file).writerows(found)
    return 0
