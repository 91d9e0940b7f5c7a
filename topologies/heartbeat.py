"""What an edge says about itself, several times a second: the datagram that edge and controller share.

An edge sends it from its own address to its gateway, fe80::1; the access switch hands it to the
controller. Silence is as good as death (docs/architecture.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

HEARTBEAT_PORT = 8083
"""UDP, at fe80::1."""
HEARTBEAT_INTERVAL_S = 0.1
SILENCE_S = 0.25
"""So long after its last heartbeat an edge counts as dead."""

_MAGIC = b"ncHB"
_FORMAT = struct.Struct("!4sBBHI")


class EdgeState(IntEnum):
    """What an edge is ready for."""

    SERVING = 1
    OVERLOADED = 2
    """It serves what it has and asks for no new connections."""
    STOPPING = 3
    """Its process is about to end."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One datagram; `load_percent` is the share of the edge's capacity in use, `sequence` counts up."""

    state: EdgeState
    load_percent: int
    sequence: int


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """The datagram's payload, 12 bytes."""
    return _FORMAT.pack(
        _MAGIC, 1, heartbeat.state, min(heartbeat.load_percent, 0xFFFF), heartbeat.sequence & 0xFFFF_FFFF
    )


def decode_heartbeat(data: bytes) -> Heartbeat:
    """The inverse of `encode_heartbeat`. Raises ValueError for anything else."""
    if len(data) != _FORMAT.size:
        raise ValueError(f"a heartbeat has {_FORMAT.size} bytes, this has {len(data)}")
    magic, version, state, load_percent, sequence = _FORMAT.unpack(data)
    if magic != _MAGIC or version != 1:
        raise ValueError("not a heartbeat of version 1")
    return Heartbeat(EdgeState(state), load_percent, sequence)
