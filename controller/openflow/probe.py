"""Questions for `ofproto/trace`: a packet of the walker as a real frame, and what connection tracking is to
say of it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from controller.plan.rules import CONTROLLER_PORT, CtState
from controller.verify.packet import ETHERNET_BYTES, TCP, Packet
from controller.wire.frames import (
    HOP_BY_HOP,
    ICMPV6,
    IPV6_LENGTH,
    UDP,
    Frame,
    encode_frame,
)

FRAGMENT = 44
"""What Open vSwitch takes for the protocol of fragments but the first."""
CT_FLAGS: Mapping[CtState, str] = {
    CtState.NEW: "trk,new",
    CtState.ESTABLISHED: "trk,est",
    CtState.RELATED: "trk,rel",
    CtState.INVALID: "trk,inv",
}
_MACS_BYTES = 12
_ETH_TYPE_VLAN = 0x8100
_ROUTING, _AUTHENTICATION, _DESTINATION_OPTIONS = 43, 51, 60
_PASSED_OVER = (HOP_BY_HOP, _ROUTING, _AUTHENTICATION, _DESTINATION_OPTIONS)
"""Extension headers behind which Open vSwitch looks for the protocol."""
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_ICMPV6 = struct.Struct("!BBHI")
_FRAGMENT_HEADER = struct.Struct("!BxHI")
_SYN = 2
_LATER = 8
"""A fragment that begins behind the first 8 bytes, the last one."""
_MORE = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet that comes in by a port of a switch. `states` are what connection tracking says each time it
    is asked, then NEW; `mark` is the connection's, as known when it is first asked."""

    in_port: int
    packet: Packet
    states: tuple[CtState, ...] = ()
    mark: int = 0


def trace_arguments(
    bridge: str, probe: Probe, frame: bytes | None = None, flags: Mapping[CtState, str] = CT_FLAGS
) -> tuple[str, ...]:
    """The arguments of `ofproto/trace`. `frame` is one that `frame_of` has made of the packet in another way
    than the plain one; `flags` are the bits of each state. Raises ValueError as `frame_of`."""
    options = [word for state in probe.states for word in ("--ct-next", flags[state])]
    port = "CONTROLLER" if probe.in_port == CONTROLLER_PORT else str(probe.in_port)
    # A mark is only read of a packet that is tracked, and a trace takes it along to where it is tracked anew.
    tracked = f",ct_state=trk,ct_mark={probe.mark}" if probe.mark else ""
    data = frame_of(probe.packet) if frame is None else frame
    return (*options, bridge, f"in_port={port}{tracked}", data.hex())


def frame_of(packet: Packet, *, has_hop_by_hop: bool = False) -> bytes:
    """A frame with the fields of the packet and zeros for the rest, checksums too. A fragment is the first
    one, or one but the first where its protocol is FRAGMENT. Raises ValueError for a protocol that no frame
    can have, and for a frame too short for its headers."""
    if packet.ip_proto in _PASSED_OVER:
        raise ValueError(f"protocol {packet.ip_proto} is an extension header, which no switch stops at")
    if packet.ip_proto == FRAGMENT and not packet.is_fragment:
        raise ValueError("what has the protocol of fragments is one")
    protocol, headers = packet.ip_proto, _upper_header(packet)
    if packet.is_fragment and protocol != FRAGMENT:
        headers = _FRAGMENT_HEADER.pack(protocol, _MORE, 1) + headers
        protocol = FRAGMENT
    if has_hop_by_hop:
        headers = struct.pack("!BBBB4x", protocol, 0, 1, 4) + headers
        protocol = HOP_BY_HOP
    rest = packet.frame_bytes - ETHERNET_BYTES - IPV6_LENGTH - len(headers)
    if rest < 0:
        raise ValueError(f"{packet.frame_bytes} bytes are {-rest} too few for the headers of {packet}")
    macs, addresses = (packet.eth_src, packet.eth_dst), (packet.src, packet.dst)
    plain = encode_frame(Frame(*macs, *addresses, packet.hop_limit, protocol, headers + bytes(rest)))
    tags = b"".join(struct.pack("!HH", _ETH_TYPE_VLAN, tag) for tag in packet.tags)
    return plain[:_MACS_BYTES] + tags + plain[_MACS_BYTES:]


def _upper_header(packet: Packet) -> bytes:
    ports = packet.port_src or 0, packet.port_dst or 0
    if packet.ip_proto == TCP:
        return _TCP.pack(*ports, 0, 0, _TCP.size // 4 << 4, _SYN, 0xFFFF, 0, 0)
    if packet.ip_proto == UDP:
        return _UDP.pack(*ports, _UDP.size, 0)
    if packet.ip_proto == ICMPV6:
        return _ICMPV6.pack(packet.icmpv6_type or 0, 0, 0, 0)
    if packet.ip_proto == FRAGMENT:
        return _FRAGMENT_HEADER.pack(UDP, _LATER, 1)
    return b""
