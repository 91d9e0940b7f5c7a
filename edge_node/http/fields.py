"""Header fields as a tuple of (lower-case name, value) pairs, and the lists that values hold (RFC 9110 5)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from edge_node.http.messages import Fields

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""What a method, a field's name or a coding is made of (RFC 9110 section 5.6.2)."""
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_ESCAPED = re.compile(r"\\(.)")


def values(fields: Fields, name: str) -> list[str]:
    """The values of all lines of the field `name` (lower case), in order."""
    return [value for other, value in fields if other == name]


def combined(fields: Fields, name: str) -> str | None:
    """The value of the field `name`, its lines joined by a comma (section 5.3); None when there is none."""
    lines = values(fields, name)
    return ", ".join(lines) if lines else None


def without(fields: Fields, names: Container[str]) -> Fields:
    """The fields but for those called one of `names`."""
    return tuple((name, value) for name, value in fields if name not in names)


def overwritten(fields: Fields, others: Iterable[tuple[str, str]]) -> Fields:
    """The fields with those of `others` in place of the ones of the same names."""
    others = tuple(others)
    return (*without(fields, {name for name, _ in others}), *others)


def list_members(value: str) -> Iterator[str]:
    """The members of a comma-separated list, empty ones left out; a comma inside quotes separates nothing
    (sections 5.6.1 and 5.6.4)."""
    for match in _MEMBER.finditer(value):
        if member := match[0].strip(" \t"):
            yield member


def unquoted(text: str) -> str:
    """The content of a quoted string; any other text as it is (section 5.6.4)."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def names_listed(value: str | None) -> frozenset[str]:
    """The lower-case field names a list names, as Connection and Vary do."""
    return frozenset(member.lower() for member in list_members(value or ""))
