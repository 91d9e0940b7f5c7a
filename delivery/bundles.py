"""Packing blobs into bundles: large blobs are cut, small ones share, so that padding wastes no symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from delivery.manifest import Piece

DEFAULT_BUNDLE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """A bundle before its bytes are known: TOI, size in bytes and pieces."""

    toi: int
    size: int
    pieces: tuple[Piece, ...]


def plan_bundles(
    blobs: Sequence[tuple[str, int]], first_toi: int, max_bytes: int = DEFAULT_BUNDLE_BYTES
) -> tuple[BundlePlan, ...]:
    """Fill bundles of at most `max_bytes` with `blobs` (SHA-256, size in bytes) in the order given.

    Every bundle but the last is full; TOIs count up from `first_toi`. Empty blobs need no bundle.
    """
    if max_bytes < 1:
        raise ValueError(f"bundles of {max_bytes} bytes hold nothing")
    plans: list[BundlePlan] = []
    pieces: list[Piece] = []
    size = 0

    def close() -> None:
        nonlocal size
        plans.append(BundlePlan(first_toi + len(plans), size, tuple(pieces)))
        pieces.clear()
        size = 0

    for sha256, length in blobs:
        offset = 0
        while offset < length:
            run = min(length - offset, max_bytes - size)
            pieces.append(Piece(sha256, offset, run))
            offset += run
            size += run
            if size == max_bytes:
                close()
    if pieces:
        close()
    return tuple(plans)


def read_bundle(pieces: Sequence[Piece], read: Callable[[str, int, int], bytes]) -> bytes:
    """A bundle's bytes, from `read(sha256, offset, length)`."""
    return b"".join(read(piece.sha256, piece.offset, piece.length) for piece in pieces)
