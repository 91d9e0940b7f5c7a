"""Layered Coding Transport header (RFC 5651), the common head of every ALC packet.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|   V   | C |PSI|S| O |H|Res|A|B|   HDR_LEN     | Codepoint (CP)|
|          CCI, TSI, TOI, header extensions ...                 |
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1
EXT_FTI = 64
EXT_FDT = 192
EXT_CENC = 193

_FIRST_FIXED_LENGTH_EXTENSION = 128


class LctError(ValueError):
    """Bytes that are no LCT header; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class LctHeader:
    """One header. `extensions` are (HET, content) pairs; the content excludes the HET and HEL octets.

    `codepoint` carries the FEC Encoding ID (RFC 6726 section 5). `close_session` and `close_object` are the
    A and B flags: no more packets follow for the session or the object.
    """

    tsi: int
    toi: int
    codepoint: int = 0
    cci: int = 0
    close_session: bool = False
    close_object: bool = False
    extensions: tuple[tuple[int, bytes], ...] = ()

    def extension(self, kind: int) -> bytes | None:
        """The content of the first extension with this HET, or None."""
        for het, content in self.extensions:
            if het == kind:
                return content
        return None


def encode_lct(header: LctHeader) -> bytes:
    """The header in the fewest octets the standard allows: 12 while TSI and TOI fit 16 bits each.

    Raises LctError for values the header cannot hold (TSI of 48 bits, TOI and CCI of 112 and 128 bits).
    """
    if header.tsi < 0 or header.toi < 0 or header.cci < 0 or not 0 <= header.codepoint <= 255:
        raise LctError("negative TSI, TOI or CCI, or a codepoint above 255")
    half_word, tsi_octets, toi_octets = _shortest_fields(header)
    cci_words = max(1, -(-header.cci.bit_length() // 32))
    if cci_words > 4:
        raise LctError(f"CCI {header.cci} does not fit an LCT header")
    body = (
        header.cci.to_bytes(4 * cci_words, "big")
        + header.tsi.to_bytes(tsi_octets, "big")
        + header.toi.to_bytes(toi_octets, "big")
        + b"".join(_encode_extension(het, content) for het, content in header.extensions)
    )
    words = 1 + len(body) // 4
    if words > 255:
        raise LctError("header extensions do not fit an LCT header")
    flags = (
        (tsi_octets // 4) << 7
        | (toi_octets // 4) << 5
        | half_word << 4
        | header.close_session << 1
        | header.close_object
    )
    return bytes((VERSION << 4 | (cci_words - 1) << 2, flags, words, header.codepoint)) + body


def decode_lct(data: bytes) -> tuple[LctHeader, int]:
    """The header at the start of a datagram and its length in octets. Raises LctError."""
    if len(data) < 4:
        raise LctError("shorter than an LCT header")
    first, flags, words, codepoint = data[:4]
    if first >> 4 != VERSION:
        raise LctError(f"LCT version {first >> 4}")
    half_word = flags >> 4 & 1
    cci_end = 4 + 4 * ((first >> 2 & 3) + 1)
    tsi_end = cci_end + 4 * (flags >> 7) + 2 * half_word
    toi_end = tsi_end + 4 * (flags >> 5 & 3) + 2 * half_word
    end = 4 * words
    if toi_end > end or end > len(data):
        raise LctError("LCT header length does not fit the packet")
    header = LctHeader(
        tsi=int.from_bytes(data[cci_end:tsi_end], "big"),
        toi=int.from_bytes(data[tsi_end:toi_end], "big"),
        codepoint=codepoint,
        cci=int.from_bytes(data[4:cci_end], "big"),
        close_session=bool(flags & 2),
        close_object=bool(flags & 1),
        extensions=_decode_extensions(data[toi_end:end]),
    )
    return header, end


def _shortest_fields(header: LctHeader) -> tuple[int, int, int]:
    """The H flag and the octets of the TSI and the TOI field with the least sum."""
    fits = []
    for half_word in (1, 0):
        tsi_octets = _octets(header.tsi, half_word, 1)
        toi_octets = _octets(header.toi, half_word, 3)
        if tsi_octets and toi_octets:
            fits.append((tsi_octets + toi_octets, half_word, tsi_octets, toi_octets))
    if not fits:
        raise LctError(f"TSI {header.tsi} or TOI {header.toi} does not fit an LCT header")
    return min(fits)[1:]


def _octets(value: int, half_word: int, most_words: int) -> int | None:
    """The length of a TSI or TOI field for this H flag, or None when the value does not fit."""
    for words in range(most_words + 1):
        octets = 4 * words + 2 * half_word
        if octets and value < 1 << (8 * octets):
            return octets
    return None


def _encode_extension(het: int, content: bytes) -> bytes:
    if het >= _FIRST_FIXED_LENGTH_EXTENSION:
        if len(content) != 3:
            raise LctError(f"header extension {het} has a content of 3 octets, not {len(content)}")
        return bytes((het,)) + content
    if (len(content) + 2) % 4 or len(content) > 1018:
        raise LctError(f"header extension {het} does not fill whole words")
    return bytes((het, (len(content) + 2) // 4)) + content


def _decode_extensions(data: bytes) -> tuple[tuple[int, bytes], ...]:
    extensions = []
    at = 0
    while at < len(data):
        het = data[at]
        if het >= _FIRST_FIXED_LENGTH_EXTENSION:
            start, end = at + 1, at + 4
        else:
            start, end = at + 2, at + 4 * data[at + 1]
            if end <= at:
                raise LctError("header extension of length 0")
        if end > len(data):
            raise LctError("header extension runs past the header")
        extensions.append((het, data[start:end]))
        at = end
    return tuple(extensions)
