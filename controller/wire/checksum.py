"""The Internet checksum over an IPv6 pseudo-header (RFC 8200 section 8.1, RFC 1071)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address


def internet_checksum(data: bytes) -> int:
    """The ones' complement of the ones' complement sum of 16-bit words (RFC 1071); 0 over valid data."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def upper_layer_checksum(source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes) -> int:
    """The checksum of a packet whose own checksum field is zero; 0 when it is filled in right."""
    pseudo = source.packed + destination.packed + struct.pack("!I3xB", len(payload), protocol)
    return internet_checksum(pseudo + payload)
