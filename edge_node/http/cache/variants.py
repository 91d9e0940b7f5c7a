"""Cache keys (RFC 9111 section 2) and which of a URL's stored responses fits a request (section 4.1)."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from edge_node.http.fields import list_members, names_listed
from edge_node.http.messages import Request

Selecting: TypeAlias = tuple[tuple[str, str | None], ...]
"""The fields that a response's Vary names, with their normalized values in the request; None: not sent."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_UNORDERED = frozenset({"accept", "accept-charset", "accept-encoding", "accept-language"})
"""Lists of preferences: their weights order them, not their places (RFC 9110 section 12.5)."""
_WEIGHT_OF_ONE = re.compile(r";q=1(?:\.0{0,3})?$")


def cache_key(request: Request) -> str:
    """The URL a request is for, without what makes no difference (RFC 9110 section 4.2.3)."""
    return url_key(request.scheme, request.field("host") or "", request.target)


def url_key(scheme: str, authority: str, target: str) -> str:
    """The key of what `target` (in origin form) names at `authority`."""
    authority = authority.lower()
    default = _DEFAULT_PORTS.get(scheme, "")
    if default and authority.endswith(default):
        authority = authority.removesuffix(default)
    return f"{scheme}://{authority}{target}"


def same_origin_key(base: str, reference: str) -> str | None:
    """The key that a URI reference in the response to a request for `base` leads to; None when that is at
    another origin or nowhere (section 4.4)."""
    try:
        parts, origin = urlsplit(urljoin(base, reference)), urlsplit(base)
    except ValueError:
        return None
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    key = url_key(parts.scheme, parts.netloc, target)
    return key if key.startswith(f"{origin.scheme}://{origin.netloc}/") else None


def selecting(vary: str | None, request: Request) -> Selecting | None:
    """What of `request` selected a response with this Vary; None when nothing can be known to (`*`)."""
    names = names_listed(vary)
    if "*" in names:
        return None
    return tuple((name, _normalized(name, request.field(name))) for name in sorted(names))


def fits(selected_by: Selecting, request: Request) -> bool:
    """Whether a response that was `selected_by` these fields may answer `request`."""
    return all(_normalized(name, request.field(name)) == value for name, value in selected_by)


def _normalized(name: str, value: str | None) -> str | None:
    """The value without differences that mean nothing: blanks between a list's members, and where it states
    preferences their order and their case (section 4.1)."""
    if value is None:
        return None
    members = list(list_members(value))
    if name in _UNORDERED:
        members = sorted({_preference(member) for member in members})
    return ",".join(members)


def _preference(member: str) -> str:
    plain = "".join(member.split()).lower()
    return _WEIGHT_OF_ONE.sub("", plain)
