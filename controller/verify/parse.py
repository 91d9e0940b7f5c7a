"""Read the bytes of a frame as Open vSwitch's kernel datapath does, so that what was sent can be followed
through the tables (`controller.verify.walk`).

Fragments are handled as in its mode `normal`: they pass the tables like other packets, but their ports and
ICMPv6 types are hidden, also in a first fragment and in one that is the whole packet (RFC 8200 section 4.5).
Connection tracking puts fragments together; here each is followed for itself.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import NamedTuple

from controller.verify.packet import ETHERNET_BYTES, TCP, Packet
from controller.wire.frames import (
    ETH_TYPE_IPV6,
    HOP_BY_HOP,
    ICMPV6,
    IPV6_LENGTH,
    UDP,
    WireError,
    mac_text,
)

ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT_HEADER, DESTINATION_OPTIONS = 43, 44, 51, 59, 60
_SKIPPED = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS})
"""Extension headers that the datapath looks behind; Mobility, HIP, Shim6 and ESP are the end for it."""
_VLAN_TYPES = frozenset({0x8100, 0x88A8})
_VLAN_BYTES = 4
_SNAP = b"\xaa\xaa\x03\0\0\0"
_FIRST_TYPE = 0x0600
"""Below, the field after the addresses is a length (IEEE 802.3)."""
_PLACE = 0xFFF8


def parse_packet(data: bytes) -> Packet:
    """The packet in a frame. Raises WireError when it is none for any rule: not IPv6, or no whole IPv6
    header."""
    if len(data) < ETHERNET_BYTES:
        raise WireError("too short for a frame")
    tags, kind, start = _ether_type(data)
    if kind != ETH_TYPE_IPV6:
        raise WireError("not IPv6")
    if len(data) < start + IPV6_LENGTH or data[start] >> 4 != 6:
        raise WireError("no whole IPv6 header")
    upper = _upper_layer(data, start)
    ports: tuple[int, int] | None = None
    icmpv6_type: int | None = None
    if not upper.is_fragment:
        if upper.protocol in (TCP, UDP) and len(data) >= upper.offset + 4:
            ports = struct.unpack_from("!HH", data, upper.offset)
        elif upper.protocol == ICMPV6 and len(data) > upper.offset:
            icmpv6_type = data[upper.offset]
    return Packet(
        eth_src=mac_text(data[6:12]),
        eth_dst=mac_text(data[:6]),
        src=IPv6Address(data[start + 8 : start + 24]),
        dst=IPv6Address(data[start + 24 : start + 40]),
        ip_proto=upper.protocol,
        port_src=ports[0] if ports else None,
        port_dst=ports[1] if ports else None,
        icmpv6_type=icmpv6_type,
        hop_limit=data[start + 7],
        frame_bytes=len(data) - _VLAN_BYTES * len(tags),
        tags=tags,
        is_fragment=upper.is_fragment,
    )


def _ether_type(data: bytes) -> tuple[tuple[int, ...], int, int]:
    """The VLAN tags, the type behind them, and where what it names begins."""
    tags: list[int] = []
    at = ETHERNET_BYTES - 2
    while True:
        if len(data) < at + 2:
            raise WireError("too short for its tags")
        (kind,) = struct.unpack_from("!H", data, at)
        at += 2
        if kind not in _VLAN_TYPES:
            break
        if len(data) < at + 2:
            raise WireError("too short for its tags")
        tags.append(struct.unpack_from("!H", data, at)[0] & 0xFFF)
        at += 2
    if kind < _FIRST_TYPE and data[at : at + len(_SNAP)] == _SNAP and len(data) >= at + len(_SNAP) + 2:
        at += len(_SNAP)
        (kind,) = struct.unpack_from("!H", data, at)
        at += 2
    return tuple(tags), kind, at


class _Upper(NamedTuple):
    """The protocol behind the extension headers and where it begins; in fragments its fields are hidden."""

    protocol: int
    offset: int
    is_fragment: bool


def _upper_layer(data: bytes, start: int) -> _Upper:
    protocol, offset, is_fragment = data[start + 6], start + IPV6_LENGTH, False
    while protocol in _SKIPPED:
        is_fragment |= protocol == FRAGMENT
        if len(data) < offset + 8:
            return _Upper(NO_NEXT_HEADER, offset, is_fragment)
        following, length = data[offset], data[offset + 1]
        if protocol == FRAGMENT:
            if struct.unpack_from("!H", data, offset + 2)[0] & _PLACE:
                return _Upper(FRAGMENT, offset, True)
            offset += 8
        elif protocol == AUTHENTICATION:
            offset += (length + 2) * 4
        else:
            offset += (length + 1) * 8
        protocol = following
    return _Upper(protocol, offset, is_fragment)
