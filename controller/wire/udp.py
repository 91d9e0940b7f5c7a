"""UDP over IPv6 (RFC 768, RFC 8200 section 8.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import UDP, Frame, WireError

_HEADER = struct.Struct("!HHHH")
MAX_PAYLOAD_BYTES = 0xFFFF - _HEADER.size


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram."""

    source_port: int
    destination_port: int
    payload: bytes


def decode_udp(frame: Frame) -> Datagram:
    """The datagram in a packet; bytes after its end are ignored. Raises WireError for a wrong length or
    checksum, and for none: over IPv6 there has to be one."""
    data = frame.payload
    if frame.protocol != UDP:
        raise WireError(f"protocol {frame.protocol} is not UDP")
    if len(data) < _HEADER.size:
        raise WireError("UDP header is cut short")
    source_port, destination_port, length, checksum = _HEADER.unpack_from(data)
    if not _HEADER.size <= length <= len(data):
        raise WireError(f"UDP length {length} in a packet with {len(data)} bytes")
    if checksum == 0:
        raise WireError("UDP without a checksum")
    data = data[:length]
    if upper_layer_checksum(frame.src, frame.dst, UDP, data) != 0:
        raise WireError("UDP checksum is wrong")
    return Datagram(source_port, destination_port, data[_HEADER.size :])


def encode_udp(source: IPv6Address, destination: IPv6Address, datagram: Datagram) -> bytes:
    """The bytes of a datagram between these addresses. Raises ValueError when it is too long."""
    length = _HEADER.size + len(datagram.payload)
    if len(datagram.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{len(datagram.payload)} bytes do not fit into a UDP datagram")
    ports = datagram.source_port, datagram.destination_port
    unsummed = _HEADER.pack(*ports, length, 0) + datagram.payload
    # A sum of 0 is written as its other form, because 0 means that there is none.
    checksum = upper_layer_checksum(source, destination, UDP, unsummed) or 0xFFFF
    return _HEADER.pack(*ports, length, checksum) + datagram.payload
