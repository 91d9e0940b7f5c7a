"""Cache-Status (RFC 9211): what each cache on the way did with a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge_node.http.fields import combined, overwritten
from edge_node.http.messages import Fields
from edge_node.http.structured import Token, serialized, token_or_string


class Forwarded(Enum):
    """Why a request was forwarded (section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    MISS = "miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """The parameters of section 2; `ttl_s` is the time left, negative for a stale response."""

    hit: bool = False
    fwd: Forwarded | None = None
    fwd_status: int | None = None
    ttl_s: int | None = None
    stored: bool = False
    collapsed: bool = False
    key: str = ""
    detail: str = ""

    def member(self, name: str) -> str:
        """The list's member for the cache called `name`."""
        parts = [token_or_string(name)]
        if self.hit:
            parts.append("hit")
        elif self.fwd is not None:
            parts.append(f"fwd={serialized(Token(self.fwd.value))}")
            if self.fwd_status is not None:
                parts.append(f"fwd-status={self.fwd_status}")
        if self.ttl_s is not None:
            parts.append(f"ttl={self.ttl_s}")
        parts += [word for word, said in (("stored", self.stored), ("collapsed", self.collapsed)) if said]
        parts += [
            f"{word}={token_or_string(text)}"
            for word, text in (("key", self.key), ("detail", self.detail))
            if text
        ]
        return "; ".join(parts)

    def appended_to(self, fields: Fields, name: str) -> Fields:
        """`fields` with what the cache called `name` says, after those nearer to the origin."""
        before = combined(fields, "cache-status")
        value = f"{before}, {self.member(name)}" if before else self.member(name)
        return overwritten(fields, (("cache-status", value),))
