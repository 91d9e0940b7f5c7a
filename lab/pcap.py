"""Capture files: a nanosecond pcap writer and reader, and as much of a frame as the claims ask for.

The format is draft-ietf-opsawg-pcap: magic 0xa1b23c4d, link type 1 (Ethernet).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import BinaryIO

MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_ETHERNET = 1
ETHERTYPE_IPV6 = 0x86DD
ETHERNET_BYTES = 14
IPV6_HEADER_BYTES = 40
LARGEST_FRAME_BYTES = 256 * 1024
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")


class PcapError(ValueError):
    """The file is not a nanosecond Ethernet capture; the text says what was found."""


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One record: time in nanoseconds since the epoch, length on the wire, the bytes that were kept."""

    time_ns: int
    original_length: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Ipv6Frame:
    """The Ethernet and IPv6 addresses of a frame (RFC 8200 section 3)."""

    source_mac: str
    destination_mac: str
    source: IPv6Address
    destination: IPv6Address
    next_header: int
    hop_limit: int

    @property
    def multicast_scope(self) -> int | None:
        """The scope of a multicast destination (RFC 4291 section 2.7), None for unicast."""
        packed = self.destination.packed
        return packed[1] & 0x0F if packed[0] == 0xFF else None


class PcapWriter:
    """Appends records to a file opened by the caller (buffered; the caller closes it)."""

    def __init__(self, file: BinaryIO, snaplen: int) -> None:
        self._write = file.write
        self._write(_FILE_HEADER.pack(MAGIC_NANOSECONDS, 2, 4, 0, 0, snaplen, LINKTYPE_ETHERNET))

    def write(self, seconds: int, nanoseconds: int, frame: bytes | memoryview, original_length: int) -> None:
        """Append one frame received at `seconds` and `nanoseconds` since the epoch."""
        self._write(_RECORD_HEADER.pack(seconds, nanoseconds, len(frame), original_length))
        self._write(frame)


def read_pcap(path: Path) -> Iterator[CapturedFrame]:
    """All frames of a capture, in file order; stops before a record that was cut off by a crash.

    Raises PcapError when the file is not a nanosecond Ethernet pcap, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_FILE_HEADER.size)
        if len(header) < _FILE_HEADER.size:
            raise PcapError(f"{path}: shorter than a pcap header; the capture did not start")
        magic, *_, linktype = _FILE_HEADER.unpack(header)
        if magic != MAGIC_NANOSECONDS:
            raise PcapError(f"{path}: magic {magic:#010x} is not a little-endian nanosecond pcap")
        if linktype != LINKTYPE_ETHERNET:
            raise PcapError(f"{path}: link type {linktype} is not Ethernet")
        while len(record := file.read(_RECORD_HEADER.size)) == _RECORD_HEADER.size:
            seconds, nanoseconds, kept, original = _RECORD_HEADER.unpack(record)
            if kept > LARGEST_FRAME_BYTES:
                raise PcapError(f"{path}: a record of {kept} bytes; the file is damaged")
            frame = file.read(kept)
            if len(frame) < kept:
                return
            yield CapturedFrame(seconds * 1_000_000_000 + nanoseconds, original, frame)


def source_mac(frame: bytes) -> str:
    """The Ethernet source of a frame, as six lower-case hexadecimal pairs."""
    return frame[6:12].hex(":")


def decode_ipv6(frame: bytes) -> Ipv6Frame | None:
    """The addresses of an IPv6 frame; None for any other frame and for one cut before its addresses."""
    if len(frame) < ETHERNET_BYTES + IPV6_HEADER_BYTES or frame[12:14] != b"\x86\xdd":
        return None
    return Ipv6Frame(
        source_mac=source_mac(frame),
        destination_mac=frame[0:6].hex(":"),
        source=IPv6Address(frame[22:38]),
        destination=IPv6Address(frame[38:54]),
        next_header=frame[20],
        hop_limit=frame[21],
    )
