"""The unicast baseline: the whole site to every edge by itself, over HTTP, to all edges at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httptools

from delivery.manifest import Manifest, ManifestError
from origin.catalogue import Catalogue, read_catalogue
from origin.errors import OriginError
from origin.signer import Signer
from origin.state import load_state, save_state

_BLOCK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class EdgePush:
    """What one edge got: content bytes sent, seconds it took, and the problem that ended it, if any."""

    edge: str
    bytes: int
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class PushSummary:
    """What a push came to."""

    site: str
    version: int
    files: int
    bytes: int
    seconds: float
    edges: tuple[EdgePush, ...]

    @property
    def complete(self) -> bool:
        """Whether every edge has everything."""
        return not any(edge.problem for edge in self.edges)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {**asdict(self), "complete": self.complete}


def push(
    folder: Path,
    edges: Mapping[str, tuple[str, int]],
    key_file: Path,
    state_dir: Path,
    site: str,
    timeout_s: float,
) -> PushSummary:
    """Put manifest and blobs on every edge (name to address and port). Raises OriginError, KeyFileError."""
    signer = Signer(state_dir, key_file)
    catalogue = read_catalogue(folder)
    state = load_state(state_dir)
    manifest = Manifest(site, state.version + 1, catalogue.files, bundles=(), keys=signer.next_keys())
    try:
        signed = signer.sign(manifest)
    except ManifestError as error:
        raise OriginError(f"{folder}: {error}") from None
    save_state(state_dir, replace(state, version=manifest.version, blobs=catalogue.sizes))
    signer.published()
    began_at = time.monotonic()
    finished = asyncio.run(_push_all(edges, signed, catalogue, timeout_s))
    seconds = round(time.monotonic() - began_at, 6)
    files, size = len(catalogue.files), catalogue.total_bytes
    return PushSummary(site, manifest.version, files, size, seconds, finished)


async def _push_all(
    edges: Mapping[str, tuple[str, int]], signed: bytes, catalogue: Catalogue, timeout_s: float
) -> tuple[EdgePush, ...]:
    pushes = (_push_edge(edge, address, signed, catalogue, timeout_s) for edge, address in edges.items())
    return tuple(await asyncio.gather(*pushes))


async def _push_edge(
    edge: str, address: tuple[str, int], signed: bytes, catalogue: Catalogue, timeout_s: float
) -> EdgePush:
    began_at = time.monotonic()
    delivery = _Delivery(catalogue, timeout_s)
    problem = ""
    try:
        await delivery.run(address, signed)
    except OriginError as error:
        problem = str(error)
    except TimeoutError:
        problem = f"[{address[0]}]:{address[1]}: nothing moved for {timeout_s:g} s"
    except OSError as error:
        problem = f"[{address[0]}]:{address[1]}: {os.strerror(error.errno) if error.errno else error}"
    return EdgePush(edge, delivery.sent_bytes, round(time.monotonic() - began_at, 6), problem)


class _Delivery:
    """One connection to one edge. The manifest is answered first; then all blobs follow each other without
    waiting for answers (pipelining, RFC 9112 section 9.3.2), so that hundreds of small files do not cost
    a round trip each."""

    def __init__(self, catalogue: Catalogue, timeout_s: float) -> None:
        self.sent_bytes = 0
        self._catalogue = catalogue
        self._timeout_s = timeout_s
        self._asked: deque[str] = deque()
        self._parser = httptools.HttpResponseParser(self)
        self._text = b""
        self._answered = 0
        self._refusal = ""

    async def run(self, address: tuple[str, int], signed: bytes) -> None:
        """Deliver everything. Raises OriginError when an answer is not a success, OSError, TimeoutError."""
        async with asyncio.timeout(self._timeout_s):
            reader, writer = await asyncio.open_connection(*address)
        writer.transport.set_write_buffer_limits(high=_BLOCK_BYTES * 4)
        try:
            self._ask(writer, "/manifest", len(signed))
            writer.write(signed)
            self.sent_bytes += len(signed)
            await self._read_answers(reader, 1)
            tasks = [
                asyncio.create_task(self._send_blobs(writer)),
                asyncio.create_task(self._read_answers(reader, len(self._catalogue.sources))),
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        finally:
            writer.close()

    async def _send_blobs(self, writer: asyncio.StreamWriter) -> None:
        for sha256, path in self._catalogue.sources.items():
            self._ask(writer, f"/blobs/{sha256}", self._catalogue.sizes[sha256])
            with open(path, "rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    writer.write(block)
                    self.sent_bytes += len(block)
                    async with asyncio.timeout(self._timeout_s):
                        await writer.drain()

    async def _read_answers(self, reader: asyncio.StreamReader, count: int) -> None:
        """Read `count` more answers."""
        wanted = self._answered + count
        while self._answered < wanted:
            async with asyncio.timeout(self._timeout_s):
                data = await reader.read(_BLOCK_BYTES)
            if not data:
                raise OriginError("the edge closed the connection before it had answered everything")
            self._parser.feed_data(data)
            if self._refusal:
                raise OriginError(self._refusal)

    def _ask(self, writer: asyncio.StreamWriter, path: str, length: int) -> None:
        self._asked.append(path)
        writer.write(f"PUT {path} HTTP/1.1\r\nHost: edge\r\nContent-Length: {length}\r\n\r\n".encode())

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._text += data

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        path, text = self._asked.popleft(), self._text.decode(errors="replace").strip()
        self._text = b""
        self._answered += 1
        status = self._parser.get_status_code()
        if status >= 300 and not self._refusal:
            self._refusal = f"PUT {path} was answered {status}: {text.splitlines()[0] if text else ''}"
