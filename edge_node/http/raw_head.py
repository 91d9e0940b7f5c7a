"""The bytes of a request's head before a lenient parser reads them (RFC 9112 sections 2 to 5).

A parser that takes a bare LF for the end of a line, or joins folded lines, agrees with no other on where one
request ends. So these are refused before it sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_node.http.hygiene import DEFAULT_LIMITS, Limits, RawFields, Refusal, check_request

_REQUEST_LINE = re.compile(rb"(?P<method>[^ ]+) (?P<target>[^ ]+) HTTP/(?P<version>\d\.\d)")
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?#]*)(?P<rest>[/?].*)?", re.IGNORECASE)


def end_of_head(data: bytes | bytearray) -> int | None:
    """Where the head at the beginning of `data` ends, its empty line included; None while more has to come.

    Empty lines before it belong to it (section 2.2).
    """
    start = 0
    while data[start : start + 2] == b"\r\n":
        start += 2
    end = data.find(b"\r\n\r\n", start)
    return None if end < 0 else end + 4


def check_beginning(data: bytes | bytearray, limits: Limits = DEFAULT_LIMITS) -> Refusal | None:
    """Why to refuse a request of whose head only `data` has come so far; None while it may become one."""
    if len(data) > limits.target_bytes + limits.method_bytes + limits.all_fields_bytes:
        return Refusal(431, "the head does not end")
    if data[:1] and data[:1] not in b"\r" and not 0x21 <= data[0] <= 0x7E:
        return Refusal(400, "no request begins like this")
    return _check_line_ends(bytes(data[:-1] if data[-1:] == b"\r" else data))


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head that is in order: its target is in origin form or `*`, names are in lower case.

    `http_version` is 1.0 or 1.1. With `is_other` the bytes it was read from say all that in another way.
    """

    method: bytes
    target: bytes
    http_version: str
    fields: RawFields
    is_other: bool = False

    def to_bytes(self) -> bytes:
        """The head as one that says what this one does."""
        lines = (name + b": " + value for name, value in self.fields)
        first = b" ".join((self.method, self.target, f"HTTP/{self.http_version}".encode()))
        return b"\r\n".join((first, *lines, b"", b""))

    @property
    def is_last(self) -> bool:
        """Whether the client wants the connection closed after the answer (RFC 9112 section 9.6)."""
        return any(
            name == b"connection"
            and b"close" in (option.strip(b" \t") for option in value.lower().split(b","))
            for name, value in self.fields
        )

    @property
    def has_content(self) -> bool:
        """Whether content follows (RFC 9112 section 6.3)."""
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
            for name, value in self.fields
        )


def read_head(head: bytes, limits: Limits = DEFAULT_LIMITS) -> Head | Refusal:
    """What a head, which `end_of_head` has found, says; or why to refuse it."""
    refused = _check_line_ends(head)
    if refused is not None:
        return refused
    line, *lines = head.strip(b"\r\n").split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return Refusal(400, "the request line is not method, target and version with a space between")
    version = match["version"].decode()
    if not version.startswith("1."):
        return Refusal(505, f"no HTTP/{version} here")
    is_other = version not in ("1.0", "1.1")
    version = "1.1" if is_other else version  # RFC 9110 section 2.5
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            return Refusal(400, "a folded line")  # section 5.2
        name, colon, value = line.partition(b":")
        if not colon:
            return Refusal(400, "a line without a colon")
        if name != name.rstrip(b" \t"):
            return Refusal(400, "a space before a colon")  # section 5.1
        fields.append((name.lower(), value.strip(b" \t")))
    method, target = match["method"], match["target"]
    if not (absolute := _ABSOLUTE.fullmatch(target)):
        refused = check_request(method, target, version, fields, limits)
        return refused or Head(method, target, version, tuple(fields), is_other)
    target = absolute["rest"] or b"/"
    target = b"/" + target if target.startswith(b"?") else target
    refused = check_request(method, target, version, fields, limits)
    # What Host says does not count beside the target's (section 3.2.2).
    fields = [(b"host", absolute["authority"]), *(field for field in fields if field[0] != b"host")]
    refused = refused or check_request(method, target, version, fields, limits)
    return refused or Head(method, target, version, tuple(fields), is_other=True)


def _check_line_ends(data: bytes) -> Refusal | None:
    """Every CR and LF is half of a CRLF (section 2.2)."""
    if data.count(b"\r\n") != data.count(b"\n") or data.count(b"\r\n") != data.count(b"\r"):
        return Refusal(400, "a CR or LF alone")
    return None
