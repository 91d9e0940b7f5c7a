"""A proxy's cache as a machine without I/O: requests, responses and the time in, actions out (RFC 9111)."""

from __future__ import annotations

from edge_node.http.cache.actions import Action, Body, ResponseHead
from edge_node.http.cache.asking import Asking
from edge_node.http.cache.flights import Flights
from edge_node.http.cache.hearing import Hearing
from edge_node.http.cache.index import CacheIndex
from edge_node.http.cache.policy import Policy
from edge_node.http.messages import Request


class CacheMachine:
    """Each client has a number of its own for each request, and gets exactly one of Answer and Relay (after
    which Abort may come), unless it is `gone` before. Content never passes through here: the caller keeps it
    as blobs when told so by Keep, and gives them up when told so by Release.

    Times are seconds since the epoch.
    """

    def __init__(self, policy: Policy) -> None:
        self._index = CacheIndex(policy)
        self._flights = Flights()
        self._asking = Asking(policy, self._index, self._flights)
        self._hearing = Hearing(policy, self._index, self._flights, self._asking)

    @property
    def responses(self) -> int:
        """How many responses are stored."""
        return self._index.responses

    @property
    def bytes(self) -> int:
        """How much content they have."""
        return self._index.bytes

    @property
    def fetches(self) -> int:
        """How many upstream fetches are under way."""
        return len(self._flights)

    def ask(self, client: int, request: Request, now_s: float) -> list[Action]:
        """A client asks."""
        return self._asking.ask(client, request, now_s)

    def gone(self, client: int) -> list[Action]:
        """A client has all of its answer, or has gone away."""
        return self._hearing.gone(client)

    def head(self, fetch: int, head: ResponseHead, now_s: float) -> list[Action]:
        """The head of the final response to a fetch has come. Interim ones (1xx) are not for here."""
        return self._hearing.head(fetch, head, now_s)

    def end(self, fetch: int, body: Body | None, now_s: float) -> list[Action]:
        """The response is here to its end; `body` is its content where that was kept, as a blob that can be
        served from now on."""
        return self._hearing.end(fetch, body, now_s)

    def failed(
        self, fetch: int, now_s: float, text: str, *, timed_out: bool = False, body: Body | None = None
    ) -> list[Action]:
        """A fetch came to nothing, or broke off: `text` says why in a line; `body` is what came of content
        that was kept."""
        return self._hearing.failed(fetch, now_s, text, timed_out=timed_out, body=body)

    def not_kept(self, fetch: int) -> list[Action]:
        """The content of a fetch cannot be kept after all, so that nobody else can get it."""
        return self._hearing.not_kept(fetch)

    def lost(self, sha256: str) -> list[Action]:
        """A blob is not there any more, and so no response with content in it."""
        return self._hearing.lost(sha256)
