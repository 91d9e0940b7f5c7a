"""The edge's web server: an ASGI shell that carries out what `edge_node.http` decides."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from delivery.asgi import Receive, Scope, Send
from delivery.sessions import LOCAL, URL_PREFIXES
from edge_node.about import About, channels_of, is_asked, tell
from edge_node.contents import QUICK_BYTES, BlobGoneError, Contents
from edge_node.gate import RETRY_AFTER_S
from edge_node.health import Load
from edge_node.http.hygiene import check_request
from edge_node.http.messages import Representation, Request, request_from
from edge_node.http.respond import Responder
from edge_node.local import LocalContent, Outcome
from edge_node.quick import Ready
from edge_node.sending import send_whole, stream
from edge_node.sites import Resolved
from edge_node.store import Store
from edge_node.supply import Supplied, Supply

if TYPE_CHECKING:
    from edge_node.proxy import Proxy

_UPLOADS = f"/{LOCAL}/"
_TRIES = 3
"""How often a request is answered anew because its content has just gone."""


class EdgeApp:
    """Serves the files of `store` as the edge called `edge`, counting its requests in `load`."""

    def __init__(
        self,
        edge: str,
        store: Store,
        load: Load,
        supply: Supply | None = None,
        local: LocalContent | None = None,
        contents: Contents | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """`supply` fetches what is not here; `local` takes uploads; `proxy` passes on what is in no manifest.
        Without them there is none of that."""
        self._store = store
        self._load = load
        self._supply, self._local, self._proxy = supply, local, proxy
        self._responder = Responder(edge)
        self._contents = contents or Contents(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        if not self._load.admits(was_served=scope.get("state", {}).get("was_served", False)):
            await self._turn_away(scope, send)
            return
        self._load.begin()
        try:
            await self._answer(scope, receive, send)
        finally:
            self._load.end()

    @property
    def generation(self) -> int:
        """Another number whenever answers may have changed."""
        return self._store.generation

    def touch(self, sha256: str) -> None:
        """A file has been used."""
        self._store.touch(sha256)

    def answer_now(self, request: Request, now_s: int) -> Ready | None:
        """The answer to a GET or HEAD for a small file of the site that is here; None for anything else, and
        when it cannot be made at once."""
        if request.path.startswith(URL_PREFIXES) or is_asked(request):
            return None  # who asks for something of a session keeps it joined
        found = self._store.resolve(request.path, now_s)
        if found is None or not found.is_here:
            return None
        target = self._representation(found)
        if self._contents.forms.lacks(target, request.field("accept-encoding")):
            return None
        plan = self._responder.respond(request, lambda _path: target, now_s)
        if sum(len(piece) for piece in plan.content) > QUICK_BYTES:
            return None
        try:
            content = self._contents.open(plan.content)
        except BlobGoneError:
            return None
        if not isinstance(content, bytes):
            content.close()
            return None
        return Ready(plan, content, found.entry.sha256, found.entry.expires_unix_s)

    async def _turn_away(self, scope: Scope, send: Send) -> None:
        """There are too many requests already: say when to come again, which costs little."""
        request = Request(scope["method"], "/")
        retry_after = ("Retry-After", str(RETRY_AFTER_S))
        plan = self._responder.say(request, 503, "too many requests", retry_after, ("Connection", "close"))
        await send_whole(plan, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_from(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            scope["http_version"],
            scope["headers"],
            scope.get("scheme", "http"),
        )
        now_s = int(time.time())
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        refused = check_request(request.method.encode(), target, request.http_version, scope["headers"])
        if refused is not None:
            close = ("Connection", "close")
            await send_whole(self._responder.say(request, refused.status, refused.text, close), send)
            return
        if is_asked(request):
            await send_whole(tell(self._about(), request), send)
            return
        if request.method == "PUT" and self._local is not None and request.path.startswith(_UPLOADS):
            outcome = await self._upload(request, receive, scope.get("client"))
            await send_whole(
                self._responder.say(request, outcome.status, outcome.text, *outcome.fields), send
            )
            return
        if self._proxy is not None and not self._is_ours(request, now_s):
            send_interim = scope.get("state", {}).get("send_interim")
            await self._proxy.answer(request, receive, send, send_interim)
            return
        supplied = Supplied()
        if self._supply is not None and request.method in ("GET", "HEAD"):
            supplied = await self._supply.provide(request.path, now_s)
            if supplied.problem:
                await send_whole(self._responder.say(request, 502, supplied.problem), send)
                return
        for tries_left in reversed(range(_TRIES)):
            try:
                lookup = partial(self._lookup, now_s, supplied, with_forms=tries_left > 0)
                if request.method in ("GET", "HEAD"):
                    target, accepts = lookup(request.path), request.field("accept-encoding")
                    await self._contents.forms.provide(target, accepts, again=tries_left < _TRIES - 1)
                plan = self._responder.respond(request, lookup, now_s)
                content = self._contents.open(plan.content)
                break
            except BlobGoneError:
                # Removed since the look-up: a newer version has replaced it, or a form gave way to others.
                if not tries_left:
                    raise
        if isinstance(content, bytes):
            await send_whole(plan, send, content)
            return
        with content:
            await stream(plan, content, receive, send)

    def _about(self) -> About:
        site = self._store.site()
        return About(
            self._responder.edge,
            site.served_version,
            site.complete,
            len(site.manifest.files) if site.manifest else 0,
            channels_of(site.manifest),
            self._local.limits.item_bytes if self._local else 0,
            self._load.requests * 100 // self._load.capacity,
        )

    def _is_ours(self, request: Request, now_s: int) -> bool:
        """Whether a request is for what the edge has or should have: a file in a manifest, a folder of one,
        or something of a session."""
        path = request.path
        if path.startswith(URL_PREFIXES) or self._store.resolve(path, now_s) is not None:
            return True
        return not path.endswith("/") and self._store.resolve(path + "/", now_s) is not None

    async def _upload(self, request: Request, receive: Receive, client: Sequence[Any] | None) -> Outcome:
        assert self._local is not None
        length = request.field("content-length") or ""
        size = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None
        name = request.path.removeprefix(_UPLOADS)
        return await self._local.upload(name, receive, size, client[0] if client else "")

    def _lookup(
        self, now_s: int, supplied: Supplied, url_path: str, *, with_forms: bool = True
    ) -> Representation | None:
        found = self._store.resolve(url_path, now_s)
        if found is None or not found.is_here:
            return None
        return self._representation(found, was_here=not supplied.was_fetched, with_forms=with_forms)

    def _representation(
        self, found: Resolved, *, was_here: bool = True, with_forms: bool = True
    ) -> Representation:
        """A file that is here, as HTTP sees it."""
        entry, forms = found.entry, self._contents.forms
        is_by_users = found.prefix.startswith(f"{LOCAL}/")
        is_codable = not is_by_users and forms.offers(entry.content_type, entry.size)
        return Representation(
            entry.sha256,
            entry.size,
            entry.content_type,
            version=found.version,
            was_here=was_here,
            is_by_users=is_by_users,
            is_codable=is_codable,
            coded=forms.of(entry.sha256) if is_codable and with_forms else (),
        )
