"""Fetching by unicast what multicast did not bring: after a restart, and as the last resort."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from delivery.manifest import ManifestError
from delivery.signing import open_manifest
from edge_node.blobs import StoreError, StoreFullError
from edge_node.origin_client import OriginConnection, OriginError
from edge_node.writer import NewBlob, NewManifest, Writer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FRUITLESS_REPAIRS = 3
"""Repair rounds without progress after which an edge fetches the rest itself."""


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


async def fetch_manifest(origin_url: str, writer: Writer, public_key: Ed25519PublicKey) -> None:
    """Ask the origin for its manifest and accept it when it is newer. Raises OriginError, StoreError."""
    async with OriginConnection(origin_url) as origin:
        answer = await origin.get("/manifest")
    if answer.status == 404:
        return
    if answer.status != 200:
        raise OriginError(f"the origin answered {answer.status} to GET /manifest")
    try:
        manifest = open_manifest(answer.body, public_key)
    except ManifestError as error:
        raise OriginError(f"the origin's manifest was refused: {error}") from None
    if manifest.version > writer.store.version:
        await writer.submit(NewManifest(manifest, answer.body))


async def fetch_missing(origin_url: str, writer: Writer) -> list[str]:
    """Fetch every blob the newest manifest lists and the store lacks; returns those that are durable now.

    Raises OriginError or StoreError for the first that failed, after the others were stored.
    """
    store = writer.store
    manifest = store.manifest
    if manifest is None:
        return []
    problem: StoreError | OriginError | None = None
    stored: list[tuple[str, asyncio.Future[None]]] = []
    async with OriginConnection(origin_url) as origin:
        for sha256 in store.missing():
            if writer.has(sha256):
                continue
            try:
                store.blobs.check_room(manifest.blobs[sha256])
                stored.append((sha256, await _fetch_blob(origin, writer, sha256)))
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


async def _fetch_blob(origin: OriginConnection, writer: Writer, sha256: str) -> asyncio.Future[None]:
    staging = writer.store.blobs.stage()
    try:
        answer = await origin.get(f"/blobs/{sha256}", staging.write)
        if answer.status != 200:
            raise OriginError(f"the origin answered {answer.status} to GET /blobs/{sha256}")
    except BaseException:
        staging.abandon()
        raise
    return writer.submit(NewBlob(sha256, staging))
