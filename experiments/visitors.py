"""Visitors of an edge: who comes when and wants what, those who mean harm included, as plain data (pure)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

COLUMNS = (
    "kind", "user", "visitor", "request", "attempt", "is_reused", "started_s", "connect_s", "ttfb_s",
    "total_s", "bytes", "status", "retry_after_s", "edge", "error",
)  # fmt: skip


class Kind(StrEnum):
    """What a visitor does."""

    REGULAR = "regular"
    """Asks again and again on one connection, as a browser does (RFC 9112 section 9.3)."""
    NEWCOMER = "newcomer"
    """Each of its requests is the first of somebody who has just come: a connection of its own."""
    CROWD = "crowd"
    """Downloads one file at the rate of its own line; told to come again (503), it does."""
    LORIS = "loris"
    """Sends the beginning of a head and then a byte now and then; once closed, it comes again."""
    READER = "reader"
    """Asks for a file and reads nothing of it."""


ATTACKS = (Kind.CROWD, Kind.LORIS, Kind.READER)


@dataclass(frozen=True, slots=True)
class Party:
    """`count` visitors of one kind on the machine of `user`, who arrive within `spread_s` from `at_s` on and
    stay until `until_s`.

    `every_s` is the time between two requests of a visitor, or two bytes of a loris. They ask for `path`, or
    for its first `part_bytes`; `rate_mbps` is how fast each can read (None: as fast as it comes).
    """

    kind: Kind
    user: str
    count: int
    at_s: float
    until_s: float
    spread_s: float = 0.0
    every_s: float = 1.0
    path: str = "/"
    part_bytes: int | None = None
    rate_mbps: float | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One attempt at a request, or one connection of a loris; times as in `Transfer`.

    `visitor` and `request` count within the party's kind and user. `is_reused`: on a connection that had
    been used before. `error` is why it failed, `held` when the visitor itself gave up.
    """

    kind: str
    user: str
    visitor: int
    request: int
    attempt: int
    is_reused: bool
    started_s: float
    connect_s: float
    ttfb_s: float
    total_s: float
    bytes: int
    status: int
    retry_after_s: float | None
    edge: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether the visitor got the whole answer it asked for."""
        return not self.error and 200 <= self.status < 300

    @property
    def ended_s(self) -> float:
        """When it ended, in seconds since the scenario began."""
        return self.started_s + self.total_s


def party_to_json(party: Party) -> dict[str, Any]:
    """Plain data, see `party_from_json`."""
    return asdict(party) | {"kind": str(party.kind)}


def party_from_json(data: Mapping[str, Any]) -> Party:
    """The inverse of `party_to_json`."""
    return Party(**{**data, "kind": Kind(data["kind"])})


def arrivals(party: Party, seed: int) -> tuple[float, ...]:
    """When each visitor arrives, in order: at random within `spread_s`, fixed by the seed."""
    chance = random.Random(f"arrivals {seed} {party.kind} {party.user} {party.at_s:g}")
    return tuple(sorted(round(party.at_s + chance.uniform(0, party.spread_s), 6) for _ in range(party.count)))


def ticks(first_s: float, every_s: float, until_s: float) -> Iterator[float]:
    """The times at which a visitor that arrived at `first_s` wants something, before `until_s`."""
    number = 0
    while (time_s := first_s + number * every_s) < until_s:
        yield time_s
        number += 1


def request_head(party: Party, host: str, *, is_last: bool) -> bytes:
    """The head of a visitor's request; with `is_last` the connection is to be closed after the answer."""
    lines = [f"GET {party.path} HTTP/1.1", f"Host: {host}"]
    if party.part_bytes is not None:
        lines.append(f"Range: bytes=0-{party.part_bytes - 1}")
    if is_last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def half_head(party: Party, host: str) -> bytes:
    """What a loris begins with: a head in order, but for its end."""
    return f"GET {party.path} HTTP/1.1\r\nHost: {host}\r\nX-Wait: ".encode()
