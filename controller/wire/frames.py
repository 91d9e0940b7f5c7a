"""Ethernet frames that carry IPv6 (RFC 2464, RFC 8200)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple

ETH_TYPE_IPV6 = 0x86DD
HOP_BY_HOP = 0
UDP = 17
ICMPV6 = 58

IPV6_LENGTH = 40
_ETHERNET_LENGTH = 14
_ETH_TYPE_VLAN = 0x8100
_VLAN_LENGTH = 4
_ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION_OPTIONS = 43, 44, 51, 60
_MOBILITY, _HIP, _SHIM6 = 135, 139, 140
_IN_EIGHTS = frozenset({HOP_BY_HOP, _ROUTING, _DESTINATION_OPTIONS, _MOBILITY, _HIP, _SHIM6})
"""Extension headers whose second byte is their length in units of 8 bytes, the first 8 not counted."""
_PAD1 = 0
_ROUTER_ALERT = 5
_ROUTER_ALERT_HEADER = bytes((ICMPV6, 0, _ROUTER_ALERT, 2, 0, 0, 1, 0))
"""Hop-by-Hop header: Router Alert with value 0, "contains MLD" (RFC 2711), padded by a PadN of no bytes."""


class WireError(ValueError):
    """Bytes that are not a valid message; the text says why. Such packets are silently dropped."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One Ethernet frame with an IPv6 packet; `payload` starts after the Hop-by-Hop header, if there is one.

    Other extension headers are left in the payload with `protocol` naming the first of them, so that
    nothing behind them is ever taken for a message to the router (RFC 6980, RFC 7113).
    """

    eth_src: str
    eth_dst: str
    src: IPv6Address
    dst: IPv6Address
    hop_limit: int
    protocol: int
    payload: bytes
    router_alert: bool = False


def mac_text(raw: bytes) -> str:
    """Six bytes as `02:00:00:00:00:01`."""
    return raw.hex(":")


def mac_bytes(text: str) -> bytes:
    """The inverse of `mac_text`."""
    return bytes.fromhex(text.replace(":", ""))


def multicast_mac(group: IPv6Address) -> str:
    """The Ethernet address of an IPv6 multicast group: 33:33 and its last four bytes (RFC 2464 section 7)."""
    return mac_text(b"\x33\x33" + group.packed[-4:])


def parse_frame(data: bytes) -> Frame:
    """Parse an Ethernet frame. Raises WireError for anything but a whole IPv6 packet in it."""
    if len(data) < _ETHERNET_LENGTH + IPV6_LENGTH:
        raise WireError("too short for an IPv6 packet")
    (eth_type,) = struct.unpack_from("!H", data, 12)
    if eth_type != ETH_TYPE_IPV6 or data[14] >> 4 != 6:
        raise WireError("not IPv6")
    length, protocol, hop_limit = struct.unpack_from("!HBB", data, 18)
    start = _ETHERNET_LENGTH + IPV6_LENGTH
    # Ethernet pads short frames, so bytes after the payload are legal; missing ones are not.
    payload = bytes(data[start : start + length])
    if len(payload) != length:
        raise WireError("IPv6 payload is cut short")
    router_alert = False
    if protocol == HOP_BY_HOP:
        protocol, payload, router_alert = _hop_by_hop(payload)
    return Frame(
        eth_src=mac_text(bytes(data[6:12])),
        eth_dst=mac_text(bytes(data[:6])),
        src=IPv6Address(bytes(data[22:38])),
        dst=IPv6Address(bytes(data[38:54])),
        hop_limit=hop_limit,
        protocol=protocol,
        payload=payload,
        router_alert=router_alert,
    )


def _hop_by_hop(payload: bytes) -> tuple[int, bytes, bool]:
    if len(payload) < 8 or len(payload) < (payload[1] + 1) * 8:
        raise WireError("Hop-by-Hop header is cut short")
    end = (payload[1] + 1) * 8
    position, router_alert = 2, False
    while position < end:
        if payload[position] == _PAD1:
            position += 1
            continue
        if position + 2 > end or position + 2 + payload[position + 1] > end:
            raise WireError("Hop-by-Hop option runs over its header")
        if payload[position] == _ROUTER_ALERT:
            router_alert = True
        position += 2 + payload[position + 1]
    return payload[0], payload[end:], router_alert


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame; `router_alert` puts the Hop-by-Hop header of MLD in front of ICMPv6."""
    payload, protocol = frame.payload, frame.protocol
    if frame.router_alert:
        payload, protocol = _ROUTER_ALERT_HEADER + payload, HOP_BY_HOP
    return b"".join(
        (
            mac_bytes(frame.eth_dst),
            mac_bytes(frame.eth_src),
            struct.pack("!HIHBB", ETH_TYPE_IPV6, 6 << 28, len(payload), protocol, frame.hop_limit),
            frame.src.packed,
            frame.dst.packed,
            payload,
        )
    )


def readdressed(data: bytes, eth_src: str, eth_dst: str) -> bytes:
    """The frame with other Ethernet addresses."""
    return mac_bytes(eth_dst) + mac_bytes(eth_src) + data[12:]


def ipv6_packet(data: bytes) -> bytes:
    """The IPv6 packet of a frame with or without a VLAN tag, without the padding of Ethernet. Raises
    WireError when there is none or when it is cut short."""
    start = _ETHERNET_LENGTH
    if data[12:14] == struct.pack("!H", _ETH_TYPE_VLAN):
        start += _VLAN_LENGTH
    if len(data) < start + IPV6_LENGTH:
        raise WireError("too short for an IPv6 packet")
    if data[start - 2 : start] != struct.pack("!H", ETH_TYPE_IPV6) or data[start] >> 4 != 6:
        raise WireError("not IPv6")
    (length,) = struct.unpack_from("!H", data, start + 4)
    packet = data[start : start + IPV6_LENGTH + length]
    if len(packet) != IPV6_LENGTH + length:
        raise WireError("IPv6 payload is cut short")
    return packet


class UpperLayer(NamedTuple):
    """What an IPv6 packet carries behind its extension headers: `offset` is where in the packet it starts,
    None in fragments but the first."""

    protocol: int
    offset: int | None


def upper_layer(packet: bytes) -> UpperLayer:
    """Walk the extension headers of an IPv6 packet. Raises WireError when they are cut short."""
    protocol, offset = packet[6], IPV6_LENGTH
    while protocol in _IN_EIGHTS or protocol in (_FRAGMENT, _AUTHENTICATION):
        if len(packet) < offset + 8:
            raise WireError("extension header is cut short")
        following, length = packet[offset], packet[offset + 1]
        if protocol == _FRAGMENT:
            (place,) = struct.unpack_from("!H", packet, offset + 2)
            if place >> 3:
                return UpperLayer(following, None)
            offset += 8
        elif protocol == _AUTHENTICATION:
            offset += (length + 2) * 4
        else:
            offset += (length + 1) * 8
        protocol = following
    if offset > len(packet):
        raise WireError("extension header is cut short")
    return UpperLayer(protocol, offset)
