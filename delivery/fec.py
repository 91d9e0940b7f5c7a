"""Forward error correction per object: no code (RFC 5445) and RaptorQ (RFC 6330, package `raptorq`).

RaptorQ objects are at most `MAX_CODED_BYTES` long and so are one source block without sub-blocks; then
source symbols are plain slices of the content, which spares both ends the code whenever nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delivery.alc import NO_CODE, RAPTORQ, Oti, encode_payload_id
from delivery.manifest import MAX_CODED_BYTES

ALIGNMENT = 8
"""Al of RFC 6330: symbol sizes are its multiples. `raptorq` rounds down to it."""
MAX_ESI = (1 << 24) - 1
MAX_SYMBOLS = 50_000
"""Source symbols of one object; RFC 6330 allows 56403 in a block."""


def raptorq_oti(transfer_length: int, symbol_size: int) -> Oti:
    """The transmission information of a RaptorQ object. Raises ValueError for what one block cannot hold."""
    oti = Oti(RAPTORQ, transfer_length, symbol_size, alignment=ALIGNMENT)
    if not is_supported(oti):
        raise ValueError(f"no RaptorQ object of {transfer_length} bytes with symbols of {symbol_size} bytes")
    return oti


def is_supported(oti: Oti) -> bool:
    """Whether the decoders below can take an object with this transmission information."""
    if not 0 < oti.transfer_length <= MAX_CODED_BYTES or not 0 < oti.symbol_size <= 0xFFFF:
        return False
    if oti.source_symbols > MAX_SYMBOLS:
        return False
    if oti.fec_id == NO_CODE:
        return 0 < oti.max_block_symbols <= 1 << 16
    # raptorq plans for 10 MiB of decoder memory, and so cuts blocks into sub-blocks above 7489 symbols.
    return (
        oti.fec_id == RAPTORQ
        and oti.symbol_size % ALIGNMENT == 0
        and oti.source_symbols * oti.symbol_size <= 10 << 20
        and (oti.source_blocks, oti.sub_blocks, oti.alignment) == (1, 1, ALIGNMENT)
    )


def partition(transfer_length: int, symbol_size: int, max_block_symbols: int) -> list[int]:
    """Symbols in each source block (RFC 5052 section 9.1): as equal as can be, the larger blocks first."""
    symbols = max(1, -(-transfer_length // symbol_size))
    blocks = -(-symbols // max_block_symbols)
    small, large_blocks = divmod(symbols, blocks)
    return [small + 1] * large_blocks + [small] * (blocks - large_blocks)


def no_code_oti(transfer_length: int, symbol_size: int) -> Oti:
    """The transmission information of an object without FEC, in one source block. Raises ValueError."""
    oti = Oti(NO_CODE, transfer_length, symbol_size, max_block_symbols=MAX_SYMBOLS)
    if not is_supported(oti):
        raise ValueError(f"no object of {transfer_length} bytes with symbols of {symbol_size} bytes")
    return oti


def no_code_symbols(content: bytes, oti: Oti) -> Iterator[bytes]:
    """Every symbol of an object without FEC, each behind its payload ID; the last one is not padded."""
    at = 0
    for sbn, count in enumerate(partition(oti.transfer_length, oti.symbol_size, oti.max_block_symbols)):
        for esi in range(count):
            yield encode_payload_id(NO_CODE, sbn, esi) + content[at : at + oti.symbol_size]
            at += oti.symbol_size


class NoCodeEncoder:
    """One object's symbols without FEC. Which of them are lacking is not known, so repair is all of them."""

    def __init__(self, content: bytes, symbol_size: int) -> None:
        self.oti = no_code_oti(len(content), symbol_size)
        self._content = content

    def source(self) -> Iterator[bytes]:
        """The symbols in order."""
        return no_code_symbols(self._content, self.oti)

    def repair(self, count: int, already_used: int | None = None) -> list[bytes]:
        """The symbols once more, if any are wanted."""
        return list(self.source()) if count else []


class RaptorQEncoder:
    """One object's symbols, each behind its payload ID: the source symbols, then ever new repair symbols."""

    def __init__(self, content: bytes, symbol_size: int) -> None:
        self.oti = raptorq_oti(len(content), symbol_size)
        self._content = content
        self._repair_used = 0
        self._encoder: Any = None

    def source(self) -> Iterator[bytes]:
        """The source symbols in order; the last one is padded with zeros."""
        size = self.oti.symbol_size
        for esi in range(self.oti.source_symbols):
            symbol = self._content[esi * size : (esi + 1) * size]
            yield encode_payload_id(RAPTORQ, 0, esi) + symbol.ljust(size, b"\0")

    def repair(self, count: int, already_used: int | None = None) -> list[bytes]:
        """`count` repair symbols never handed out before.

        `already_used` tells an encoder made anew how many its predecessor gave. Raises ValueError when the
        symbol IDs of the object are exhausted.
        """
        if self._encoder is None:
            from raptorq import Encoder

            self._encoder = Encoder.with_defaults(self._content, self.oti.symbol_size)
        if already_used is not None:
            self._repair_used = max(self._repair_used, already_used)
        first = self.oti.source_symbols + self._repair_used
        if first + count > MAX_ESI + 1:
            raise ValueError("no repair symbols left; publish the object again")
        self._repair_used += count
        packets: list[bytes] = self._encoder.get_encoded_packets(self._repair_used)
        return packets[first:]


class Decoder:
    """Gives one object's content once its symbols suffice.

    The symbols live in a plain dictionary that the caller fills: the receiver's hot path is one assignment.
    """

    def __init__(self, oti: Oti) -> None:
        self.oti = oti
        self.needed = oti.source_symbols
        """So many distinct symbols are required before `decode` is worth a try."""
        self._fed: set[bytes] = set()
        self._raptorq: Any = None

    def missing(self, held: int) -> int:
        """How many more symbols to ask for when `held` distinct ones are there; at least 1."""
        return max(1, self.needed - held)

    def decode(self, symbols: dict[bytes, bytes]) -> bytes | None:
        """The content from packets (payload ID and symbol) keyed by payload ID, or None: one more is needed.

        Packets of a wrong length or with an impossible ID are removed from the dictionary.
        """
        if self.oti.fec_id == NO_CODE:
            return self._join_no_code(symbols)
        length = 4 + self.oti.symbol_size
        wrong = [key for key, packet in symbols.items() if len(packet) != length or key[0]]
        for key in wrong:
            del symbols[key]
        if len(symbols) < self.needed:
            return None
        return self._join_source(symbols) or self._solve(symbols)

    def _join_source(self, symbols: dict[bytes, bytes]) -> bytes | None:
        packets = [symbols.get(esi.to_bytes(4, "big")) for esi in range(self.oti.source_symbols)]
        if None in packets:
            return None
        return b"".join([packet[4:] for packet in packets if packet])[: self.oti.transfer_length]

    def _solve(self, symbols: dict[bytes, bytes]) -> bytes | None:
        if self._raptorq is None:
            from raptorq import Decoder as RaptorQDecoder

            self._raptorq = RaptorQDecoder.with_defaults(self.oti.transfer_length, self.oti.symbol_size)
        for key, packet in symbols.items():
            if key not in self._fed:
                self._fed.add(key)
                content: bytes | None = self._raptorq.decode(packet)
                if content is not None:
                    return content
        self.needed = len(symbols) + 1
        return None

    def _join_no_code(self, symbols: dict[bytes, bytes]) -> bytes | None:
        parts = []
        left = self.oti.transfer_length
        sizes = partition(left, self.oti.symbol_size, self.oti.max_block_symbols)
        valid = {
            encode_payload_id(NO_CODE, sbn, esi) for sbn, count in enumerate(sizes) for esi in range(count)
        }
        for key in [key for key in symbols if key not in valid]:
            del symbols[key]
        for sbn, count in enumerate(sizes):
            for esi in range(count):
                key = encode_payload_id(NO_CODE, sbn, esi)
                expected = min(left, self.oti.symbol_size)
                packet = symbols.get(key)
                if packet is None:
                    return None
                if len(packet) != 4 + expected:
                    del symbols[key]
                    return None
                parts.append(packet[4:])
                left -= expected
        return b"".join(parts)
