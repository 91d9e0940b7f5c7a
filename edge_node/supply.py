"""Seeing to it that what a URL names is here before it is served: joining sessions, fetching content."""

from __future__ import annotations

from dataclasses import dataclass

from delivery.sessions import URL_PREFIXES
from edge_node.blobs import StoreError
from edge_node.fetcher import Fetcher
from edge_node.multicast import MulticastError
from edge_node.origin_client import OriginError
from edge_node.store import Store
from edge_node.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class Supplied:
    """What came of it: `problem` in one line, "" for none; whether anything `was_fetched` for it."""

    problem: str = ""
    was_fetched: bool = False


_AS_IT_IS = Supplied()
_FETCHED = Supplied(was_fetched=True)


class Supply:
    """`own` is the prefix of the edge's own local content, which needs no joining."""

    def __init__(self, store: Store, subscriptions: Subscriptions, fetcher: Fetcher, own: str = "") -> None:
        self._store, self._subscriptions, self._fetcher, self._own = store, subscriptions, fetcher, own

    async def provide(self, url_path: str, now_unix_s: int) -> Supplied:
        """Bring what a raw URL path names at `now_unix_s`, if it is anything."""
        try:
            if url_path.startswith(URL_PREFIXES):
                session = self._subscriptions.find(url_path)
                if session is not None and session.prefix != self._own:
                    await self._subscriptions.ensure(session)
            found = self._store.resolve(url_path, now_unix_s)
            if found is None or found.is_here:
                return _AS_IT_IS
            await self._fetcher.fetch(found.prefix, found.entry)
        except (OriginError, StoreError, MulticastError) as error:
            return Supplied(str(error))
        return _FETCHED
