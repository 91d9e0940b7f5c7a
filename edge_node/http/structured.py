"""Structured fields (RFC 9651): dictionaries are read, items are written; parameters are read over."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TypeAlias

Bare: TypeAlias = bool | int | float | str | bytes
"""An item: a token and a string are both `str`, a date is its number of seconds."""

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,3})?(?![\d.])", re.ASCII)
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN = re.compile(r"\?([01])")
_DATE = re.compile(r"@(-?\d{1,15})(?![\d.])", re.ASCII)
_DISPLAY = re.compile(r'%"([\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"')
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_SPACES = re.compile(r" *")


class MalformedError(ValueError):
    """The value is no structured field: the whole field is to be ignored (section 4.2)."""


class Token(str):
    """A `str` that was written without quotes (section 3.3.4)."""

    __slots__ = ()


def parse_dictionary(value: str) -> dict[str, Bare | tuple[Bare, ...]]:
    """The members of a dictionary (section 4.2.2); the last of several with one key counts. Raises
    MalformedError."""
    return _Reader(value).dictionary()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text.strip(" ")
        self._at = 0

    def dictionary(self) -> dict[str, Bare | tuple[Bare, ...]]:
        members: dict[str, Bare | tuple[Bare, ...]] = {}
        while self._at < len(self._text):
            key = self._take(_KEY)[0]
            value: Bare | tuple[Bare, ...] = True
            if self._skip("="):
                value = self._inner_list() if self._skip("(") else self._item()
            self._parameters()
            members.pop(key, None)
            members[key] = value
            if self._at == len(self._text):
                break
            self._take(_COMMA)
            if self._at == len(self._text):
                raise MalformedError("a comma with nothing after it")
        return members

    def _inner_list(self) -> tuple[Bare, ...]:
        items: list[Bare] = []
        while True:
            self._take(_SPACES)
            if self._skip(")"):
                return tuple(items)
            items.append(self._item())
            self._parameters()
            if self._text[self._at : self._at + 1] not in (" ", ")"):
                raise MalformedError("items of a list run together")

    def _parameters(self) -> None:
        while self._skip(";"):
            self._take(_SPACES)
            self._take(_KEY)
            if self._skip("="):
                self._item()

    def _item(self) -> Bare:
        for pattern, read in _ITEMS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return read(match)
        raise MalformedError(f"no item at {self._at}")

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise MalformedError(f"unexpected character at {self._at}")
        self._at = match.end()
        return match

    def _skip(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found


def _number(match: re.Match[str]) -> Bare:
    text = match[0]
    if "." not in text:
        return int(text)
    if len(text.lstrip("-").split(".")[0]) > 12:
        raise MalformedError("a decimal with more than 12 digits before the point")
    return float(text)


def _bytes(match: re.Match[str]) -> Bare:
    try:
        return base64.b64decode(match[1], validate=True)
    except binascii.Error:
        raise MalformedError("a byte sequence that is not base64") from None


_ITEMS = (
    (_NUMBER, _number),
    (_STRING, lambda match: re.sub(r"\\(.)", r"\1", match[1])),
    (_TOKEN, lambda match: Token(match[0])),
    (_BYTES, _bytes),
    (_BOOLEAN, lambda match: match[1] == "1"),
    (_DATE, lambda match: int(match[1])),
    (_DISPLAY, lambda match: str(match[0])),
)


def serialized(item: Bare) -> str:
    """An item as it is written (section 4.1): a `Token` as a token, any other `str` as a string, with
    question marks for what that cannot hold."""
    if isinstance(item, bool):
        return f"?{item:d}"
    if isinstance(item, bytes):
        return f":{base64.b64encode(item).decode()}:"
    if isinstance(item, Token):
        return item
    if isinstance(item, str):
        printable = "".join(character if " " <= character <= "~" else "?" for character in item)
        escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{item}"


def token_or_string(text: str) -> str:
    """`text` as a token where it can be one, else as a string: so caches are named (RFC 9211 section 2)."""
    return serialized(Token(text) if _TOKEN.fullmatch(text) else text)
