"""What goes into the cache machine, heads and bodies of upstream responses, and what it wants done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from edge_node.http.messages import Fields, Plan, Slice


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of an upstream response; the names of its fields are in lower case."""

    status: int
    fields: Fields
    http_version: str = "1.1"


@dataclass(frozen=True, slots=True)
class Body:
    """The content of an upstream response, now in the blob `sha256`."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the client with `plan`; its slices are of stored blobs."""

    client: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send a request upstream as `fetch`, with the content of the request of `client` (None: without any).
    Report with `head` and `end`, or with `failed`. Interim responses are for the client `asker`, if any."""

    fetch: int
    method: str
    target: str
    fields: Fields
    client: int | None = None
    asker: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The client waits for what comes of `fetch`, which is under way for somebody else."""

    client: int
    fetch: int


@dataclass(frozen=True, slots=True)
class Relay:
    """Answer the client with this head and the content of `fetch` from its beginning, as it comes, after the
    stored bytes of `before`. There is no content for HEAD, 204 and 304."""

    client: int
    fetch: int
    status: int
    fields: Fields
    before: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Write the content of `fetch` aside as it comes, and give it to `end` as a blob. Without this action
    nothing of it is kept."""

    fetch: int


@dataclass(frozen=True, slots=True)
class Drop:
    """End `fetch`: nobody wants the rest."""

    fetch: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Break the client's connection: its answer has begun and cannot be finished (RFC 9112 section 8)."""

    client: int


@dataclass(frozen=True, slots=True)
class Release:
    """No stored response refers to this blob any more."""

    sha256: str


Action: TypeAlias = Answer | Fetch | Wait | Relay | Keep | Drop | Abort | Release
