"""Fetching by unicast what multicast did not bring: after a restart, on demand, and as the last resort."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from delivery.manifest import ManifestError
from delivery.signing import Verifier, open_manifest
from edge_node.blobs import StoreError, StoreFullError
from edge_node.origin_client import OriginConnection, OriginError
from edge_node.writer import NewBlob, NewManifest, NewPiece, Writer

FRUITLESS_REPAIRS = 3
"""Repair rounds without progress after which an edge fetches the rest itself."""
HOPELESS_LOSS = 0.3
"""An edge that loses more of what passes by is behind a link too slow for the session, or was away: its
repair would cost all others time (the origin puts such requests off, `delivery.repair`)."""
HOPELESS_OBJECTS = 2
SPAN_BYTES = 8 << 20
"""Large blobs are fetched in spans of this size, so that what has come is kept when the origin goes away."""


class RepairWatch:
    """Counts repair requests that brought nothing (time plays no part: the back-off paces them)."""

    def __init__(self, limit: int = FRUITLESS_REPAIRS) -> None:
        self._limit = limit
        self._version = 0
        self._asked: dict[int, tuple[int, int]] = {}

    def asked(self, version: int, missing: Mapping[int, int]) -> bool:
        """Note that an edge asks for `missing` symbols per TOI; True when unicast must help.

        That is when one object has been asked for `limit` times more without lacking any less.
        """
        if version != self._version:
            self._version, self._asked = version, {}
        for toi, symbols in missing.items():
            before, fruitless = self._asked.get(toi, (symbols + 1, 0))
            self._asked[toi] = (symbols, 0 if symbols < before else fruitless + 1)
        return any(self._asked[toi][1] >= self._limit for toi in missing)


def is_hopeless(missing: Mapping[int, int], of: Mapping[int, int]) -> bool:
    """Whether an edge loses too much for repair by multicast: several objects that it heard something of lack
    more than `HOPELESS_LOSS` of their symbols (`of`: source symbols per TOI)."""
    heard = [toi for toi in missing if of.get(toi, 0) > 1 and missing[toi] < of[toi]]
    return sum(missing[toi] > HOPELESS_LOSS * of[toi] for toi in heard) >= HOPELESS_OBJECTS


async def fetch_manifest(url: str, writer: Writer, keys: Verifier, prefix: str = "") -> bool:
    """Ask a session's API for its manifest and accept it when it is newer; whether it was.

    Raises OriginError, StoreError.
    """
    async with OriginConnection(url) as origin:
        answer = await origin.get("/manifest")
    if answer.status == 404:
        return False
    if answer.status != 200:
        raise OriginError(f"the origin answered {answer.status} to GET /manifest")
    try:
        manifest = open_manifest(answer.body, keys)
    except ManifestError as error:
        raise OriginError(f"the origin's manifest was refused: {error}") from None
    if manifest.version <= writer.store.site(prefix).version:
        return False
    await writer.submit(NewManifest(manifest, answer.body, prefix))
    return True


async def fetch_missing(
    url: str, writer: Writer, prefix: str = "", chosen: Sequence[str] | None = None
) -> list[str]:
    """Fetch every blob that the newest manifest of a site wants here and the store lacks, or those `chosen`
    among them; returns those that are durable now.

    Raises OriginError or StoreError for the first that failed, after the others were stored.
    """
    site = writer.store.site(prefix)
    if site.manifest is None:
        return []
    sizes = site.wanted()
    problem: StoreError | OriginError | None = None
    stored: list[tuple[str, asyncio.Future[None]]] = []
    async with OriginConnection(url) as origin:
        for sha256 in site.missing() if chosen is None else chosen:
            if writer.has(sha256):
                continue
            try:
                stored.append((sha256, await fetch_blob(origin, writer, sha256, sizes[sha256])))
            except StoreFullError as error:
                problem = problem or error
            except OriginError as error:
                problem = problem or error
                break
    outcomes = await asyncio.gather(*(future for _, future in stored), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, StoreError):
            problem = problem or outcome
    if problem is not None:
        raise problem
    return [sha256 for sha256, _ in stored]


async def fetch_blob(
    origin: OriginConnection, writer: Writer, sha256: str, size: int
) -> asyncio.Future[None]:
    """Fetch a blob of `size` bytes; the future ends once it is durable. Of one that has begun to come in
    pieces only the gaps are fetched. Raises OriginError, StoreError."""
    parts = writer.store.parts
    if size and (size > SPAN_BYTES or parts.gaps(sha256, size) != [(0, size)]):
        return await _fetch_gaps(origin, writer, sha256, size)
    writer.store.blobs.check_room(size)
    staging = writer.store.blobs.stage()
    try:
        answer = await origin.get(f"/blobs/{sha256}", staging.write)
        _expect(answer.status, 200, sha256)
    except BaseException:
        staging.abandon()
        raise
    return writer.submit(NewBlob(sha256, staging))


async def _fetch_gaps(
    origin: OriginConnection, writer: Writer, sha256: str, size: int
) -> asyncio.Future[None]:
    last: asyncio.Future[None] | None = None
    for start, stop in writer.store.parts.gaps(sha256, size):
        for at in range(start, stop, SPAN_BYTES):
            end = min(at + SPAN_BYTES, stop)
            answer = await origin.get(f"/blobs/{sha256}", span=(at, end))
            _expect(answer.status, 206, sha256)
            last = writer.submit(NewPiece(sha256, size, at, answer.body))
            await last
    if last is None:
        last = asyncio.get_running_loop().create_future()
        last.set_result(None)
    return last


def _expect(status: int, wanted: int, sha256: str) -> None:
    if status != wanted:
        raise OriginError(f"the origin answered {status} to GET /blobs/{sha256}")
