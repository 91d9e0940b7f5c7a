"""Conditional requests (RFC 9110 section 13): which preconditions hold, and what follows."""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

from edge_node.http.dates import parse_date
from edge_node.http.messages import Request

_ENTITY_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\xff]*")')
_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*$")


class Outcome(Enum):
    """What the preconditions say: carry on, 304 Not Modified or 412 Precondition Failed."""

    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


class Validated(Protocol):
    """Whatever has validators: an entity tag (which may be weak) and a time of last change, if known."""

    @property
    def etag(self) -> str | None:
        """The entity tag as it is sent, None for none."""

    @property
    def modified_s(self) -> int | None:
        """The time of last change in seconds since the epoch, None when nobody knows."""


def evaluate(request: Request, target: Validated, now_s: int) -> Outcome:
    """Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since for a GET or HEAD,
    in the order of precedence of section 13.2.2. A date that cannot be read is ignored."""
    if not demands_are_met(request, target, now_s):
        return Outcome.FAILED
    return Outcome.NOT_MODIFIED if is_current(request, target, now_s) else Outcome.PROCEED


def demands_are_met(request: Request, target: Validated, now_s: int) -> bool:
    """Whether If-Match, or else If-Unmodified-Since, lets the request proceed (sections 13.1.1, 13.1.4)."""
    if (if_match := request.field("if-match")) is not None:
        return _matches(if_match, target.etag, weakly=False)
    order = _compare(target.modified_s, request.field("if-unmodified-since"), now_s)
    return order is not _Order.LATER


def is_current(request: Request, target: Validated, now_s: int) -> bool:
    """Whether If-None-Match, or else If-Modified-Since, says that the client has `target` (sections 13.1.2,
    13.1.3)."""
    if (if_none_match := request.field("if-none-match")) is not None:
        return _matches(if_none_match, target.etag, weakly=True)
    return _compare(target.modified_s, request.field("if-modified-since"), now_s) is _Order.NOT_LATER


def range_applies(request: Request, target: Validated, now_s: int) -> bool:
    """Whether If-Range (section 13.1.5) lets Range count: it is absent, or names exactly this version.

    A date counts only when it is a strong validator: at least a second older than now
    (section 8.8.2.2), and equal to the time of last change.
    """
    if_range = request.field("if-range")
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range == target.etag and is_strong(if_range)
    date = parse_date(if_range, now_s)
    return date is not None and date == target.modified_s and date < now_s


def entity_tags(value: str) -> list[tuple[bool, str]] | None:
    """The (is weak, quoted tag) pairs of a list of entity tags; None when it is malformed."""
    tags: list[tuple[bool, str]] = []
    position = len(value) - len(value.lstrip(" \t,"))
    while position < len(value):
        tag = _ENTITY_TAG.match(value, position)
        end = tag and _SEPARATOR.match(value, tag.end())
        if not tag or not end:
            return None
        tags.append((tag["weak"] is not None, tag["tag"]))
        position = end.end()
    return tags


def is_strong(etag: str | None) -> bool:
    """Whether `etag` is a strong entity tag: equal ones mean equal bytes (section 8.8.1)."""
    return etag is not None and etag.startswith('"')


def same_tag(one: str | None, other: str | None, *, weakly: bool) -> bool:
    """Compare two entity tags (section 8.8.3.2); one that is absent equals none."""
    if one is None or other is None:
        return False
    if weakly:
        return one.removeprefix("W/") == other.removeprefix("W/")
    return one == other and is_strong(one)


def _matches(value: str, etag: str | None, *, weakly: bool) -> bool:
    """Whether a field of entity tags, or `*`, matches `etag`; a malformed one does not."""
    if value == "*":
        return True
    tags = entity_tags(value) or ()
    return any(same_tag(f"W/{tag}" if weak else tag, etag, weakly=weakly) for weak, tag in tags)


class _Order(Enum):
    """How the time of last change compares to a date, when both are known."""

    LATER = "later"
    NOT_LATER = "not later"


def _compare(modified_s: int | None, field: str | None, now_s: int) -> _Order | None:
    date = None if field is None else parse_date(field, now_s)
    if modified_s is None or date is None:
        return None
    return _Order.LATER if modified_s > date else _Order.NOT_LATER
