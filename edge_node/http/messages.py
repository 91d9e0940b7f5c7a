"""What goes in and out of the pure HTTP core: a request, the file it is about, and the planned answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Request:
    """A request's control data and fields.

    `path` is the raw (still percent-encoded) path, `query` what follows the question mark. `fields`
    maps lower-case names to values; repeated fields are joined by a comma (RFC 9110 section 5.3), cookies by
    a semicolon (RFC 9113 section 8.2.3). `hosts` is the number of Host fields.
    """

    method: str
    path: str
    query: str = ""
    http_version: str = "1.1"
    fields: Mapping[str, str] | None = None
    hosts: int = 1
    scheme: str = "http"

    def field(self, name: str) -> str | None:
        """The value of the field `name` (lower case), or None when it was not sent."""
        return self.fields.get(name) if self.fields else None

    @property
    def target(self) -> str:
        """The request target in origin form (RFC 9112 section 3.2.1)."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def has_content(self) -> bool:
        """Whether content follows the head (RFC 9112 section 6.3)."""
        return self.field("transfer-encoding") is not None or self.field("content-length") not in (None, "0")


def request_from(
    method: str,
    path: str,
    query: str,
    http_version: str,
    raw_fields: Iterable[tuple[bytes, bytes]],
    scheme: str = "http",
) -> Request:
    """Build a `Request` from a server's list of (lower-case name, value) pairs."""
    fields: dict[str, str] = {}
    hosts = 0
    for raw_name, raw_value in raw_fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip(" \t")
        hosts += name == "host"
        separator = "; " if name == "cookie" else ", "
        fields[name] = f"{fields[name]}{separator}{value}" if name in fields else value
    return Request(method, path, query, http_version, fields, hosts, scheme)


@dataclass(frozen=True, slots=True)
class Coded:
    """The same content in a content coding (`zstd`, `br`, `gzip`): a blob of its own."""

    coding: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Representation:
    """A file as HTTP sees it: its content is named by `sha256` (hex), so equal tags mean equal bytes.

    `modified_s` is the time of its last change in seconds since the epoch, None when nobody knows;
    `version` that of the site it belongs to. `was_here` says that it had not to be fetched for this request,
    `is_by_users` that anybody may have written it. `is_codable` says that what a client gets depends on the
    codings it accepts; `coded` are the forms of it that are compressed; one of those, as a representation,
    says so with `coding`.
    """

    sha256: str
    size: int
    content_type: str
    modified_s: int | None = None
    version: int | None = None
    was_here: bool = True
    is_by_users: bool = False
    is_codable: bool = False
    coded: tuple[Coded, ...] = ()
    coding: str = ""

    @property
    def etag(self) -> str:
        """The strong entity tag (RFC 9110 section 8.8.3); the same on every edge that has the same bytes.

        Each coding has its own (section 8.8.3.3), of the coded bytes: two compressors make different ones.
        """
        return f'"{self.sha256}-{self.coding}"' if self.coding else f'"{self.sha256}"'

    def in_coding(self, coded: Coded) -> Representation:
        """This file as one of its `coded` forms."""
        return replace(self, sha256=coded.sha256, size=coded.size, coding=coded.coding)

    def slices(self, start: int, stop: int) -> tuple[Slice, ...]:
        """Where the bytes from `start` to `stop` (exclusive) are."""
        return (Slice(self.sha256, start, stop),) if start < stop else ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` to `stop` (exclusive) of the blob `sha256`, as a piece of a response's content."""

    sha256: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Fields: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: `content` is sent piece by piece in order; it is empty for HEAD, 204 and 304."""

    status: int
    fields: Fields
    content: tuple[bytes | Slice, ...] = ()
    close: bool = False
