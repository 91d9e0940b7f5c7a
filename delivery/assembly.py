"""From verified bundles to blobs: which are still missing, and the pieces of those cut across bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from delivery.events import BlobReceived, PieceReceived
from delivery.manifest import EMPTY_SHA256, Bundle, Manifest, class_of


class Assembly:
    """What one stream has yet to bring of a manifest: files for everybody, or those of one `region`."""

    def __init__(
        self,
        manifest: Manifest,
        has_blob: Callable[[str], bool],
        has_piece: Callable[[str, int], bool],
        region: str = "",
    ) -> None:
        """`has_piece` tells of pieces (SHA-256, offset) of blobs that are not whole yet."""
        wanted = class_of(region)
        self.manifest = manifest
        self.region = region
        self.missing: dict[str, int] = {
            entry.sha256: entry.size
            for entry in manifest.files
            if entry.delivery == wanted and not has_blob(entry.sha256)
        }
        self._outstanding: dict[str, set[int]] = {}
        """The offsets of the pieces that a cut blob still lacks."""
        for bundle in manifest.bundles:
            for piece in bundle.pieces:
                size = self.missing.get(piece.sha256)
                if size is not None and piece.length < size:
                    offsets = self._outstanding.setdefault(piece.sha256, set())
                    if not has_piece(piece.sha256, piece.offset):
                        offsets.add(piece.offset)

    def wants(self, bundle: Bundle) -> bool:
        """Whether the bundle comes with this stream and has anything that is still missing."""
        return bundle.region == self.region and any(
            piece.sha256 in self.missing
            and piece.offset in self._outstanding.get(piece.sha256, (piece.offset,))
            for piece in bundle.pieces
        )

    def take_empty(self) -> bool:
        """Whether the empty blob was missing; it is taken as received, for no bundle carries it."""
        return self.missing.pop(EMPTY_SHA256, None) is not None

    def drop(self, sha256: str) -> None:
        """The blob has come another way."""
        self.missing.pop(sha256, None)
        self._outstanding.pop(sha256, None)

    def add(self, bundle: Bundle, content: bytes) -> list[BlobReceived | PieceReceived]:
        """What this verified bundle brings: blobs it holds whole, digests checked, and pieces of others."""
        received: list[BlobReceived | PieceReceived] = []
        at = 0
        for piece in bundle.pieces:
            run = content[at : at + piece.length]
            at += piece.length
            size = self.missing.get(piece.sha256)
            if size is None:
                continue
            if piece.length == size:
                if hashlib.sha256(run).hexdigest() == piece.sha256:
                    del self.missing[piece.sha256]
                    received.append(BlobReceived(piece.sha256, run))
                continue
            outstanding = self._outstanding[piece.sha256]
            if piece.offset in outstanding:
                outstanding.remove(piece.offset)
                received.append(PieceReceived(piece.sha256, size, piece.offset, run))
                if not outstanding:
                    self.drop(piece.sha256)
        return received
