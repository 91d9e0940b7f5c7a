"""From verified bundles to whole blobs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

from delivery.manifest import EMPTY_SHA256, Bundle, Manifest


class Assembly:
    """Which blobs of a manifest are still missing, and the parts of those cut across bundles."""

    def __init__(self, manifest: Manifest, has_blob: Callable[[str], bool]) -> None:
        self.manifest = manifest
        self.missing: dict[str, int] = {
            sha256: size for sha256, size in manifest.blobs.items() if not has_blob(sha256)
        }
        self._parts: dict[str, tuple[bytearray, set[int]]] = {}
        self._pieces_of = Counter(piece.sha256 for bundle in manifest.bundles for piece in bundle.pieces)

    def wants(self, bundle: Bundle) -> bool:
        """Whether the bundle has anything that is still missing."""
        return any(
            piece.sha256 in self.missing and not self._holds(piece.sha256, piece.offset)
            for piece in bundle.pieces
        )

    def take_empty(self) -> bool:
        """Whether the empty blob was missing; it is taken as received, for no bundle carries it."""
        return self.missing.pop(EMPTY_SHA256, None) is not None

    def drop(self, sha256: str) -> None:
        """The blob has come another way."""
        self.missing.pop(sha256, None)
        self._parts.pop(sha256, None)

    def add(self, bundle: Bundle, content: bytes) -> list[tuple[str, bytes]]:
        """The blobs that this verified bundle completes, with their content, digests checked."""
        complete: list[tuple[str, bytes]] = []
        at = 0
        for piece in bundle.pieces:
            run = content[at : at + piece.length]
            at += piece.length
            size = self.missing.get(piece.sha256)
            if size is None:
                continue
            if piece.length < size:
                whole = self._add_part(piece.sha256, size, piece.offset, run)
                if whole is None:
                    continue
                run = whole
            if hashlib.sha256(run).hexdigest() == piece.sha256:
                del self.missing[piece.sha256]
                complete.append((piece.sha256, run))
        return complete

    def _holds(self, sha256: str, offset: int) -> bool:
        return sha256 in self._parts and offset in self._parts[sha256][1]

    def _add_part(self, sha256: str, size: int, offset: int, run: bytes) -> bytes | None:
        buffer, offsets = self._parts.setdefault(sha256, (bytearray(), set()))
        if not buffer:
            buffer.extend(bytes(size))
        buffer[offset : offset + len(run)] = run
        offsets.add(offset)
        if len(offsets) < self._pieces_of[sha256]:
            return None
        del self._parts[sha256]
        return bytes(buffer)
