"""The machine of one user and all visitors on it: real connections, in one event loop, timed by its clock."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.hosts import read_hosts
from experiments.http_client import Answer, Server, ShortAnswerError, reason, receive, receive_head
from experiments.visitors import (
    Kind,
    Party,
    arrivals,
    half_head,
    party_from_json,
    request_head,
    ticks,
)
from topologies.namespaces import NetworkNamespace

TIMEOUT_S = 30.0
TRIES = 3
"""So often the crowd comes again before it gives up."""
AGAIN_S = 1.0
"""Who is told to come again does so within this time after what it was told, not all at once."""
REOPEN_S = 5.0
"""A loris that was closed comes again after so long."""
_PACED_BUFFER_BYTES = 8 << 10
"""A slow line holds little; what is under way to it would otherwise be read long after it was sent."""
_HELD_BUFFER_BYTES = 4 << 10
_LOOK_S = 1.0
"""How often who reads nothing looks whether it is still connected."""


@dataclass
class Machine:
    """What all visitors of a user share. Times of parties count from `zero_s`, those of rows from `origin_s`
    (monotonic)."""

    user: str
    namespace: NetworkNamespace
    server: Server
    seed: int
    zero_s: float
    origin_s: float
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    async def until(self, time_s: float) -> None:
        """Sleep until a time of a party."""
        await asyncio.sleep(max(0.0, self.zero_s + time_s - time.monotonic()))

    @property
    def now_s(self) -> float:
        """The time of the parties."""
        return time.monotonic() - self.zero_s

    def socket(self, buffer_bytes: int | None) -> socket.socket:
        """A socket of this user's."""
        with self.namespace.entered():
            made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if buffer_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        return made

    def note(
        self, kind: Kind, place: tuple[int, int, int], answer: Answer, *, is_reused: bool = False
    ) -> None:
        """A row of visits.csv; `place` is visitor, request and attempt."""
        times = (answer.started_s - self.origin_s, answer.connect_s, answer.ttfb_s, answer.total_s)
        self.rows.append(
            (
                *(kind, self.user, *place, int(is_reused), *(f"{value:.6f}" for value in times)),
                *(answer.bytes, answer.status),
                "" if answer.retry_after_s is None else answer.retry_after_s,
                *(answer.edge, answer.error),
            )
        )


class Visitor:
    """One of a party, with at most one connection at a time."""

    def __init__(self, machine: Machine, party: Party, number: int, arrival_s: float) -> None:
        self._machine, self._party, self._number, self._arrival_s = machine, party, number, arrival_s
        self._connection: socket.socket | None = None

    async def visit(self) -> None:
        """Do what this kind of visitor does, from its arrival until it is time to go."""
        await self._machine.until(self._arrival_s)
        match self._party.kind:
            case Kind.REGULAR | Kind.NEWCOMER:
                await self._ask_again_and_again()
            case Kind.CROWD:
                await self._come_again()
            case Kind.LORIS:
                await self._linger()
            case Kind.READER:
                await self._hold()
        self._close()

    async def _ask_again_and_again(self) -> None:
        """While an answer is late nothing else is asked for."""
        party = self._party
        for request, time_s in enumerate(ticks(self._arrival_s, party.every_s, party.until_s)):
            if self._machine.now_s > time_s + party.every_s:
                continue
            await self._machine.until(time_s)
            # A connection may be closed at any time between requests: then it is asked once more on a new
            # one (RFC 9112 section 9.3.1).
            for attempt in (1, 2):
                is_reused = self._connection is not None
                answer = await self._ask((self._number, request, attempt))
                if not (answer.error and is_reused and not answer.bytes):
                    break

    async def _come_again(self) -> None:
        chance = random.Random(f"again {self._machine.seed} {self._machine.user} {self._number}")
        for attempt in range(1, TRIES + 1):
            answer = await self._ask((self._number, 0, attempt), buffer_bytes=_PACED_BUFFER_BYTES)
            if answer.status != 503 or answer.retry_after_s is None:
                return
            await asyncio.sleep(answer.retry_after_s + chance.uniform(0, AGAIN_S))

    async def _ask(self, place: tuple[int, int, int], buffer_bytes: int | None = None) -> Answer:
        """One attempt at a request, on the connection that there is or a new one."""
        party, is_reused = self._party, self._connection is not None
        answer = Answer(started_s=time.monotonic())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = await self._connected(answer, buffer_bytes)
                await self._exchange(connection, answer)
        except (OSError, ShortAnswerError) as error:
            answer.error = reason(error)
        answer.total_s = time.monotonic() - answer.started_s
        if answer.error or answer.is_last or party.kind is not Kind.REGULAR:
            self._close()
        self._machine.note(party.kind, place, answer, is_reused=is_reused)
        return answer

    async def _exchange(self, connection: socket.socket, answer: Answer) -> None:
        loop, party = asyncio.get_running_loop(), self._party
        head = request_head(party, self._machine.server.name, is_last=party.kind is not Kind.REGULAR)
        await loop.sock_sendall(connection, head)
        found, content = await receive_head(loop, connection, answer)
        answer.bytes = len(content)
        began_s = time.monotonic()
        while answer.bytes < found.length:
            answer.bytes += len(await receive(loop, connection))
            if party.rate_mbps is not None:
                due_s = began_s + answer.bytes * 8e-6 / party.rate_mbps
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _linger(self) -> None:
        """The attack of a slow loris: heads that never end."""
        loop, party, request = asyncio.get_running_loop(), self._party, 0
        while self._machine.now_s < party.until_s:
            answer = Answer(started_s=time.monotonic())
            try:
                connection = await self._connected(answer, None)
                await loop.sock_sendall(connection, half_head(party, self._machine.server.name))
                await self._drip(connection, answer)
            except (OSError, ShortAnswerError) as error:
                answer.error = reason(error)
            answer.total_s = time.monotonic() - answer.started_s
            self._close()
            self._machine.note(party.kind, (self._number, request, 1), answer)
            request += 1
            if self._machine.now_s < party.until_s:
                await asyncio.sleep(REOPEN_S)

    async def _drip(self, connection: socket.socket, answer: Answer) -> None:
        """Send a byte now and then, until the server says or does something."""
        loop, party = asyncio.get_running_loop(), self._party
        while self._machine.now_s < party.until_s:
            left_s = max(0.0, min(party.every_s, party.until_s - self._machine.now_s))
            try:
                async with asyncio.timeout(left_s):
                    await receive_head(loop, connection, answer)
                return
            except TimeoutError:
                await loop.sock_sendall(connection, b"x")
        answer.error = "held"

    async def _hold(self) -> None:
        """Ask for a file and read nothing; look now and then whether the server has had enough."""
        loop, party = asyncio.get_running_loop(), self._party
        answer = Answer(started_s=time.monotonic(), error="held")
        try:
            connection = await self._connected(answer, _HELD_BUFFER_BYTES)
            await loop.sock_sendall(connection, request_head(party, self._machine.server.name, is_last=False))
            await receive_head(loop, connection, answer)
            while self._machine.now_s < party.until_s:
                await asyncio.sleep(_LOOK_S)
                failure = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failure:
                    raise OSError(failure, "the connection is no more")
        except (OSError, ShortAnswerError) as error:
            answer.error = reason(error)
        answer.total_s = time.monotonic() - answer.started_s
        self._machine.note(party.kind, (self._number, 0, 1), answer)

    async def _connected(self, answer: Answer, buffer_bytes: int | None) -> socket.socket:
        if self._connection is None:
            self._connection = self._machine.socket(buffer_bytes)
            server = self._machine.server
            loop = asyncio.get_running_loop()
            await loop.sock_connect(self._connection, (server.address, server.port))
            answer.connect_s = time.monotonic() - answer.started_s
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def _visit_all(machine: Machine, parties: Sequence[Party]) -> None:
    visitors = [
        Visitor(machine, party, number, arrival_s)
        for party in parties
        for number, arrival_s in enumerate(arrivals(party, machine.seed))
    ]
    await asyncio.gather(*(visitor.visit() for visitor in visitors))


def main(argv: Sequence[str]) -> int:
    """Have the visitors of a plan (JSON) come and go; their rows go to a file of their own."""
    parser = argparse.ArgumentParser(prog="python -m experiments.visiting")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    plan = json.loads(arguments.plan.read_text())
    ((user, namespace),) = read_hosts(plan["hosts"]).items()
    machine = Machine(
        user,
        namespace,
        Server(plan["address"], plan["port"], plan["name"]),
        plan["seed"],
        plan["zero_s"],
        plan["origin_s"],
    )
    asyncio.run(_visit_all(machine, [party_from_json(party) for party in plan["parties"]]))
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows(machine.rows)
    return 0
