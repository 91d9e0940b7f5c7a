"""Digest fields (RFC 9530): SHA-256 of a representation or of a message's content, said and checked."""

from __future__ import annotations

from edge_node.http.fields import combined
from edge_node.http.messages import Fields
from edge_node.http.structured import MalformedError, parse_dictionary, serialized


def digest_value(sha256: str) -> str:
    """The value of Repr-Digest or Content-Digest for a SHA-256 in hex (sections 2 and 3).

    What a representation's digest covers is its bytes with their content coding.
    """
    return f"sha-256={serialized(bytes.fromhex(sha256))}"


def contradicts(fields: Fields, sha256: str, *, is_whole: bool) -> bool:
    """Whether a response's own digests say that content with this SHA-256 is damaged.

    Repr-Digest speaks of the content only when that is the whole representation. What cannot be read, and
    other algorithms, say nothing (section 5).
    """
    names = ("content-digest", "repr-digest") if is_whole else ("content-digest",)
    actual = bytes.fromhex(sha256)
    for name in names:
        value = combined(fields, name)
        if value is None:
            continue
        try:
            said = parse_dictionary(value).get("sha-256")
        except MalformedError:
            continue
        if isinstance(said, bytes) and said != actual:
            return True
    return False
