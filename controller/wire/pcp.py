"""The Port Control Protocol (RFC 6887) as far as an IPv6 gateway needs it: the MAP operation, by which a host
opens one of its own ports for connections from outside. Addresses and ports stay as they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address
from typing import NamedTuple

from controller.wire.frames import WireError

PCP_PORT = 5351
"""UDP, at the router (RFC 6887 section 19.1)."""
MAX_BYTES = 1100
NO_WISH = IPv6Address("::")
NONCE_BYTES = 12
_VERSION = 2
_MAP = 1
_RESPONSE = 0x80
_PREFER_FAILURE = 2
_FIRST_OPTIONAL = 128
"""Options below must be understood (RFC 6887 section 7.3)."""

_HEADER = struct.Struct("!BBHI16s")
_ANSWER_HEADER = struct.Struct("!BBBBII12x")
_MAPPING = struct.Struct(f"!{NONCE_BYTES}sB3xHH16s")
_OPTION = struct.Struct("!BxH")


class ResultCode(IntEnum):
    """What a server answers (RFC 6887 section 7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


class PcpError(WireError):
    """A request that is answered with an error; `code` says which, `lifetime_s` for how long it will be the
    same where that is known."""

    def __init__(self, code: ResultCode, why: str, lifetime_s: int | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.lifetime_s = lifetime_s


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A host at `client` asks for `port` of itself to be open for `lifetime_s`; 0 closes it. Port 0 stands
    for all ports of the protocol, protocol 0 for all protocols. `external_port` and `external` are what the
    host would like to be seen as (0 and `::` for no wish); with `prefer_failure`, that or nothing."""

    client: IPv6Address
    nonce: bytes
    protocol: int
    port: int
    lifetime_s: int
    external_port: int = 0
    external: IPv6Address = NO_WISH
    prefer_failure: bool = False


@dataclass(frozen=True, slots=True)
class MapResponse:
    """The answer to a MAP request. `lifetime_s` is how long the port stays open, or how long the same error
    is to be expected; `epoch_s` counts from when the server knew nothing (RFC 6887 section 8.5)."""

    code: ResultCode
    lifetime_s: int
    epoch_s: int
    nonce: bytes
    protocol: int
    port: int
    external_port: int
    external: IPv6Address


class _Option(NamedTuple):
    code: int
    data: bytes


def is_request(data: bytes) -> bool:
    """Whether these bytes may be a request. Others are silently dropped: a response would be, or would be
    answered by, another (RFC 6887 section 8.3)."""
    return len(data) >= 2 and not data[1] & _RESPONSE


def encode_request(request: MapRequest) -> bytes:
    """The bytes of a request. Raises ValueError for a nonce of the wrong length."""
    header = _HEADER.pack(_VERSION, _MAP, 0, request.lifetime_s, request.client.packed)
    body = _mapping(request.nonce, request.protocol, request.port, request.external_port, request.external)
    return header + body + (_OPTION.pack(_PREFER_FAILURE, 0) if request.prefer_failure else b"")


def decode_request(data: bytes) -> MapRequest:
    """The MAP request in a datagram for which `is_request` holds. Raises PcpError with the code that the
    server is to answer (RFC 6887 sections 8.3 and 11.3)."""
    if data[0] != _VERSION:
        raise PcpError(ResultCode.UNSUPP_VERSION, f"version {data[0]}")
    if not _HEADER.size <= len(data) <= MAX_BYTES or len(data) % 4:
        raise PcpError(ResultCode.MALFORMED_REQUEST, f"{len(data)} bytes")
    _, opcode, _, lifetime_s, client = _HEADER.unpack_from(data)
    if opcode != _MAP:
        raise PcpError(ResultCode.UNSUPP_OPCODE, f"opcode {opcode}")
    if len(data) < _HEADER.size + _MAPPING.size:
        raise PcpError(ResultCode.MALFORMED_REQUEST, "MAP is cut short")
    nonce, protocol, port, external_port, external = _MAPPING.unpack_from(data, _HEADER.size)
    prefer_failure = False
    for option in _options(data, _HEADER.size + _MAPPING.size):
        if option.code == _PREFER_FAILURE:
            if prefer_failure or option.data:
                raise PcpError(ResultCode.MALFORMED_OPTION, "PREFER_FAILURE twice, or with data")
            if not lifetime_s:
                raise PcpError(ResultCode.MALFORMED_OPTION, "PREFER_FAILURE of a deletion")
            prefer_failure = True
        elif option.code < _FIRST_OPTIONAL:
            raise PcpError(ResultCode.UNSUPP_OPTION, f"option {option.code}")
    if protocol == 0 and port != 0:
        raise PcpError(ResultCode.MALFORMED_REQUEST, "a port of no protocol")
    return MapRequest(
        IPv6Address(client),
        nonce,
        protocol,
        port,
        lifetime_s,
        external_port,
        IPv6Address(external),
        prefer_failure,
    )


def encode_response(response: MapResponse) -> bytes:
    """The bytes of an answer to a request that could be read."""
    header = _answer_header(_MAP, response.code, response.lifetime_s, response.epoch_s)
    return header + _mapping(
        response.nonce, response.protocol, response.port, response.external_port, response.external
    )


def encode_error(request: bytes, code: ResultCode, lifetime_s: int, epoch_s: int) -> bytes:
    """The answer to a request that could not be read: what came, with the header of an error (RFC 6887
    section 8.3)."""
    rest = request[_HEADER.size : MAX_BYTES]
    header = _answer_header(request[1] & ~_RESPONSE, code, lifetime_s, epoch_s)
    return header + rest + bytes(-len(rest) % 4)


def decode_response(data: bytes) -> MapResponse:
    """A server's answer to a MAP request. Raises WireError for anything else."""
    if len(data) < _ANSWER_HEADER.size + _MAPPING.size or len(data) > MAX_BYTES or len(data) % 4:
        raise WireError(f"a PCP response of {len(data)} bytes")
    version, opcode, _, code, lifetime_s, epoch_s = _ANSWER_HEADER.unpack_from(data)
    if (version, opcode) != (_VERSION, _MAP | _RESPONSE):
        raise WireError(f"version {version}, opcode {opcode} is no response to MAP")
    nonce, protocol, port, external_port, external = _MAPPING.unpack_from(data, _ANSWER_HEADER.size)
    try:
        known = ResultCode(code)
    except ValueError:
        raise WireError(f"unknown result code {code}") from None
    return MapResponse(
        known, lifetime_s, epoch_s, nonce, protocol, port, external_port, IPv6Address(external)
    )


def _mapping(nonce: bytes, protocol: int, port: int, external_port: int, external: IPv6Address) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, this has {len(nonce)}")
    return _MAPPING.pack(nonce, protocol, port, external_port, external.packed)


def _answer_header(opcode: int, code: ResultCode, lifetime_s: int, epoch_s: int) -> bytes:
    return _ANSWER_HEADER.pack(_VERSION, opcode | _RESPONSE, 0, code, lifetime_s, epoch_s & 0xFFFF_FFFF)


def _options(data: bytes, start: int) -> Iterator[_Option]:
    while start < len(data):
        # The length of the whole is a multiple of 4, so there are 4 bytes here.
        code, length = _OPTION.unpack_from(data, start)
        start += _OPTION.size
        if start + length > len(data):
            raise PcpError(ResultCode.MALFORMED_OPTION, f"option {code} runs over the request")
        yield _Option(code, data[start : start + length])
        start += length + -length % 4
