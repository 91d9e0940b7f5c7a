"""A stored response: its metadata, and which blobs hold its content (RFC 9111 section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_node.http.cache.freshness import Terms, date_of, initial_age_s, terms
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.storing import storable_fields
from edge_node.http.cache.variants import Selecting
from edge_node.http.conditions import is_strong
from edge_node.http.fields import combined, values, without
from edge_node.http.messages import Fields, Slice

_OF_THE_MESSAGE = frozenset({"content-length", "content-digest", "age"})
"""Fields of the message that brought the response: they are made anew for each answer."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The blob `sha256` is the bytes from `start` to `stop` (exclusive) of a representation."""

    start: int
    stop: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Validators:
    """What a condition is compared with (see `conditions.Validated`)."""

    etag: str | None
    modified_s: int | None


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response to GET under its URL's `key`, for requests that its `selecting` fields fit.

    `status` is that of the whole representation (a stored 206 counts as 200), `size` its length; `segments`
    are the pieces that are here. It was `initial_age_s` old when it came, at `received_s`.
    """

    key: str
    selecting: Selecting
    status: int
    fields: Fields
    segments: tuple[Segment, ...]
    size: int
    received_s: float
    initial_age_s: float
    terms: Terms

    def age_s(self, now_s: float) -> float:
        """The current age (section 4.2.3); a clock that goes back makes nothing younger than it came."""
        return self.initial_age_s + max(0.0, now_s - self.received_s)

    def time_left_s(self, now_s: float) -> float:
        """How long it stays fresh; zero or less once it is stale (section 4.2)."""
        return self.terms.lifetime_s - self.age_s(now_s)

    @property
    def etag(self) -> str | None:
        """The entity tag, None when it has none."""
        tags = values(self.fields, "etag")
        return tags[0] if tags else None

    @property
    def modified(self) -> str | None:
        """Last-Modified as it was sent."""
        return combined(self.fields, "last-modified")

    @property
    def has_validator(self) -> bool:
        """Whether the origin can be asked if it is still current."""
        return self.etag is not None or self.modified is not None

    @property
    def validators(self) -> Validators:
        """The validators that it has."""
        return Validators(self.etag, date_of(self.fields, "last-modified", self.received_s))

    @property
    def dated(self) -> Validators:
        """The validators for If-Modified-Since, for which Date, and else the time it came, stand in for a
        Last-Modified that is not there (section 4.3.2)."""
        own = self.validators
        if own.modified_s is not None:
            return own
        date_s = date_of(self.fields, "date", self.received_s)
        return Validators(own.etag, int(self.received_s) if date_s is None else date_s)

    @property
    def content_type(self) -> str:
        """The media type, "" when the origin gave none."""
        return combined(self.fields, "content-type") or ""

    @property
    def sha256(self) -> str:
        """The digest of the whole content when one blob holds it, else of some of it."""
        return self.segments[0].sha256 if self.segments else ""

    @property
    def whole_sha256(self) -> str | None:
        """The digest of the whole content, None when it is in pieces or not all here."""
        first = self.segments[0] if self.segments else None
        return first.sha256 if first is not None and (first.start, first.stop) == (0, self.size) else None

    @property
    def is_complete(self) -> bool:
        """Whether all of the content is here."""
        return self.covers(0, self.size)

    def covers(self, start: int, stop: int) -> bool:
        """Whether the bytes from `start` to `stop` (exclusive) are here."""
        return sum(piece.stop - piece.start for piece in self.slices(start, stop)) == stop - start

    @property
    def prefix_bytes(self) -> int:
        """How many bytes are here without a gap from the beginning on."""
        return sum(piece.stop - piece.start for piece in self.slices(0, self.size))

    def slices(self, start: int, stop: int) -> tuple[Slice, ...]:
        """Where the bytes from `start` to `stop` (exclusive) are, up to the first that is not here."""
        pieces: list[Slice] = []
        while start < stop:
            holders = [segment for segment in self.segments if segment.start <= start < segment.stop]
            if not holders:
                break
            best = max(holders, key=lambda segment: segment.stop)
            end = min(stop, best.stop)
            pieces.append(Slice(best.sha256, start - best.start, end - best.start))
            start = end
        return tuple(pieces)


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a response was asked for and when its head came, in seconds since the epoch."""

    requested_s: float
    received_s: float


def stored_response(
    key: str,
    selecting: Selecting,
    status: int,
    fields: Fields,
    segments: tuple[Segment, ...],
    size: int,
    arrival: Arrival,
    policy: Policy,
) -> StoredResponse:
    """A response that came with these `fields`, ready to be stored."""
    dropped = _OF_THE_MESSAGE | {"content-range"} if status == 206 else _OF_THE_MESSAGE
    return StoredResponse(
        key,
        selecting,
        200 if status == 206 else status,
        without(storable_fields(fields), dropped),
        segments,
        size,
        arrival.received_s,
        initial_age_s(fields, arrival.requested_s, arrival.received_s),
        terms(status, fields, arrival.received_s, policy),
    )


def combined_parts(new: StoredResponse, old: StoredResponse, most_parts: int) -> StoredResponse:
    """`new` with the content of `old` besides its own, where both are parts of one representation: they have
    the same strong entity tag and length (section 3.4). The fields are those of `new`, and of `old` those
    that it lacks."""
    if not is_strong(new.etag) or new.etag != old.etag or new.size != old.size:
        return new
    useful = [part for part in old.segments if not new.covers(part.start, part.stop)]
    segments = (*new.segments, *useful)[:most_parts]
    missing = without(old.fields, {name for name, _ in new.fields})
    return replace(new, segments=segments, fields=(*new.fields, *missing))
