"""A session at its sending end, over and over: its numbers, its state on disk, repair, status, farewell.

The kernel is left out: datagrams land in a list.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from delivery import publication as publication_module
from delivery import stream as stream_module
from delivery.coding import EpochKey
from delivery.errors import DeliveryError
from delivery.lct import decode_lct
from delivery.manifest import FileEntry, Manifest
from delivery.publication import Numbers, Publication, StreamOptions
from delivery.signing import open_manifest, sign_manifest
from tests.unit.delivery.asgi_client import ask
from tests.unit.delivery.simulation import KEY

CONTENTS = [random.Random(number).randbytes(20_000) for number in range(6)]
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in CONTENTS}
NAMES = list(BLOBS)
FAST = StreamOptions(rate_mbps=10_000.0)


class Wire:
    """What one session sends, its state on disk and its events, over as many processes as it takes."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.saved: list[Numbers] = [Numbers()]
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def send(self, _socket: socket.socket, datagrams: Sequence[bytes]) -> int:
        self.datagrams += datagrams
        return len(datagrams)

    def start(self, options: StreamOptions = FAST, base: str = "") -> Publication:
        return Publication(
            "s",
            1,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
            lambda manifest: sign_manifest(manifest, KEY),
            self.saved[-1],
            self.saved.append,
            options=options,
            base=base,
            on_event=lambda name, facts: self.events.append((name, facts)),
        )

    def tois(self) -> list[int]:
        return [decode_lct(datagram)[0].toi for datagram in self.datagrams]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(stream_module, "send", wire.send)
    return wire


def read(sha256: str, offset: int, length: int) -> bytes:
    return BLOBS[sha256][offset : offset + length]


def site(*numbers: int) -> tuple[tuple[FileEntry, ...], Any, dict[str, int]]:
    files = tuple(FileEntry(f"f{n}", 20_000, NAMES[n], "text/plain") for n in numbers)
    return files, read, {entry.sha256: entry.size for entry in files}


async def drained(publication: Publication) -> None:
    while not publication.idle:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.005)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def missing(version: int, counts: Mapping[int, int], edge: str = "e") -> bytes:
    document = {"edge": edge, "version": version, "complete": not counts, "missing": counts}
    return json.dumps(document).encode()


def test_versions_follow_each_other_in_one_process(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        first = publication.publish(*site(0, 1))
        await drained(publication)
        assert first.manifest.version == 1
        assert set(wire.tois()) == {0, 1, 2}
        wire.datagrams.clear()
        second = publication.publish(*site(0, 1, 2))
        await drained(publication)
        assert second.manifest.version == 2
        assert second.kept == {2}
        assert set(wire.tois()) == {0, 3, 4}
        answer = await ask(publication.app, "GET", "/manifest")
        assert answer is not None
        assert open_manifest(answer.body, KEY.public_key()) == second.manifest
        await ask(publication.app, "POST", "/reports", missing(1, {1: 1}))
        assert publication.idle, "nobody needs the first manifest any more"
        await publication.close()

    run(test)


def test_numbers_are_remembered_before_anything_is_sent(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()

        def refuse(_: Numbers) -> None:
            raise DeliveryError("the disk is full")

        publication._remember = refuse
        with pytest.raises(DeliveryError, match="disk is full"):
            publication.publish(*site(0))
        await drained(publication)
        assert (wire.datagrams, publication.edition) == ([], None)
        publication.abandon()

    run(test)


def test_nothing_is_sent_without_numbers_even_when_only_repair_is_asked_for(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        publication.publish(*site(0))
        await drained(publication)
        wire.datagrams.clear()
        following = publication._sender.next_fdt_instance
        publication.numbers = replace(publication.numbers, next_fdt_instance=following)

        def refuse(_: Numbers) -> None:
            raise DeliveryError("the disk is full")

        publication._remember = refuse
        answer = await ask(publication.app, "POST", "/reports", missing(1, {2: 3}))
        assert answer is not None
        assert answer.status == 204
        publication.announce()
        assert publication.idle
        assert ("problem", {"problem": "the disk is full"}) in wire.events
        publication._remember = wire.saved.append
        await ask(publication.app, "POST", "/reports", missing(1, {2: 3}))
        assert not publication.idle
        assert wire.saved[-1].next_fdt_instance > following
        publication.abandon()

    run(test)


@pytest.mark.parametrize("seed", range(8))
def test_no_number_is_used_twice_over_any_sequence_of_versions_and_restarts(wire: Wire, seed: int) -> None:
    """The same header of a data packet (TOI, symbol) and the same FDT instance always have the same bytes."""
    choose = random.Random(seed)
    carried: dict[bytes, bytes] = {}
    versions: list[int] = []
    contents: dict[int, str] = {}

    def check() -> None:
        for datagram in wire.datagrams:
            header, at = decode_lct(datagram)
            if header.close_session:
                continue
            instance = header.extension(192)
            name = instance if header.toi == 0 and instance is not None else datagram[: at + 4]
            assert carried.setdefault(name, datagram) == datagram
        wire.datagrams.clear()

    async def test() -> None:
        publication = wire.start()
        for _ in range(12):
            step = choose.choice(["publish", "publish", "repair", "close", "crash"])
            if step == "publish":
                before = publication.edition
                made = publication.publish(*site(*sorted(choose.sample(range(6), choose.randint(1, 6)))))
                versions.append(made.manifest.version)
                for bundle in made.manifest.bundles:
                    assert contents.setdefault(bundle.toi, bundle.sha256) == bundle.sha256
                    assert bundle.toi not in made.kept or (before and bundle in before.manifest.bundles)
            elif step == "repair" and publication.edition:
                toi = choose.choice([0, *(bundle.toi for bundle in publication.edition.manifest.bundles)])
                version = publication.edition.manifest.version
                await ask(publication.app, "POST", "/reports", missing(version, {toi: 3}))
            elif step == "close":
                await publication.close()
                publication = wire.start()
            elif step == "crash":
                publication.abandon()
                publication = wire.start()
            if choose.random() < 0.7:
                await drained(publication)
            check()
        await publication.close()
        check()

    run(test)
    assert versions == sorted(set(versions))
    assert len(carried) > 20


def test_after_a_restart_the_rest_is_offered_and_only_what_is_new_is_sent(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        publication.publish(*site(0, 1))
        await drained(publication)
        publication.abandon()
        wire.datagrams.clear()
        publication = wire.start()
        made = publication.publish(*site(0, 1, 2))
        await drained(publication)
        assert (made.kept, made.on_demand, made.content_bytes) == (set(), {4}, 20_000)
        assert set(wire.tois()) == {0, 3, 5}
        await publication.close()

    run(test)


def test_a_bundle_of_an_older_version_is_repaired_from_where_its_content_is_now(wire: Wire) -> None:
    """After a restart the bundle is only offered, so its content is read when it is asked for."""

    async def test() -> None:
        publication = wire.start()
        publication.publish(*site(0))
        await drained(publication)
        publication.abandon()
        publication = wire.start()
        is_there = True

        def fickle(sha256: str, offset: int, length: int) -> bytes:
            if not is_there:
                raise DeliveryError("it went away")
            return read(sha256, offset, length)

        files, _, sizes = site(0)
        first = publication.publish(files, fickle, sizes)
        (toi,) = first.on_demand
        await drained(publication)
        is_there = False
        assert publication.publish(*site(0, 1)).kept == {toi}
        await drained(publication)
        wire.datagrams.clear()
        await ask(publication.app, "POST", "/reports", missing(3, {toi: 5}))
        assert not publication.idle
        await drained(publication)
        assert wire.tois().count(toi) >= 5
        assert ("repair-answered", {"repair_rounds": 1}) in wire.events
        await publication.close()

    run(test)


@pytest.mark.parametrize(("by_blob", "status"), [(True, 200), (False, 404)])
def test_what_the_version_before_listed_can_still_be_had_where_versions_follow_fast(
    wire: Wire, by_blob: bool, status: int
) -> None:
    """An edge that has just read a channel's manifest asks for what that lists, not for what is new."""

    async def test() -> None:
        publication = wire.start(options=StreamOptions(by_blob=by_blob))
        publication.publish(*site(0, 1))
        publication.publish(*site(1, 2))
        answer = await ask(publication.app, "GET", f"/blobs/{NAMES[0]}")
        assert answer is not None
        assert answer.status == status
        publication.publish(*site(2, 3))
        answer = await ask(publication.app, "GET", f"/blobs/{NAMES[0]}")
        assert answer is not None
        assert answer.status == 404, "two versions ago"
        await publication.close()

    run(test)


def test_a_version_that_replaces_another_under_way_leaves_nothing_behind(wire: Wire) -> None:
    """Repair of the first version is being answered when the second takes its objects away."""

    async def test() -> None:
        publication = wire.start(StreamOptions(rate_mbps=5.0))
        publication.publish(*site(0, 1, 2))
        await drained(publication)
        await ask(publication.app, "POST", "/reports", missing(1, {2: 40}))
        while publication.status()["repair_rounds"] == 0:
            await asyncio.sleep(0.01)
        made = publication.publish(*site(3))
        await drained(publication)
        await ask(publication.app, "POST", "/reports", missing(1, {2: 40, 4: 1}))
        await drained(publication)
        assert [name for name, _ in wire.events if name == "problem"] == []
        assert made.manifest.bundles[0].toi == 4
        assert wire.tois().count(4) >= 14
        await publication.close()

    run(test)


def test_what_cannot_be_read_is_told_and_the_session_goes_on(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        files, _, sizes = site(0)
        is_there = True

        def fickle(sha256: str, offset: int, length: int) -> bytes:
            if not is_there:
                raise DeliveryError("it went away")
            return read(sha256, offset, length)

        draft = publication.draft(files, fickle, sizes)
        is_there = False
        publication.send(draft)
        await drained(publication)
        assert ("problem", {"problem": "it went away"}) in wire.events
        await ask(publication.app, "POST", "/reports", missing(1, {1: 2}))
        await drained(publication)
        assert publication.status()["repair_rounds"] == 1
        wire.datagrams.clear()
        publication.publish(*site(1))
        await drained(publication)
        await ask(publication.app, "POST", "/reports", missing(2, {4: 2}))
        await drained(publication)
        assert set(wire.tois()) == {0, 3, 4}
        assert publication.status()["repair_rounds"] == 2
        await publication.close()

    run(test)


def test_status_tells_what_was_sent_and_who_has_it(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start(StreamOptions(rate_mbps=10_000.0, edges=("e", "f")))
        assert publication.status()["version"] == 0
        publication.publish(*site(0, 1))
        await drained(publication)
        await ask(publication.app, "POST", "/reports", missing(1, {}))
        await ask(publication.app, "POST", "/reports", missing(1, {2: 7}, "f"))
        await ask(publication.app, "GET", f"/blobs/{NAMES[0]}")
        status = publication.status()
        wanted = {
            "site": "s", "tsi": 1, "version": 1, "files": 2, "bytes": 40_000, "bundles": 1, "symbols": 28,
            "objects": 2, "unicast_objects": 1, "unicast_bytes": 20_000, "source_symbols": 29,
        }  # fmt: skip
        assert {name: status[name] for name in wanted} == wanted
        assert status["edges"]["e"]["complete"]
        assert status["edges"]["f"]["missing_symbols"] == 7
        assert status["wire_bytes"] > 40_000
        json.dumps(status)
        names = [name for name, _ in wire.events]
        assert (names.count("published"), names.count("edge-complete"), names.count("report")) == (1, 1, 2)
        await publication.close()

    run(test)


def test_descriptions_are_repeated_until_nobody_is_behind(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication_module, "ANNOUNCE_INTERVAL_S", 0.01)

    async def test() -> None:
        publication = wire.start(StreamOptions(rate_mbps=10_000.0, edges=("e",)))
        publication.publish(*site(0))
        await drained(publication)
        wire.datagrams.clear()
        while len(wire.datagrams) < 3:
            await asyncio.sleep(0.01)
        assert set(wire.tois()) == {0}
        await ask(publication.app, "POST", "/reports", missing(1, {}))
        await drained(publication)
        wire.datagrams.clear()
        await asyncio.sleep(0.1)
        await drained(publication)
        assert wire.datagrams == []
        await publication.close()

    run(test)


def test_the_session_ends_with_a_farewell(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        publication.publish(*site(0))
        await drained(publication)
        reserved = publication.numbers.next_fdt_instance
        await publication.close()
        assert decode_lct(wire.datagrams[-1])[0].close_session
        assert 0 < wire.saved[-1].next_fdt_instance < reserved
        assert wire.saved[-1].version == 1

    run(test)


def test_an_unsound_site_is_refused_before_numbers_are_used(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        files, _, sizes = site(0)
        with pytest.raises(DeliveryError, match="listed twice"):
            publication.publish(files + files, read, sizes)
        assert wire.saved == [Numbers()]
        assert publication.publish(*site(0)).manifest.version == 1
        publication.abandon()

    run(test)


def test_a_new_key_seals_what_is_new(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        publication.epoch_key = EpochKey(1, bytes(32))
        publication.publish(*site(0))
        publication.epoch_key = EpochKey(2, bytes([1]) * 32)
        made: Manifest = publication.publish(*site(0, 1)).manifest
        assert [bundle.epoch for bundle in made.bundles] == [1, 2]
        publication.abandon()

    run(test)


def test_drafts_are_independent_of_the_event_loop(wire: Wire) -> None:
    async def test() -> None:
        publication = wire.start()
        draft = await asyncio.to_thread(publication.draft, *site(0, 1))
        assert publication.edition is None
        publication.send(draft)
        await drained(publication)
        assert set(wire.tois()) == {0, 1, 2}
        await publication.close()

    run(test)
