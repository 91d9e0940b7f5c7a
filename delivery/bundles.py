"""Packing blobs into bundles: large blobs are cut, small ones share, so that padding wastes no symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from delivery.manifest import MAX_BUNDLE_BYTES, Piece

DEFAULT_BUNDLE_BYTES = MAX_BUNDLE_BYTES
"""The larger the bundle, the less do the losses of edges differ, and so the repair that serves them all."""


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
    return plan_pieces([Piece(sha256, 0, size) for sha256, size in blobs if size], first_toi, max_bytes)


def plan_pieces(
    runs: Sequence[Piece], first_toi: int, max_bytes: int = DEFAULT_BUNDLE_BYTES
) -> tuple[BundlePlan, ...]:
    """As `plan_bundles`, for parts of blobs."""
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

    for run in runs:
        offset, end = run.offset, run.offset + run.length
        while offset < end:
            length = min(end - offset, max_bytes - size)
            pieces.append(Piece(run.sha256, offset, length))
            offset += length
            size += length
            if size == max_bytes:
                close()
    if pieces:
        close()
    return tuple(plans)


def read_bundle(pieces: Sequence[Piece], read: Callable[[str, int, int], bytes]) -> bytes:
    """A bundle's bytes, from `read(sha256, offset, length)`."""
    return b"".join(read(piece.sha256, piece.offset, piece.length) for piece in pieces)
