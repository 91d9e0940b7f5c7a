"""The sending end of a FLUTE session, sans-I/O: give it objects and the time, send the datagrams it answers.

Order on the wire: per group of objects its FDT instance, then each object's source symbols, then the FDT
instance again, which tells receivers that the object has passed. Repair symbols go before further objects, so
that receivers hold few unfinished ones, but never in the middle of one, which would look as if it had passed.
Objects are coded with RaptorQ or not at all, FDT instances are single packets.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from delivery.alc import FDT_TOI, NO_CODE, RAPTORQ, Oti
from delivery.announcement import Announcement, Announcer
from delivery.fdt import FdtFile
from delivery.fec import ALIGNMENT, NoCodeEncoder, RaptorQEncoder, no_code_oti, raptorq_oti
from delivery.lct import LctHeader, encode_lct
from delivery.pacing import Pacer, frame_bytes
from delivery.repair import LossEstimate, RepairDesk

HEADERS_BYTES = 64
"""Around a symbol: IPv6 40, UDP 8, LCT 12, FEC payload ID 4."""
FDT_HEADERS_BYTES = 100
"""Around the content of an FDT packet, whose LCT header has extensions."""
DEFAULT_MTU_BYTES = 1500

_SHORT_HEADER_BYTES = 12
_ENCODERS_KEPT = 6
_CLOSING_PACKETS = 3


Encoder = RaptorQEncoder | NoCodeEncoder


def _in_words(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def symbol_bytes(mtu_bytes: int) -> int:
    """The size of the symbols that fill packets of `mtu_bytes`."""
    return (mtu_bytes - HEADERS_BYTES) // ALIGNMENT * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object to send. `load` gives its `size` bytes when they are needed; what it raises leaves `poll`.

    `spare_symbols` are repair symbols sent at once, for objects that others wait for. With `on_demand`
    nothing is sent until a repair is asked for. `fec_id` is RaptorQ or no code.
    """

    toi: int
    location: str
    content_type: str
    size: int
    load: Callable[[], bytes]
    content_md5: str = ""
    spare_symbols: int = 0
    on_demand: bool = False
    fec_id: int = RAPTORQ


@dataclass(slots=True)
class SenderCounters:
    """What has gone out; `wire_bytes` counts Ethernet frames. Spare symbols were sent unasked, repair symbols
    because an edge lacked some."""

    datagrams: int = 0
    wire_bytes: int = 0
    source_symbols: int = 0
    spare_symbols: int = 0
    repair_symbols: int = 0
    carousel_symbols: int = 0
    fdt_packets: int = 0
    repair_rounds: int = 0


@dataclass(slots=True)
class _Sent:
    outgoing: Outgoing
    announcement: Announcement
    header: bytes
    oti: Oti
    sent: int = 0
    repair_used: int = 0


class Sender:
    """One FLUTE session. Times are seconds of one clock; `unix_offset_s` turns them into Unix time."""

    def __init__(
        self,
        tsi: int,
        *,
        rate_mbps: float = 100.0,
        mtu_bytes: int = DEFAULT_MTU_BYTES,
        overhead_percent: float = 0.0,
        tick_s: float = 0.001,
        collection_window_s: float = 0.45,
        hold_off_s: float = 0.05,
        unix_offset_s: float = 0.0,
        first_fdt_instance: int = 0,
        fdt_lifetime_s: float = 3600.0,
        carousel_mbps: float = 0.0,
    ) -> None:
        """`carousel_mbps` is the rate at which everything is sent again and again while nothing else is.

        `collection_window_s` should exceed the receivers' random back-off. `hold_off_s` should exceed the
        round-trip time, and must not exceed their fixed back-off."""
        self.counters = SenderCounters()
        self._tsi = tsi
        self._symbol_bytes = symbol_bytes(mtu_bytes)
        self._overhead = overhead_percent / 100
        self._unix_offset_s = unix_offset_s
        self._pacer = Pacer(rate_mbps, tick_s)
        self._announcer = Announcer(tsi, first_fdt_instance, fdt_lifetime_s, mtu_bytes - FDT_HEADERS_BYTES)
        self._desk = RepairDesk(collection_window_s, hold_off_s)
        self._loss = LossEstimate()
        self._objects: dict[int, _Sent] = {}
        self._announcements: list[Announcement] = []
        self._encoders: OrderedDict[int, Encoder] = OrderedDict()
        self._source: list[Iterator[bytes]] = []
        self._repair: Iterator[bytes] | None = None
        self._carousel_pacer = Pacer(carousel_mbps, tick_s) if carousel_mbps else None
        self._carousel: Iterator[bytes] | None = None
        self._mid_object = False
        self._last_fdt: Announcement | None = None
        self._now = 0.0

    @property
    def next_fdt_instance(self) -> int:
        """The FDT instance ID a later sender of this session must begin with."""
        return self._announcer.next_instance

    def publish(self, objects: Sequence[Outgoing], now: float) -> None:
        """Queue objects for transmission in this order. TOIs must be new to the session."""
        files = []
        headers = {}
        for outgoing in objects:
            if outgoing.toi in self._objects or outgoing.toi <= FDT_TOI:
                raise ValueError(f"TOI {outgoing.toi} is already in use")
            headers[outgoing.toi] = encode_lct(LctHeader(self._tsi, outgoing.toi, outgoing.fec_id))
            files.append(self._describe(outgoing, len(headers[outgoing.toi])))
        announcements = self._announcer.announce(files, now + self._unix_offset_s)
        described = {file.toi: (group, file) for group in announcements for file in group.files}
        for outgoing in objects:
            group, file = described[outgoing.toi]
            self._objects[outgoing.toi] = _Sent(outgoing, group, headers[outgoing.toi], file.oti)
        self._announcements += announcements
        self._source.append(self._transmit(announcements))
        self._now = now

    def retain(self, tois: Container[int]) -> None:
        """Forget every object but these: what else there was is of no use to anybody any more."""
        gone = [toi for toi in self._objects if toi not in tois]
        for toi in gone:
            del self._objects[toi]
            self._encoders.pop(toi, None)
        self._desk.forget(gone)
        self._announcements = [
            announcement
            for announcement in self._announcements
            if any(file.toi in self._objects for file in announcement.files)
        ]

    def close(self) -> None:
        """Say that the session ends: nothing follows what `poll` gives from now on (RFC 5651, A flag)."""
        self._source.clear()
        self._repair = self._carousel = self._last_fdt = None
        self._carousel_pacer = None
        farewell = encode_lct(LctHeader(self._tsi, FDT_TOI, NO_CODE, close_session=True))
        self._source.append(iter([farewell] * _CLOSING_PACKETS))

    def announce(self, now: float) -> None:
        """Send the description of everything again, for receivers that joined late or missed it."""
        self._desk.request(FDT_TOI, 1, now)

    def hear(self, edge: str) -> None:
        """An edge is there: it counts among those that repair is for."""
        self._desk.hear(edge)

    def request_repair(self, toi: int, symbols: int, now: float, edge: str = "") -> None:
        """`edge` misses `symbols` of object `toi`; TOI 0 asks for the FDT. Unknown ones are ignored."""
        if toi == FDT_TOI:
            self._desk.hear(edge)
            self.announce(now)
        elif toi in self._objects:
            self._desk.request(toi, min(symbols, self._source_symbols(toi)), now, edge)

    @property
    def idle(self) -> bool:
        """Nothing is queued, going out or being collected; the carousel does not count."""
        return not self._source and self._repair is None and self._desk.next_deadline() is None

    def poll(self, now: float) -> list[bytes]:
        """The datagrams that may go out now."""
        self._now = now
        datagrams = self._paced(self._next_datagram, self._pacer)
        if self._carousel_pacer is not None and self.idle and self._last_fdt is None:
            datagrams += self._paced(self._next_of_carousel, self._pacer, self._carousel_pacer)
        self.counters.datagrams += len(datagrams)
        return datagrams

    def next_deadline(self) -> float | None:
        """When to call `poll` next; None while there is nothing to send."""
        if self._source or self._repair is not None or self._last_fdt is not None:
            return self._pacer.ready_at(self._now)
        closes_at = self._desk.next_deadline()
        if closes_at is not None:
            return max(closes_at, self._pacer.ready_at(closes_at))
        if self._carousel_pacer is not None and self._objects:
            return max(self._carousel_pacer.ready_at(self._now), self._pacer.ready_at(self._now))
        return None

    def _describe(self, outgoing: Outgoing, header_bytes: int) -> FdtFile:
        symbol_bytes = self._symbol_bytes - _in_words(header_bytes - _SHORT_HEADER_BYTES)
        # What fits one symbol needs no padding to a full one.
        symbol_bytes = min(symbol_bytes, max(ALIGNMENT, _in_words(outgoing.size)))
        oti = no_code_oti if outgoing.fec_id == NO_CODE else raptorq_oti
        return FdtFile(
            toi=outgoing.toi,
            location=outgoing.location,
            oti=oti(outgoing.size, symbol_bytes),
            content_length=outgoing.size,
            content_type=outgoing.content_type,
            content_md5=outgoing.content_md5,
        )

    def _source_symbols(self, toi: int) -> int:
        return self._objects[toi].oti.source_symbols if toi in self._objects else 1

    def _paced(self, following: Callable[[], bytes | None], *pacers: Pacer) -> list[bytes]:
        """As many datagrams as all of these rates allow now."""
        for pacer in pacers:
            pacer.refill(self._now)
        datagrams: list[bytes] = []
        while all(pacer.may_send for pacer in pacers):
            datagram = following()
            if datagram is None:
                break
            for pacer in pacers:
                pacer.spend(len(datagram))
            self.counters.wire_bytes += frame_bytes(len(datagram))
            datagrams.append(datagram)
        return datagrams

    def _next_datagram(self) -> bytes | None:
        while True:
            if self._repair is None and not self._mid_object:
                due = self._desk.take(self._now, self._source_symbols, lambda: not self._source)
                if due is not None:
                    self._repair = self._answer(*due)
            if self._repair is not None:
                datagram = next(self._repair, None)
                if datagram is not None:
                    return datagram
                self._repair = None
                continue
            if self._source:
                datagram = next(self._source[0], None)
                if datagram is not None:
                    return datagram
                self._source.pop(0)
                continue
            if self._last_fdt is not None:
                # Nothing follows that would tell receivers the last object has passed: say it twice.
                announcement, self._last_fdt = self._last_fdt, None
                return self._fdt(announcement, is_last=True)
            return None

    def _next_of_carousel(self) -> bytes | None:
        for _ in range(2):
            if self._carousel is None:
                self._carousel = self._turn()
            datagram = next(self._carousel, None)
            if datagram is not None:
                return datagram
            self._carousel = None
        return None

    def _turn(self) -> Iterator[bytes]:
        """Every object once, each behind its description; those that are only sent on demand too."""
        for announcement in list(self._announcements):
            for file in announcement.files:
                entry = self._objects.get(file.toi)
                if entry is not None:
                    yield self._fdt(announcement, is_last=True)
                    for symbol in self._encoder(entry).source():
                        self.counters.carousel_symbols += 1
                        yield entry.header + symbol

    def _transmit(self, announcements: Sequence[Announcement]) -> Iterator[bytes]:
        for announcement in announcements:
            known = [self._objects[file.toi] for file in announcement.files if file.toi in self._objects]
            queued = [entry for entry in known if not entry.outgoing.on_demand]
            if queued:
                yield self._fdt(announcement)
            for entry in queued:
                self._mid_object = True
                try:
                    yield from self._symbols(entry)
                finally:
                    self._mid_object = False
                yield self._fdt(announcement)

    def _symbols(self, entry: _Sent) -> Iterator[bytes]:
        for symbol in self._encoder(entry).source():
            self.counters.source_symbols += 1
            entry.sent += 1
            yield entry.header + symbol
        spare = entry.outgoing.spare_symbols + math.ceil(entry.oti.source_symbols * self._overhead)
        for datagram in self._more_symbols(entry, spare):
            self.counters.spare_symbols += 1
            yield datagram

    def _more_symbols(self, entry: _Sent, count: int) -> Iterator[bytes]:
        if not count:
            return
        symbols = self._encoder(entry).repair(count, entry.repair_used)
        entry.repair_used += count
        for symbol in symbols:
            entry.sent += 1
            yield entry.header + symbol

    def _answer(self, toi: int, missing: int) -> Iterator[bytes]:
        started_at = self._now
        self._desk.answering(toi, missing)
        if toi == FDT_TOI:
            for announcement in self._announcements:
                yield self._fdt(announcement)
        elif toi in self._objects:
            self.counters.repair_rounds += 1
            entry = self._objects[toi]
            count = self._loss.symbols_to_send(missing, entry.oti.source_symbols, entry.sent)
            self._desk.answering(toi, count)
            yield self._fdt(entry.announcement)
            for datagram in self._more_symbols(entry, count):
                self.counters.repair_symbols += 1
                yield datagram
            yield self._fdt(entry.announcement)
        self._desk.answered(toi, started_at, self._now)

    def _fdt(self, announcement: Announcement, *, is_last: bool = False) -> bytes:
        self._announcer.renew(announcement, self._now + self._unix_offset_s)
        self.counters.fdt_packets += 1
        if not is_last:
            self._last_fdt = announcement
        return announcement.datagram

    def _encoder(self, entry: _Sent) -> Encoder:
        toi = entry.outgoing.toi
        encoder = self._encoders.get(toi)
        if encoder is None:
            kind = NoCodeEncoder if entry.outgoing.fec_id == NO_CODE else RaptorQEncoder
            encoder = kind(entry.outgoing.load(), entry.oti.symbol_size)
            if encoder.oti.transfer_length != entry.outgoing.size:
                raise ValueError(f"object {toi} was announced with {entry.outgoing.size} bytes")
            self._encoders[toi] = encoder
            if len(self._encoders) > _ENCODERS_KEPT:
                self._encoders.popitem(last=False)
        self._encoders.move_to_end(toi)
        return encoder
