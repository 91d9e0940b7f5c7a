"""The ICMPv6 header (RFC 4443 section 2.1): type, code and a checksum over the pseudo-header."""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv6Address

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, Frame, WireError


class IcmpType(IntEnum):
    """The message types that the controller handles or sends."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    MLD_QUERY = 130
    MLDV1_REPORT = 131
    MLDV1_DONE = 132
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOR_SOLICITATION = 135
    NEIGHBOR_ADVERTISEMENT = 136
    REDIRECT = 137
    MLDV2_REPORT = 143

    @property
    def is_link_local(self) -> bool:
        """Whether no router ever forwards it (RFC 4890 section 4.3.3)."""
        return self >= IcmpType.MLD_QUERY


def icmp_body(frame: Frame) -> tuple[int, bytes]:
    """The type and the bytes after the checksum of a message with code 0. Raises WireError otherwise."""
    data = frame.payload
    if frame.protocol != ICMPV6:
        raise WireError(f"protocol {frame.protocol} is not ICMPv6")
    if len(data) < 4:
        raise WireError("ICMPv6 message is cut short")
    if data[1] != 0:
        raise WireError(f"ICMPv6 code {data[1]} where 0 is required")
    if upper_layer_checksum(frame.src, frame.dst, ICMPV6, data) != 0:
        raise WireError("ICMPv6 checksum is wrong")
    return data[0], data[4:]


def icmp_message(
    source: IPv6Address, destination: IPv6Address, icmp_type: int, body: bytes, code: int = 0
) -> bytes:
    """An ICMPv6 message with its checksum."""
    header = struct.pack("!BBH", icmp_type, code, 0)
    checksum = upper_layer_checksum(source, destination, ICMPV6, header + body)
    return struct.pack("!BBH", icmp_type, code, checksum) + body
