"""Asynchronous Layered Coding packets (RFC 5775): LCT header, FEC payload ID, encoding symbol.

Also the FEC Object Transmission Information that RFC 5052 asks for, as EXT_FTI carries it, for the two FEC
schemes in use: no code (FEC Encoding ID 0, RFC 5445) and RaptorQ (6, RFC 6330).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from delivery.lct import EXT_CENC, EXT_FDT, EXT_FTI, LctError, LctHeader, decode_lct

FDT_TOI = 0
"""The object that describes the others (RFC 6726 section 3.3)."""
NO_CODE = 0
RAPTORQ = 6
FLUTE_VERSION = 2
"""FLUTE's version in EXT_FDT (RFC 6726 section 3.4.1); version 1 (RFC 3926) is read as well."""


@dataclass(frozen=True, slots=True)
class Oti:
    """How one object was cut into symbols. `transfer_length` and `symbol_size` count bytes.

    `max_block_symbols` belongs to no code, the three others (Z, N, Al) to RaptorQ.
    """

    fec_id: int
    transfer_length: int
    symbol_size: int
    max_block_symbols: int = 0
    source_blocks: int = 1
    sub_blocks: int = 1
    alignment: int = 8

    @property
    def source_symbols(self) -> int:
        """The number of source symbols of the whole object (one even for an empty object)."""
        return max(1, -(-self.transfer_length // self.symbol_size))


@dataclass(frozen=True, slots=True)
class AlcPacket:
    """A parsed packet: header, source block number, encoding symbol ID and the symbol itself."""

    header: LctHeader
    sbn: int
    esi: int
    symbol: bytes


def encode_payload_id(fec_id: int, sbn: int, esi: int) -> bytes:
    """The four octets between header and symbol: SBN and ESI of 16 bits each, or of 8 and 24 for RaptorQ."""
    if fec_id == RAPTORQ:
        return (sbn << 24 | esi).to_bytes(4, "big")
    return (sbn << 16 | esi).to_bytes(4, "big")


def decode_packet(data: bytes) -> AlcPacket:
    """Parse one datagram. Raises LctError for anything that is no ALC packet of a known FEC scheme."""
    header, end = decode_lct(data)
    if len(data) < end + 4:
        if len(data) == end and (header.close_session or header.close_object):
            return AlcPacket(header, 0, 0, b"")
        raise LctError("packet ends before its FEC payload ID")
    number = int.from_bytes(data[end : end + 4], "big")
    if header.codepoint == RAPTORQ:
        return AlcPacket(header, number >> 24, number & 0xFFFFFF, data[end + 4 :])
    if header.codepoint == NO_CODE:
        return AlcPacket(header, number >> 16, number & 0xFFFF, data[end + 4 :])
    raise LctError(f"FEC Encoding ID {header.codepoint} is not spoken here")


def encode_fti(oti: Oti) -> tuple[int, bytes]:
    """The EXT_FTI header extension of an object (RFC 5445 section 3.2.3, RFC 6330 section 3.3.2)."""
    if oti.fec_id == RAPTORQ:
        fields = (
            oti.transfer_length << 24 | oti.symbol_size,
            oti.source_blocks << 8 | oti.sub_blocks >> 8,
            (oti.sub_blocks & 255) << 24 | oti.alignment << 16,
        )
    else:
        fields = (oti.transfer_length << 16, oti.symbol_size, oti.max_block_symbols)
    return EXT_FTI, struct.pack("!QHI", *fields)


def decode_fti(header: LctHeader) -> Oti | None:
    """The object's transmission information when the packet carries EXT_FTI. Raises LctError."""
    content = header.extension(EXT_FTI)
    if content is None:
        return None
    if len(content) != 14:
        raise LctError(f"EXT_FTI of {len(content)} octets")
    first, second, third = struct.unpack("!QHI", content)
    if header.codepoint == RAPTORQ:
        return Oti(
            RAPTORQ,
            transfer_length=first >> 24,
            symbol_size=first & 0xFFFF,
            source_blocks=second >> 8,
            sub_blocks=(second & 255) << 8 | third >> 24,
            alignment=third >> 16 & 255,
        )
    return Oti(NO_CODE, transfer_length=first >> 16, symbol_size=second, max_block_symbols=third)


def encode_ext_fdt(instance_id: int) -> tuple[int, bytes]:
    """EXT_FDT: which FDT instance (20 bits) the packet belongs to."""
    return EXT_FDT, (FLUTE_VERSION << 20 | instance_id & 0xFFFFF).to_bytes(3, "big")


def fdt_instance_id(header: LctHeader) -> int | None:
    """The FDT instance ID when the packet carries EXT_FDT. Raises LctError for an unknown FLUTE version."""
    content = header.extension(EXT_FDT)
    if content is None:
        return None
    value = int.from_bytes(content, "big")
    if value >> 20 not in (1, FLUTE_VERSION):
        raise LctError(f"FLUTE version {value >> 20}")
    return value & 0xFFFFF


def encode_ext_cenc(algorithm: int) -> tuple[int, bytes]:
    """EXT_CENC: how the FDT instance is compressed: 0 null, 1 ZLIB, 2 DEFLATE, 3 GZIP."""
    return EXT_CENC, bytes((algorithm, 0, 0))


def content_encoding(header: LctHeader) -> int:
    """The algorithm EXT_CENC names, 0 without one."""
    content = header.extension(EXT_CENC)
    return content[0] if content else 0
