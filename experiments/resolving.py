"""Users who resolve the service's name by real queries, keep the answer as long as its TTL says, and fetch
from what they were told: many users in one process, as in `experiments.http_client`."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import http_client
from experiments.hosts import read_hosts
from experiments.http_client import Answer, Server, fetch
from experiments.windows import Get
from topologies.namespaces import NetworkNamespace

COLUMNS = ("window", "user", "asked_s", "took_s", "address", "ttl_s", "records", "is_authoritative")
DNS_PORT = 53
TIMEOUT_S = 2.0
ATTEMPTS = 3
"""As the lab's resolv.conf has it for curl."""
_ANSWER_BYTES = 4096


class NoAddressError(OSError):
    """The name server has said nothing that a user could connect to."""


@dataclass
class StubResolver:
    """A user's resolver: it asks the name server, and again when the TTL of the answer is over.

    `rows` are those of resolutions.csv, times on the monotonic clock.
    """

    user: str
    namespace: NetworkNamespace
    server: str
    name: str
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    _address: str = ""
    _until_s: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def resolve(self) -> str:
        """The address of the name. Raises OSError, TimeoutError among them."""
        async with self._lock:
            if time.monotonic() >= self._until_s:
                await self._ask()
        return self._address

    async def _ask(self) -> None:
        from dnslib import QTYPE, DNSRecord

        query = DNSRecord.question(self.name, "AAAA")
        asked_s = time.monotonic()
        reply = DNSRecord.parse(await self._exchange(query.pack()))
        came_s = time.monotonic()
        found = [record for record in reply.rr if record.rtype == QTYPE.AAAA]
        if reply.header.id != query.header.id or not found:
            raise NoAddressError(f"{self.name} has no address")
        self._address, ttl_s = str(found[0].rdata), found[0].ttl
        self._until_s = came_s + ttl_s
        self.rows.append(
            (self.user, asked_s, came_s - asked_s, self._address, ttl_s, len(found), int(reply.header.aa))
        )

    async def _exchange(self, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with self.namespace.entered():
            connection = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with connection:
            connection.connect((self.server, DNS_PORT))
            for _ in range(ATTEMPTS):
                await loop.sock_sendall(connection, query)
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        return await loop.sock_recv(connection, _ANSWER_BYTES)
                except TimeoutError:
                    continue
        raise TimeoutError


async def _visit(get: Get, resolver: StubResolver, plan: dict[str, Any]) -> Answer:
    await asyncio.sleep(max(0.0, plan["begin_s"] + get.at_s - time.monotonic()))
    began_s = time.monotonic()
    try:
        address = await resolver.resolve()
    except OSError as error:
        took_s, why = time.monotonic() - began_s, f"dns-{http_client.reason(error)}"
        return Answer(started_s=began_s, total_s=took_s, error=why)
    server = Server(address, plan["port"], plan["name"])
    return await fetch(get, resolver.namespace, server, plan["begin_s"])


async def _visit_all(plan: dict[str, Any]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    window, origin_s = plan["window"], plan["origin_s"]
    hosts = read_hosts(plan["hosts"])
    resolvers = {user: StubResolver(user, host, plan["dns"], plan["name"]) for user, host in hosts.items()}
    gets = [Get(**entry) for entry in plan["gets"]]
    answers = await asyncio.gather(*(_visit(get, resolvers[get.user], plan) for get in gets))
    rows = [http_client.row(window, get, answer, origin_s) for get, answer in zip(gets, answers, strict=True)]
    resolutions = [
        (window, user, f"{asked_s - origin_s:.6f}", f"{took_s:.6f}", *told)
        for resolver in resolvers.values()
        for user, asked_s, took_s, *told in resolver.rows
    ]
    return sorted(rows, key=lambda cells: (float(cells[4]), cells[1])), resolutions


def main(argv: Sequence[str]) -> int:
    """Make the visits of a plan (JSON), and append to the files of requests and resolutions."""
    parser = argparse.ArgumentParser(prog="python -m experiments.resolving")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resolutions", type=Path, required=True)
    arguments = parser.parse_args(argv)
    found = asyncio.run(_visit_all(json.loads(arguments.plan.read_text())))
    for path, rows in zip((arguments.out, arguments.resolutions), found, strict=True):
        with path.open("a", newline="") as file:
            csv.writer(file).writerows(rows)
    return 0
