"""Cache-Control (RFC 9111 section 5.2) and its targeted form for CDNs, CDN-Cache-Control (RFC 9213)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_node.http.fields import combined, list_members, names_listed, unquoted
from edge_node.http.messages import Fields
from edge_node.http.structured import Bare, MalformedError, Token, parse_dictionary

MAX_DELTA_S = 1 << 31
"""What a larger number of seconds counts as (section 1.2.2)."""
_DIRECTIVE = re.compile(
    r"(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r'(?:=(?P<argument>[!#$%&\'*+\-.^_`|~0-9A-Za-z]+|"(?:[^"\\]|\\.)*"))?'
)
_DIGITS = re.compile(r"\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Directives:
    """Directives by their lower-case names, with the argument or None; the first of several counts
    (section 4.2.1)."""

    arguments: Mapping[str, str | None] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the directive is there, with or without an argument."""
        return name in self.arguments

    def applies_to_all(self, name: str) -> bool:
        """Whether `private` or `no-cache` is there and means the response, not only the fields it names."""
        return name in self.arguments and self.arguments[name] is None

    def names(self, name: str) -> frozenset[str]:
        """The fields that a qualified `private` or `no-cache` names (sections 5.2.2.4 and 5.2.2.7)."""
        return names_listed(self.arguments.get(name))

    def seconds(self, name: str) -> int | None:
        """The argument in seconds, None when the directive is absent. What is no number counts as 0, which is
        the cautious reading of all of them (section 4.2.1)."""
        if name not in self.arguments:
            return None
        return delta_seconds(self.arguments[name] or "") or 0


def delta_seconds(text: str) -> int | None:
    """A number of seconds (section 1.2.2), None when `text` is none."""
    if not _DIGITS.fullmatch(text):
        return None
    return min(int(text), MAX_DELTA_S) if len(text) < 20 else MAX_DELTA_S


def parse_directives(value: str | None) -> Directives:
    """Read a Cache-Control field; members that are malformed are left out."""
    arguments: dict[str, str | None] = {}
    for member in list_members(value or ""):
        if match := _DIRECTIVE.fullmatch(member):
            argument = match["argument"]
            arguments.setdefault(match["name"].lower(), None if argument is None else unquoted(argument))
    return Directives(arguments)


@dataclass(frozen=True, slots=True)
class Governing:
    """The directives a cache goes by; those that are `targeted` at it make Expires count for nothing."""

    directives: Directives
    targeted: bool = False


def governing(fields: Fields) -> Governing:
    """The directives of a response for a CDN's cache: CDN-Cache-Control when there is one that can be read,
    else Cache-Control (RFC 9213 section 2.2)."""
    value = combined(fields, "cdn-cache-control")
    if value is not None:
        try:
            members = parse_dictionary(value)
        except MalformedError:
            members = {}
        if members:
            pairs = ((name.lower(), _argument(item)) for name, item in members.items())
            return Governing(Directives({name: found[0] for name, found in pairs if found}), targeted=True)
    return Governing(parse_directives(combined(fields, "cache-control")))


def _argument(item: Bare | tuple[Bare, ...]) -> tuple[str | None] | None:
    """A dictionary's value as a directive's argument, in a tuple; None for types that no directive has."""
    if isinstance(item, bool):
        return (None,) if item else None
    if isinstance(item, int):
        return (str(item),)
    if isinstance(item, str) and not isinstance(item, Token) and not _DIGITS.fullmatch(item):
        return (item,)  # field names; a number in quotes has the wrong type
    return None
