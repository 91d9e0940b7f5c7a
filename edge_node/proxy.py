"""The reverse proxy: carries out what the cache machine decides, with the upstream, the store and clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial

from delivery.asgi import Receive, Send
from edge_node.blobs import StoreError
from edge_node.contents import SMALL_BYTES, BlobGoneError, Contents
from edge_node.exchange import ClientExchange, SendInterim
from edge_node.http.cache.actions import Action, Answer, Body, Drop, Fetch, Keep, Relay, Release
from edge_node.http.cache.machine import CacheMachine
from edge_node.http.cache.policy import Policy
from edge_node.http.fields import combined
from edge_node.http.messages import Fields, Request
from edge_node.sending import dated, send_chunks, start
from edge_node.spool import BrokenOffError, Reader, Spool
from edge_node.upstream import Exchange, Upstream, UpstreamError
from edge_node.writer import NewBlob, Writer

_TRIES = 3
"""How often a request is asked again because a blob has just been evicted."""


class Proxy:
    """Passes requests on to `upstream` as the cache called `policy.name`; content is kept in the store."""

    def __init__(self, policy: Policy, upstream: Upstream, writer: Writer, contents: Contents) -> None:
        self.cache = CacheMachine(policy)
        self._policy, self._upstream, self._writer, self._contents = policy, upstream, writer, contents
        self._store = writer.store
        self._clients: dict[int, ClientExchange] = {}
        self._spools: dict[int, Spool] = {}
        self._transfers: dict[int, asyncio.Task[None]] = {}
        self._lengths: dict[int, int] = {}
        self._last = 0

    async def answer(
        self, request: Request, receive: Receive, send: Send, send_interim: SendInterim | None = None
    ) -> None:
        """Answer one request; interim responses go to it by `send_interim`, if there is a way."""
        self._last += 1
        client, exchange = self._last, ClientExchange(request, receive, send_interim)
        self._clients[client] = exchange
        work = asyncio.create_task(self._work(client, exchange, send))
        gone = asyncio.create_task(exchange.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            del self._clients[client]
            self._carry_out(self.cache.gone(client))

    async def close(self) -> None:
        """Give up what is under way."""
        transfers = list(self._transfers.values())
        for task in transfers:
            task.cancel()
        await asyncio.gather(*transfers, return_exceptions=True)
        self._upstream.close()

    async def _work(self, client: int, exchange: ClientExchange, send: Send) -> None:
        for left in reversed(range(_TRIES)):
            self._carry_out(self.cache.ask(client, exchange.request, time.time()))
            action, reader = await exchange.decision
            try:
                if isinstance(action, Answer):
                    await self._send_answer(action, exchange, send)
                else:
                    await self._relay(action, reader, exchange, send)
                return
            except BlobGoneError as error:
                self._carry_out(self.cache.lost(error.sha256))
                self._carry_out(self.cache.gone(client))
                if not left:
                    raise
                exchange.again()
            except BrokenOffError:
                return  # without its end, so that the connection is broken (RFC 9112 section 8)
            finally:
                if reader is not None:
                    reader.close()

    async def _send_answer(self, action: Answer, exchange: ClientExchange, send: Send) -> None:
        plan = action.plan
        content = self._contents.open(plan.content)
        head = start(plan.status, dated(plan.fields), close=plan.close or exchange.has_unread_content)
        if isinstance(content, bytes):
            await send(head)
            await send({"type": "http.response.body", "body": content})
            return
        with content:
            await send(head)
            await send_chunks(content, send)
            await send({"type": "http.response.body", "body": b""})

    async def _relay(
        self, action: Relay, reader: Reader | None, exchange: ClientExchange, send: Send
    ) -> None:
        before = self._contents.open(action.before)
        fields: Fields = dated(action.fields)
        await send(start(action.status, fields, close=exchange.has_unread_content))
        if isinstance(before, bytes):
            await send({"type": "http.response.body", "body": before, "more_body": True})
        else:
            with before:
                await send_chunks(before, send)
        if reader is not None:
            async for chunk in reader.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _carry_out(self, actions: Iterable[Action]) -> None:
        refused: list[int] = []
        for action in actions:
            match action:
                case Answer(client):
                    if client in self._clients:
                        self._clients[client].decide(action, None)
                case Relay(client, fetch):
                    if client in self._clients:
                        self._clients[client].decide(action, self._spools[fetch].reader())
                case Fetch():
                    self._spools[action.fetch] = Spool()
                    self._transfers[action.fetch] = asyncio.create_task(self._transfer(action))
                case Keep(fetch):
                    if not self._spools[fetch].keep(self._store.blobs, self._lengths.get(fetch, 0)):
                        refused.append(fetch)
                case Drop(fetch):
                    if fetch in self._transfers:
                        self._transfers[fetch].cancel()
                case Release(sha256):
                    self._store.release(sha256)
                case _:
                    pass  # who waits is waiting, and who is to be cut off reads the end of a broken spool
        for fetch in refused:  # now that all who wait for it read it
            self._carry_out(self.cache.not_kept(fetch))

    async def _transfer(self, fetch: Fetch) -> None:
        """One upstream fetch from beginning to end."""
        number, spool = fetch.fetch, self._spools[fetch.fetch]
        exchange: Exchange | None = None
        try:
            try:
                exchange = await self._upstream.ask(
                    fetch, self._content_for(fetch), partial(self._interim, fetch.asker)
                )
                self._lengths[number] = _length(exchange.head.fields)
                self._carry_out(self.cache.head(number, exchange.head, time.time()))
                was_kept = spool.is_kept
                async for chunk in exchange.chunks():
                    if spool.size + len(chunk) > self._policy.max_response_bytes:
                        spool.stop_keeping()
                    await spool.put(chunk)
                    if was_kept and not spool.is_kept:
                        was_kept = False
                        self._carry_out(self.cache.not_kept(number))
            except UpstreamError as error:
                spool.end(broken=True)
                body = await self._store_body(spool)
                failed = self.cache.failed(
                    number, time.time(), str(error), timed_out=error.timed_out, body=body
                )
                self._carry_out(failed)
                return
            spool.end()
            self._upstream.done(exchange)
            exchange = None
            body = await self._store_body(spool)
            self._carry_out(self.cache.end(number, body, time.time()))
        finally:
            if exchange is not None:
                exchange.close()
            spool.end(broken=not spool.is_whole)
            spool.close()
            del self._spools[number], self._transfers[number]
            self._lengths.pop(number, None)

    def _interim(self, asker: int | None, status: int, fields: Fields) -> None:
        if asker is not None and asker in self._clients:
            self._clients[asker].interim(status, fields)

    def _content_for(self, fetch: Fetch) -> AsyncIterator[bytes] | None:
        if fetch.client is None or fetch.client not in self._clients:
            return None
        return self._clients[fetch.client].content()

    async def _store_body(self, spool: Spool) -> Body | None:
        """Make what was kept a blob; None when there is nothing, or no room."""
        staging = spool.hand_over()
        if staging is None:
            return None
        size, sha256 = staging.size, staging.sha256
        if not size:
            staging.abandon()
            return Body("", 0)
        small = staging.path.read_bytes() if size <= SMALL_BYTES else None
        self._store.adopt(sha256)
        stored = self._writer.submit(NewBlob(sha256, staging))
        if small is not None:
            # Whoever asks next need not wait for the disk.
            self._contents.remember(sha256, small)
            stored.add_done_callback(lambda future: self._stored(future, sha256))
            return Body(sha256, size)
        try:
            await stored
        except StoreError:
            self._store.release(sha256)
            return None
        return Body(sha256, size)

    def _stored(self, future: asyncio.Future[None], sha256: str) -> None:
        """A blob that is served from memory is on disk now, or never will be."""
        if future.cancelled() or future.exception() is not None:
            self._store.release(sha256)
            self._carry_out(self.cache.lost(sha256))


def _length(fields: Fields) -> int:
    """The length that a response says it has, 0 when it says none."""
    said = combined(fields, "content-length") or ""
    return int(said) if said.isdecimal() and len(said) < 19 else 0
