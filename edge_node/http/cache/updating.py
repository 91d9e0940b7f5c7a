"""Bringing stored responses up to date by what a 304 or a HEAD says (RFC 9111 sections 3.2, 4.3.4, 4.3.5)."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from edge_node.http.cache.freshness import initial_age_s, terms
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.stored import Arrival, StoredResponse
from edge_node.http.cache.storing import storable_fields
from edge_node.http.conditions import is_strong, same_tag
from edge_node.http.fields import combined, overwritten, without
from edge_node.http.messages import Fields

_NOT_UPDATED = frozenset(
    {"age", "via", "content-digest", "content-encoding", "content-length", "content-md5", "content-range"}
    | {"repr-digest"}
)
"""Fields that describe the stored bytes, or the message at hand: one without content must not change them
(section 3.2)."""


class Verdict(Enum):
    """What a response says of the one that is stored."""

    SAME = "same"
    OTHER = "other"


def validation_fields(stored: StoredResponse) -> Fields:
    """The conditions that ask whether `stored` is still current (section 4.3.1)."""
    fields: Fields = ()
    if stored.etag is not None:
        fields += (("if-none-match", stored.etag),)
    if stored.modified is not None:
        fields += (("if-modified-since", stored.modified),)
    return fields


def not_modified_means(stored: StoredResponse, fields: Fields) -> Verdict:
    """Whether a 304 with these fields speaks of `stored` (section 4.3.4).

    A validator it carries must be the stored one; without any it can only mean what was asked about.
    """
    etag, modified = combined(fields, "etag"), combined(fields, "last-modified")
    if etag is not None:
        same = same_tag(etag, stored.etag, weakly=not is_strong(etag))
    else:
        same = modified is None or stored.modified is None or modified == stored.modified
    return Verdict.SAME if same else Verdict.OTHER


def head_means(stored: StoredResponse, fields: Fields) -> Verdict:
    """Whether a 200 to HEAD with these fields speaks of `stored`: no validator, nor the length, may differ
    (section 4.3.5)."""
    length = combined(fields, "content-length")
    if length is not None and length != str(stored.size):
        return Verdict.OTHER
    etag, modified = combined(fields, "etag"), combined(fields, "last-modified")
    same = (etag is None or etag == stored.etag) and (modified is None or modified == stored.modified)
    return Verdict.SAME if same else Verdict.OTHER


def updated(stored: StoredResponse, fields: Fields, arrival: Arrival, policy: Policy) -> StoredResponse:
    """`stored` with the fields of a response that said it is still current, and as young as that."""
    fresh = without(storable_fields(fields), _NOT_UPDATED)
    merged = overwritten(stored.fields, fresh)
    return replace(
        stored,
        fields=merged,
        received_s=arrival.received_s,
        initial_age_s=initial_age_s(fields, arrival.requested_s, arrival.received_s),
        terms=terms(stored.status, merged, arrival.received_s, policy),
    )
