"""Upstream fetches under way, and who waits for each (collapsed forwarding, RFC 9111 section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from edge_node.http.cache.actions import ResponseHead
from edge_node.http.cache.status import Forwarded
from edge_node.http.cache.stored import StoredResponse
from edge_node.http.cache.variants import Selecting
from edge_node.http.messages import Request

SharedKey: TypeAlias = tuple[str, str, str, Selecting]
"""Requests with one key may have one fetch: URL, Range, If-Range, and what will select the response."""


class Kind(Enum):
    """What a fetch is for."""

    FILL = "a response that is not here"
    VALIDATE = "whether the stored one is current"
    RESUME = "what is missing at the end of the stored one"
    HEAD = "the fields only"
    PASS = "a request that is none of a cache's business"


@dataclass(slots=True)
class Flight:
    """One upstream fetch for `request`, of the client `leader` (None: for nobody) and those who joined.

    `stored` is what it validates, resumes or may be replaced by when it fails. Once the head of the
    `response` is here, `draft` is what is to be stored of it, if anything, without the content, which begins
    at byte `start`; `relaying` are the clients that get it as it comes. `is_overtaken` says that an unsafe
    request has made it useless for others.
    """

    number: int
    kind: Kind
    key: str
    request: Request
    why: Forwarded
    requested_s: float
    leader: int | None
    stored: StoredResponse | None = None
    shared: SharedKey | None = None
    waiting: dict[int, Request] = field(default_factory=dict)
    relaying: set[int] = field(default_factory=set)
    draft: StoredResponse | None = None
    start: int = 0
    response: ResponseHead | None = None
    is_overtaken: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it, or it is to be stored."""
        return bool(self.waiting or self.relaying) or self.draft is not None


class Flights:
    """All fetches under way."""

    def __init__(self) -> None:
        self._flights: dict[int, Flight] = {}
        self._shared: dict[SharedKey, int] = {}
        self._of_client: dict[int, int] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._flights)

    def next_number(self) -> int:
        """A number for a new fetch."""
        self._last += 1
        return self._last

    def add(self, flight: Flight) -> None:
        """A fetch begins; its leader, if any, waits for it."""
        self._flights[flight.number] = flight
        if flight.shared is not None:
            self._shared[flight.shared] = flight.number
        if flight.leader is not None:
            self.join(flight, flight.leader, flight.request)

    def join(self, flight: Flight, client: int, request: Request) -> None:
        """The client waits for the head of a fetch."""
        flight.waiting[client] = request
        self._of_client[client] = flight.number

    def relay(self, flight: Flight, client: int) -> None:
        """The client gets the content of a fetch as it comes."""
        flight.waiting.pop(client, None)
        flight.relaying.add(client)
        self._of_client[client] = flight.number

    def answered(self, flight: Flight, client: int) -> None:
        """The client waits for nothing more from a fetch."""
        flight.waiting.pop(client, None)
        self._of_client.pop(client, None)

    def get(self, number: int) -> Flight | None:
        """The fetch with this number, None when it has ended."""
        return self._flights.get(number)

    def to_join(self, shared: SharedKey) -> Flight | None:
        """The fetch under way that serves a key."""
        number = self._shared.get(shared)
        return None if number is None else self._flights[number]

    def of_client(self, client: int) -> Flight | None:
        """The fetch a client waits for."""
        number = self._of_client.get(client)
        return None if number is None else self._flights.get(number)

    def of_url(self, key: str) -> Iterator[Flight]:
        """All fetches of a URL."""
        return (flight for flight in self._flights.values() if flight.key == key)

    def close_to_others(self, flight: Flight) -> None:
        """Nobody can join any more."""
        if flight.shared is not None and self._shared.get(flight.shared) == flight.number:
            del self._shared[flight.shared]
        flight.shared = None

    def remove(self, flight: Flight) -> None:
        """A fetch has ended."""
        self.close_to_others(flight)
        self._flights.pop(flight.number, None)
        for client in (*flight.waiting, *flight.relaying):
            self._of_client.pop(client, None)
