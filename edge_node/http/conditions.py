"""Conditional requests (RFC 9110 section 13): which preconditions hold, and what follows."""

from __future__ import annotations

import re
from enum import Enum

from edge_node.http.dates import parse_date
from edge_node.http.messages import Representation, Request

_ENTITY_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\xff]*")')
_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*$")


class Outcome(Enum):
    """What the preconditions say: carry on, 304 Not Modified or 412 Precondition Failed."""

    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


def evaluate(request: Request, target: Representation, now_s: int) -> Outcome:
    """Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since for a GET or HEAD,
    in the order of precedence of section 13.2.2. A date that cannot be read is ignored."""
    modified = target.modified_s
    if (if_match := request.field("if-match")) is not None:
        if not _matches(if_match, target.etag, weakly=False):
            return Outcome.FAILED
    elif _compare(modified, request.field("if-unmodified-since"), now_s) is _Order.LATER:
        return Outcome.FAILED
    if (if_none_match := request.field("if-none-match")) is not None:
        if _matches(if_none_match, target.etag, weakly=True):
            return Outcome.NOT_MODIFIED
    elif _compare(modified, request.field("if-modified-since"), now_s) is _Order.NOT_LATER:
        return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def range_applies(request: Request, target: Representation, now_s: int) -> bool:
    """Whether If-Range (section 13.1.5) lets Range count: it is absent, or names exactly this version.

    A date counts only when it is a strong validator: at least a second older than now
    (section 8.8.2.2), and equal to the time of last change.
    """
    if_range = request.field("if-range")
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range == target.etag
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


def _matches(value: str, etag: str, *, weakly: bool) -> bool:
    """Whether a field of entity tags, or `*`, matches `etag` (section 8.8.3.2); a malformed one does not."""
    if value == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in entity_tags(value) or ())


class _Order(Enum):
    """How the time of last change compares to a date, when both are known."""

    LATER = "later"
    NOT_LATER = "not later"


def _compare(modified_s: int | None, field: str | None, now_s: int) -> _Order | None:
    date = None if field is None else parse_date(field, now_s)
    if modified_s is None or date is None:
        return None
    return _Order.LATER if modified_s > date else _Order.NOT_LATER
