"""Content negotiation by Accept-Encoding (RFC 9110 sections 12.4.2, 12.5.3): which coding a client gets."""

from __future__ import annotations

import re
from collections.abc import Collection

from edge_node.http.fields import list_members
from edge_node.http.messages import Representation

IDENTITY = "identity"
PREFERRED = ("br", "zstd", "gzip")
"""The codings that are offered, the one with the smallest forms first (RFC 7932, 8878, 1952)."""
_MEMBER = re.compile(
    r"(?P<coding>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(?P<quality>0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?",
    re.ASCII,
)
_ALIASES = {"x-gzip": "gzip"}
"""Names to be taken for others (section 8.4.1.3)."""


def qualities(accept_encoding: str) -> dict[str, int]:
    """The weight of each coding named, in thousandths; members that are malformed are left out. The first
    of several members for one coding counts."""
    weights: dict[str, int] = {}
    for member in list_members(accept_encoding):
        if match := _MEMBER.fullmatch(member):
            coding = match["coding"].lower()
            weights.setdefault(_ALIASES.get(coding, coding), round(float(match["quality"] or 1) * 1000))
    return weights


def choose(accept_encoding: str | None, available: Collection[str]) -> str | None:
    """The coding to use out of `available` (of `PREFERRED`) and identity; None when not even identity is
    acceptable.

    The highest weight wins, and with equal ones the coding that is `PREFERRED`. Without the field, or when it
    is empty, there is no coding: what would be acceptable may yet be something the client cannot read.
    """
    if accept_encoding is None:
        return IDENTITY
    weights = qualities(accept_encoding)
    others = weights.get("*", 0)
    # Identity is acceptable unless it, or everything that is not named, is excluded.
    identity = weights.get(IDENTITY, others if "*" in weights else 1)
    offers = [(weights.get(coding, others), coding) for coding in PREFERRED if coding in available]
    best = max(offers, key=lambda offer: offer[0], default=(0, IDENTITY))
    if best[0] > 0 and (best[0] >= identity or IDENTITY not in weights):
        return best[1]
    return IDENTITY if identity > 0 else None


def negotiated(target: Representation, accept_encoding: str | None) -> Representation | None:
    """The representation of a file that a client gets: `target` itself or one of its `coded` forms; None when
    it accepts none of them (406)."""
    coding = choose(accept_encoding, [coded.coding for coded in target.coded])
    if coding is None or coding == IDENTITY:
        return None if coding is None else target
    return next(target.in_coding(coded) for coded in target.coded if coded.coding == coding)
