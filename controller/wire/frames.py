"""Ethernet frames that carry IPv6 (RFC 2464, RFC 8200), at most a Hop-by-Hop header before the payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

ETH_TYPE_IPV6 = 0x86DD
HOP_BY_HOP = 0
ICMPV6 = 58

_ETHERNET_LENGTH = 14
_IPV6_LENGTH = 40
_PAD1 = 0
_ROUTER_ALERT = 5
_ROUTER_ALERT_HEADER = bytes((ICMPV6, 0, _ROUTER_ALERT, 2, 0, 0, 1, 0))
"""Hop-by-Hop header: Router Alert with value 0, "contains MLD" (RFC 2711), padded by a PadN of no bytes."""


class WireError(ValueError):
    """Bytes that are not a valid message; the text says why. Such packets are silently dropped."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One Ethernet frame with an IPv6 packet; `payload` starts after the extension header, if any."""

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
    if len(data) < _ETHERNET_LENGTH + _IPV6_LENGTH:
        raise WireError("too short for an IPv6 packet")
    (eth_type,) = struct.unpack_from("!H", data, 12)
    if eth_type != ETH_TYPE_IPV6 or data[14] >> 4 != 6:
        raise WireError("not IPv6")
    length, protocol, hop_limit = struct.unpack_from("!HBB", data, 18)
    start = _ETHERNET_LENGTH + _IPV6_LENGTH
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
