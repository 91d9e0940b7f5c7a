"""The packets of a proof as frames that a host can send: with lengths and checksums filled in."""

from __future__ import annotations

import struct
from pathlib import Path

from controller.openflow.probe import frame_of
from controller.verify.packet import ETHERNET_BYTES, TCP, Packet
from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, IPV6_LENGTH, UDP
from lab.pcap import PcapWriter

_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMPV6: 2}
_UDP_LENGTH_AT = 4
_TAG_BYTES = 4
_MACS_BYTES = 12
_ETH_TYPE_VLAN = b"\x81\x00"
_HOP_LIMIT_AT = 7


def sendable_frame(packet: Packet) -> bytes:
    """A frame with the fields of the packet that a host would take for a whole one; of a fragment the rest is
    missing. Raises ValueError when no frame can be such a packet."""
    frame = frame_of(packet)
    at = _CHECKSUM_AT.get(packet.ip_proto)
    if at is None or packet.is_fragment:
        return frame
    start = ETHERNET_BYTES + _TAG_BYTES * len(packet.tags) + IPV6_LENGTH
    upper = bytearray(frame[start:])
    if packet.ip_proto == UDP:
        struct.pack_into("!H", upper, _UDP_LENGTH_AT, len(upper))
    checksum = upper_layer_checksum(packet.src, packet.dst, packet.ip_proto, bytes(upper))
    # In UDP zero would say that there is none (RFC 8200 section 8.1); both are the same number.
    struct.pack_into("!H", upper, at, checksum or 0xFFFF)
    return frame[:start] + bytes(upper)


def same_packet(one: bytes, other: bytes) -> bool:
    """Whether two frames have the same IPv6 packet, but for what routers change on the way."""
    return _packet(one) == _packet(other)


def _packet(frame: bytes) -> bytes:
    """The IPv6 packet of a frame without its hop limit and the frame's padding."""
    start = _MACS_BYTES
    while frame[start : start + 2] == _ETH_TYPE_VLAN:
        start += _TAG_BYTES
    packet = frame[start + 2 :]
    if len(packet) < IPV6_LENGTH:
        return b""
    whole = packet[: IPV6_LENGTH + int.from_bytes(packet[4:6])]
    return whole[:_HOP_LIMIT_AT] + whole[_HOP_LIMIT_AT + 1 :]


def save_frame(path: Path, frame: bytes) -> None:
    """Write a pcap file with one frame. Raises OSError."""
    with path.open("wb") as file:
        PcapWriter(file, max(len(frame), 1)).write(0, 0, frame, len(frame))
