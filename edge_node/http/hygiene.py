"""What a request must be like before anybody looks at what it is for (RFC 9110, 9112): no smuggling.

A server's parser has read the request already; here is what parsers let pass, and what they do not limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_node.http.fields import TOKEN

RawFields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything is enough."""

    target_bytes: int = 8_192
    fields: int = 100
    field_bytes: int = 16_384
    all_fields_bytes: int = 32_768
    method_bytes: int = 32
    content_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and text with which a request is refused; the connection is closed after it."""

    status: int
    text: str


DEFAULT_LIMITS = Limits()
_TOKEN = re.compile(TOKEN.pattern.encode())
_TARGET = re.compile(rb"/[\x21\x22\x24-\x5b\x5d-\x7e]*")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"\d{1,18}")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::\d{0,5})?")
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_ONCE = frozenset(
    {b"authorization", b"content-type", b"expect", b"if-range", b"max-forwards", b"range", b"user-agent"}
)
"""Fields with a single value: of two, each reader could believe another one (RFC 9110 section 5.3)."""


def check_request(
    method: bytes, target: bytes, http_version: str, fields: RawFields, limits: Limits = DEFAULT_LIMITS
) -> Refusal | None:
    """Why to refuse a request with this method, target (path and query) and these fields, whose names are in
    lower case; None when it is in order."""
    refused = _check_line(method, target, limits) or _check_size(fields, limits)
    if refused is not None:
        return refused
    for name, value in fields:
        if not _TOKEN.fullmatch(name):
            return Refusal(400, "a field's name is no token")  # RFC 9110 section 5.1
        if _BAD_IN_VALUE.search(value):
            return Refusal(400, "a control character in a field")  # section 5.5
    return (
        _check_host(http_version, fields)
        or _check_multiplexed(http_version, fields)
        or check_framing(http_version, fields)
        or _check_once(fields)
        or _check_expectation(fields)
    )


def check_framing(http_version: str, fields: RawFields) -> Refusal | None:
    """Why nobody could be sure where the request ends (RFC 9112 sections 6.1 to 6.3); None when all agree."""
    lengths = [value.strip(b" \t") for name, value in fields if name == b"content-length"]
    codings = [value.strip(b" \t") for name, value in fields if name == b"transfer-encoding"]
    if lengths and codings:
        return Refusal(400, "both Content-Length and Transfer-Encoding")
    if len(lengths) > 1:
        return Refusal(400, "more than one Content-Length")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        return Refusal(400, "Content-Length is no number")
    if not codings:
        return None
    if http_version != "1.1":
        return Refusal(400, f"Transfer-Encoding in HTTP/{http_version}")
    if len(codings) > 1 or not codings[0]:
        return Refusal(400, "Transfer-Encoding is not one coding")
    if codings[0].lower() != b"chunked":
        is_framed = codings[0].lower().endswith(b"chunked")
        return Refusal(501 if is_framed else 400, "only the transfer coding chunked is known")
    return None


def _check_line(method: bytes, target: bytes, limits: Limits) -> Refusal | None:
    if not _TOKEN.fullmatch(method):
        return Refusal(400, "the method is no token")
    if len(method) > limits.method_bytes:
        return Refusal(501, "no method has such a name")
    if len(target) > limits.target_bytes:
        return Refusal(414, f"more than {limits.target_bytes} bytes of URI")
    if target == b"*":
        return None if method == b"OPTIONS" else Refusal(400, "only OPTIONS is for the server as a whole")
    if not _TARGET.fullmatch(target):
        return Refusal(400, "the target is no absolute path")  # RFC 9112 section 3.2
    return None


def _check_size(fields: RawFields, limits: Limits) -> Refusal | None:
    if len(fields) > limits.fields:
        return Refusal(431, f"more than {limits.fields} fields")
    sizes = [len(name) + len(value) for name, value in fields]
    if max(sizes, default=0) > limits.field_bytes or sum(sizes) > limits.all_fields_bytes:
        return Refusal(431, "too many bytes of fields")
    return None


def _check_host(http_version: str, fields: RawFields) -> Refusal | None:
    """Exactly one Host that can be one (RFC 9112 section 3.2); HTTP/1.0 may do without."""
    hosts = [value.strip(b" \t") for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version != "1.0"):
        return Refusal(400, "exactly one Host field is needed")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return Refusal(400, "Host is no host")
    return None


def _check_multiplexed(http_version: str, fields: RawFields) -> Refusal | None:
    """In HTTP/2 the connection is not for fields to speak of (RFC 9113 section 8.2.2), and it has a host."""
    if http_version in ("1.0", "1.1"):
        return None
    for name, value in fields:
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value.strip(b" \t").lower() != b"trailers"):
            return Refusal(400, f"{name.decode('latin-1')} is not for HTTP/{http_version}")
        if name == b"host" and not value:
            return Refusal(400, "no host")  # RFC 9110 section 4.2.2
    return None


def _check_once(fields: RawFields) -> Refusal | None:
    seen: set[bytes] = set()
    for name, _ in fields:
        if name in seen and name in _ONCE:
            return Refusal(400, f"more than one {name.decode('latin-1')}")
        seen.add(name)
    return None


def _check_expectation(fields: RawFields) -> Refusal | None:
    for name, value in fields:
        if name == b"expect" and value.strip(b" \t").lower() != b"100-continue":
            return Refusal(417, "nothing but 100-continue can be expected")  # RFC 9110 section 10.1.1
    return None
