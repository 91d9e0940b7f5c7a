"""Sessions an edge joins when a user asks for something of theirs, and leaves when nobody does any more.

Joining is fast by unicast (as DVB-MABR's fast channel change): the first answer comes from the session's API
while the group's tree is still being built; what follows comes by multicast.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from delivery.sessions import Session, find_session
from edge_node.journal import Journal
from edge_node.origin_client import OriginConnection, OriginError
from edge_node.receiver import Reception
from edge_node.store import Store

IDLE_S = 30.0
"""After so long without a request a session is left: some ten segments of a live channel."""
LISTENING_S = 60.0
"""How long a source goes on sending for an edge that does not say again that it listens."""
_SAY_AGAIN_S = LISTENING_S / 3
LOOK_S = 1.0
"""By unicast: how old what is known of a session may be, half the segment of a live channel."""


@dataclass
class _Subscription:
    session: Session
    reception: Reception
    ready: asyncio.Task[None]
    asked_at: float
    told_at: float
    looked_at: float
    looking: asyncio.Task[None] | None = None


class Subscriptions:
    """The sessions that are joined. `receive` makes the reception of one, not yet listening.

    `sessions` tells all that exist. With `by_unicast` nothing is joined: what is asked for is fetched from
    the session's API, as a cache would.
    """

    def __init__(
        self,
        edge: str,
        store: Store,
        journal: Journal,
        sessions: Callable[[], tuple[Session, ...]],
        receive: Callable[[Session], Reception],
        *,
        idle_s: float = IDLE_S,
        by_unicast: bool = False,
    ) -> None:
        self.joined = 0
        self.left = 0
        self._edge, self._store, self._journal = edge, store, journal
        self._sessions, self._receive, self._idle_s = sessions, receive, idle_s
        self._by_unicast = by_unicast
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, _Subscription] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, url_path: str) -> Session | None:
        """The session a URL's path lies in, None for the site of all edges."""
        return find_session(self._sessions(), url_path.lstrip("/"))

    def url_of(self, prefix: str) -> str:
        """The unicast API of the session with this prefix. Raises OriginError when there is none any more."""
        for session in self._sessions():
            if session.prefix == prefix:
                return session.url
        raise OriginError(f"there is no session {prefix} any more")

    def receptions(self) -> tuple[Reception, ...]:
        """Those of the sessions that are joined now."""
        return tuple(subscription.reception for subscription in self._held.values())

    async def ensure(self, session: Session) -> None:
        """Return once the session is joined and its manifest is here (by unicast: not older than `LOOK_S`).

        Raises OriginError, StoreError, MulticastError.
        """
        held = self._held.get(session.prefix)
        if held is None:
            held = self._subscribe(session)
        held.asked_at = self._loop.time()
        await asyncio.shield(held.ready)
        if self._by_unicast:
            await self._look(held)

    async def close(self) -> None:
        """Leave everything."""
        if self._timer is not None:
            self._timer.cancel()
        for prefix in list(self._held):
            await self._leave(prefix, tell=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _subscribe(self, session: Session) -> _Subscription:
        reception = self._receive(session)
        now = self._loop.time()
        ready = self._loop.create_task(self._join(session, reception))
        held = self._held[session.prefix] = _Subscription(session, reception, ready, now, now, now)
        ready.add_done_callback(lambda task: self._joined(session.prefix, task))
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s / 4, self._review)
        return held

    async def _join(self, session: Session, reception: Reception) -> None:
        if not self._by_unicast:
            reception.listen()
            # At once: a version that is published between the two is asked for with the next.
            await asyncio.gather(self._tell(session, listening=True), reception.catch_manifest())
        else:
            await reception.catch_manifest()
        if self._store.site(session.prefix).manifest is None:
            raise OriginError(f"nothing has been published in {session.prefix} yet")
        if not self._by_unicast:
            reception.tell_machine()
        self.joined += 1
        self._journal.write("joined", session=session.name)

    async def _look(self, held: _Subscription) -> None:
        """Ask for the newest manifest, once for all who wait, unless that was done just now."""
        if held.looking is None and self._loop.time() - held.looked_at >= LOOK_S:
            held.looking = self._loop.create_task(self._refresh(held))
        if held.looking is not None:
            await asyncio.shield(held.looking)

    async def _refresh(self, held: _Subscription) -> None:
        try:
            if await held.reception.catch_manifest():
                await self._loop.run_in_executor(None, self._store.settle)
            held.looked_at = self._loop.time()
        finally:
            held.looking = None

    def _joined(self, prefix: str, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._spawn(self._leave(prefix))

    def _review(self) -> None:
        """Leave what nobody has asked for, and say of the rest that it is still listened to."""
        now = self._loop.time()
        self._timer = None
        known = {session.prefix for session in self._sessions()}
        for prefix, held in list(self._held.items()):
            if held.ready.done() and (now - held.asked_at >= self._idle_s or prefix not in known):
                self._spawn(self._leave(prefix))
            elif not self._by_unicast and now - held.told_at >= _SAY_AGAIN_S:
                held.told_at = now
                self._spawn(self._remind(held.session))
        if self._held:
            self._timer = self._loop.call_later(min(self._idle_s, _SAY_AGAIN_S) / 4, self._review)

    async def _leave(self, prefix: str, *, tell: bool = True) -> None:
        held = self._held.pop(prefix, None)
        if held is None:
            return
        await held.reception.close()
        held.ready.cancel()
        if held.looking is not None:
            held.looking.cancel()
        await self._loop.run_in_executor(None, self._store.drop_site, prefix)
        self.left += 1
        self._journal.write("left", session=held.session.name)
        if tell and not self._by_unicast:
            await self._remind(held.session, listening=False)

    async def _remind(self, session: Session, *, listening: bool = True) -> None:
        try:
            await self._tell(session, listening=listening)
        except OriginError as error:
            self._journal.problem(str(error))

    async def _tell(self, session: Session, *, listening: bool) -> None:
        """Tell the source that somebody listens, or does not any more: without listeners it sends nothing."""
        body = json.dumps({"edge": self._edge, "listening_s": LISTENING_S if listening else 0}).encode()
        async with OriginConnection(session.url) as source:
            answer = await source.post("/listeners", body, "application/json")
        if answer.status >= 300:
            raise OriginError(f"{session.url} answered {answer.status} to a listener")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
