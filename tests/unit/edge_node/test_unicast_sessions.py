"""Sessions at an edge that joins nothing: what is asked for is fetched, and its age is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from delivery.sessions import Session
from edge_node import subscriptions as subscriptions_module
from edge_node.origin_client import OriginError
from edge_node.subscriptions import Subscriptions

NEWS = Session("live/news", "fd00::1", "ff35::8001:0", 4001, 2, "http://[fd00::1]:8080/live/news")


class Reception:
    """Counts what it is asked to do; each look finds a newer manifest."""

    def __init__(self, site: SimpleNamespace) -> None:
        self.calls: list[str] = []
        self.problem = ""
        self._site = site

    def listen(self) -> None:
        self.calls.append("listen")

    def tell_machine(self) -> None:
        self.calls.append("tell")

    async def catch_manifest(self) -> bool:
        self.calls.append("manifest")
        await asyncio.sleep(0)
        if self.problem:
            raise OriginError(self.problem)
        self._site.manifest = object()
        return True

    async def close(self) -> None:
        self.calls.append("close")


class Store:
    """One site, and how often it was settled."""

    def __init__(self) -> None:
        self.settled = 0
        self._site = SimpleNamespace(manifest=None)

    def site(self, _prefix: str) -> SimpleNamespace:
        return self._site

    def settle(self) -> None:
        self.settled += 1

    def drop_site(self, _prefix: str) -> None:
        self._site.manifest = None


def run(
    monkeypatch: pytest.MonkeyPatch, test: Callable[..., Coroutine[Any, Any, None]], look_s: float
) -> None:
    monkeypatch.setattr(subscriptions_module, "LOOK_S", look_s)

    async def body() -> None:
        store: Any = Store()
        reception: Any = Reception(store.site(""))
        journal: Any = SimpleNamespace(write=lambda *_, **__: None, problem=lambda _: None)
        held = Subscriptions("edge1", store, journal, lambda: (NEWS,), lambda _: reception, by_unicast=True)
        await test(held, reception, store)
        await held.close()

    asyncio.run(asyncio.wait_for(body(), 10))


def test_nothing_is_joined_and_what_is_known_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(held: Subscriptions, reception: Reception, store: Store) -> None:
        await asyncio.gather(*(held.ensure(NEWS) for _ in range(3)))
        assert reception.calls == ["manifest", "manifest"], "one for the first, one for all who waited"
        assert store.settled == 1
        assert held.joined == 1

    run(monkeypatch, test, look_s=0.0)


def test_a_young_manifest_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(held: Subscriptions, reception: Reception, _store: Store) -> None:
        for _ in range(3):
            await held.ensure(NEWS)
        assert reception.calls == ["manifest"]

    run(monkeypatch, test, look_s=60.0)


def test_a_look_that_fails_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(held: Subscriptions, reception: Reception, _store: Store) -> None:
        await held.ensure(NEWS)
        reception.problem = "gone"
        for _ in range(2):
            with pytest.raises(OriginError, match="gone"):
                await held.ensure(NEWS)
        reception.problem = ""
        await held.ensure(NEWS)
        assert reception.calls.count("manifest") >= 4

    run(monkeypatch, test, look_s=0.0)
