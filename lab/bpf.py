"""Classic BPF filters for captures, built by a small assembler (linux/filter.h, Linux's socket filters)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

SockFilter = tuple[int, int, int, int]
"""One instruction: code, jump if true, jump if false, operand (struct sock_filter)."""

_LOAD_WORD_ABSOLUTE = 0x20
_LOAD_HALF_ABSOLUTE = 0x28
_LOAD_BYTE_ABSOLUTE = 0x30
_JUMP_EQUAL = 0x15
_RETURN = 0x06
_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF: offsets from here read the packet's metadata
_PACKET_TYPE = _ANCILLARY + 4
_HARDWARE_TYPE = _ANCILLARY + 28
_PACKET_OUTGOING = 4
_ARPHRD_LOOPBACK = 772
_ETHERTYPE_OFFSET = 12
_IPV6_NEXT_HEADER_OFFSET = 14 + 6
_IPV6_DESTINATION_OFFSET = 14 + 24
_SOURCE_PORT_OFFSET, _DESTINATION_PORT_OFFSET = 14 + 40, 14 + 42
ACCEPT_WHOLE = 0x40000


@dataclass(frozen=True, slots=True)
class Condition:
    """Load a field; go on when it equals `value` (or does not, with `wanted` false), else reject."""

    load: int
    offset: int
    value: int
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """A named conjunction of conditions: a frame that passes them all is captured."""

    name: str
    conditions: tuple[Condition, ...]

    def assemble(self, keep_bytes: int = ACCEPT_WHOLE) -> tuple[SockFilter, ...]:
        """The program; it keeps the first `keep_bytes` bytes of an accepted frame."""
        program: list[SockFilter] = []
        for index, condition in enumerate(self.conditions):
            to_reject = 2 * (len(self.conditions) - index) - 1
            program.append((condition.load, 0, 0, condition.offset))
            jumps = (0, to_reject) if condition.wanted else (to_reject, 0)
            program.append((_JUMP_EQUAL, *jumps, condition.value))
        program.append((_RETURN, 0, 0, keep_bytes))
        program.append((_RETURN, 0, 0, 0))
        return tuple(program)


def encode(program: tuple[SockFilter, ...]) -> bytes:
    """The program as an array of struct sock_filter, in the machine's byte order."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_NOT_LOOPBACK = Condition(_LOAD_WORD_ABSOLUTE, _HARDWARE_TYPE, _ARPHRD_LOOPBACK, wanted=False)

INBOUND = Filter(
    "inbound",
    (_NOT_LOOPBACK, Condition(_LOAD_WORD_ABSOLUTE, _PACKET_TYPE, _PACKET_OUTGOING, wanted=False)),
)
"""Every frame that arrives at the host, whatever its protocol and destination."""

MULTICAST = Filter(
    "multicast",
    (
        _NOT_LOOPBACK,
        Condition(_LOAD_HALF_ABSOLUTE, _ETHERTYPE_OFFSET, 0x86DD),
        Condition(_LOAD_BYTE_ABSOLUTE, _IPV6_DESTINATION_OFFSET, 0xFF),
    ),
)
"""Frames to an IPv6 multicast address (ff00::/8), in both directions."""

NOTHING = Filter("nothing", (Condition(_LOAD_WORD_ABSOLUTE, _PACKET_TYPE, 0xFFFFFFFF),))
"""No frame at all; it ends a capture at one definite frame."""


def to_group(group: str) -> Filter:
    """Frames to one IPv6 address, all 128 bits of it."""
    words = struct.unpack(">4I", IPv6Address(group).packed)
    return Filter(
        f"to {group}",
        (
            _NOT_LOOPBACK,
            Condition(_LOAD_HALF_ABSOLUTE, _ETHERTYPE_OFFSET, 0x86DD),
            *(
                Condition(_LOAD_WORD_ABSOLUTE, _IPV6_DESTINATION_OFFSET + 4 * index, word)
                for index, word in enumerate(words)
            ),
        ),
    )


def of_tcp_port(port: int) -> tuple[Filter, Filter]:
    """IPv6 frames to and from a TCP port, as far as TCP's header comes first (no extension headers)."""
    common = (
        _NOT_LOOPBACK,
        Condition(_LOAD_HALF_ABSOLUTE, _ETHERTYPE_OFFSET, 0x86DD),
        Condition(_LOAD_BYTE_ABSOLUTE, _IPV6_NEXT_HEADER_OFFSET, socket.IPPROTO_TCP),
    )
    to = Condition(_LOAD_HALF_ABSOLUTE, _DESTINATION_PORT_OFFSET, port)
    since = Condition(_LOAD_HALF_ABSOLUTE, _SOURCE_PORT_OFFSET, port)
    return Filter(f"to TCP port {port}", (*common, to)), Filter(f"from TCP port {port}", (*common, since))
