"""The unicast baseline: the whole site to every edge by itself, over HTTP, to all edges at once."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from delivery.keys import load_private_key
from delivery.manifest import Manifest, ManifestError, sign_manifest
from origin.catalogue import Catalogue, read_catalogue
from origin.errors import OriginError
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
    key = load_private_key(key_file)
    catalogue = read_catalogue(folder)
    state = load_state(state_dir)
    manifest = Manifest(site, state.version + 1, catalogue.files, bundles=())
    try:
        signed = sign_manifest(manifest, key)
    except ManifestError as error:
        raise OriginError(f"{folder}: {error}") from None
    save_state(state_dir, replace(state, version=manifest.version, blobs=catalogue.sizes))
    began_at = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(edges)) as pool:
        results = pool.map(lambda edge: _push_edge(edge, edges[edge], signed, catalogue, timeout_s), edges)
        finished: Sequence[EdgePush] = list(results)
    seconds = round(time.monotonic() - began_at, 6)
    files, size = len(catalogue.files), catalogue.total_bytes
    return PushSummary(site, manifest.version, files, size, seconds, tuple(finished))


def _push_edge(
    edge: str, address: tuple[str, int], signed: bytes, catalogue: Catalogue, timeout_s: float
) -> EdgePush:
    began_at = time.monotonic()
    sent = 0
    problem = ""
    connection = http.client.HTTPConnection(*address, timeout=timeout_s, blocksize=_BLOCK_BYTES)
    try:
        _put(connection, "/manifest", signed)
        sent += len(signed)
        for sha256, path in catalogue.sources.items():
            with open(path, "rb") as file:
                _put(connection, f"/blobs/{sha256}", file, catalogue.sizes[sha256])
            sent += catalogue.sizes[sha256]
    except OriginError as error:
        problem = str(error)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        problem = f"[{address[0]}]:{address[1]}: {reason}"
    finally:
        connection.close()
    return EdgePush(edge, sent, round(time.monotonic() - began_at, 6), problem)


def _put(connection: http.client.HTTPConnection, path: str, body: Any, length: int | None = None) -> None:
    size = len(body) if length is None else length
    connection.request("PUT", path, body=body, headers={"Content-Length": str(size)})
    response = connection.getresponse()
    text = response.read().decode(errors="replace").strip()
    if response.status >= 300:
        raise OriginError(
            f"PUT {path} was answered {response.status}: {text.splitlines()[0] if text else ''}"
        )
