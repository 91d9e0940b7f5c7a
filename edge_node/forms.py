"""Which files have coded forms, how hard to compress them, which form a client waits for: without I/O.

A *form* is a file in a content coding (RFC 9110 section 8.4): a representation of its own, made at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_node.http.codings import IDENTITY, PREFERRED, choose
from edge_node.http.messages import Coded

LEAST_BYTES = 256
"""Smaller files gain nothing: with its fields the answer fits one packet either way."""
MOST_BYTES = 8 << 20
"""What is compressed is in memory as a whole, and the client waits for it."""
_QUICKLY_FROM_BYTES = 1 << 20
"""From this size on speed counts for more than the last few percent."""
_MOST_OF_THE_SIZE = 0.95
"""A form that saves less than this is not worth decoding."""

_TYPES = frozenset(
    {
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/xml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/vnd.microsoft.icon",
    }
)
"""Besides text, and what is written in XML or JSON."""
_SUFFIXES = ("+json", "+xml")
"""Structured syntaxes (RFC 6839)."""

_EFFORT = {"br": (8, 5), "zstd": (12, 9), "gzip": (9, 6)}
"""Quality for small files and for large ones: at least 20 MB/s on one core, large ones 50 MB/s."""


def is_codable(content_type: str, size: int) -> bool:
    """Whether a file of this media type and size in bytes is worth trying to compress."""
    if not LEAST_BYTES <= size <= MOST_BYTES:
        return False
    essence = content_type.partition(";")[0].strip().lower()
    return essence.startswith("text/") or essence in _TYPES or essence.endswith(_SUFFIXES)


def is_worth_it(size: int, coded_size: int) -> bool:
    """Whether a form of `coded_size` bytes is offered for a file of `size` bytes."""
    return coded_size <= size * _MOST_OF_THE_SIZE


def effort(coding: str, size: int) -> int:
    """The quality (br) or level (zstd, gzip) to compress `size` bytes with: the same on every edge, as others
    would make other bytes, and so other entity tags."""
    return _EFFORT[coding][size >= _QUICKLY_FROM_BYTES]


def undecided(accept_encoding: str | None, decided: Mapping[str, Coded | None]) -> str | None:
    """The coding that a client asks for before all others, when nobody knows yet whether there is such a
    form; None when the answer is settled. `decided` has for a coding its form, or None where that is not
    worth it.

    So which form a client gets does not depend on what others have asked for before.
    """
    possible = [coding for coding in PREFERRED if decided.get(coding, coding) is not None]
    coding = choose(accept_encoding, possible)
    return None if coding in (None, IDENTITY) or coding in decided else coding
