"""The sending end of a FLUTE session, sans-I/O: give it objects and the time, send the datagrams it answers.

Order on the wire: per group of objects its FDT instance, then each object's source symbols, then the FDT
instance again, which tells receivers that the object has passed. Repair symbols go before further objects, so
that receivers hold few unfinished ones, but never in the middle of one, which would look as if it had passed.
Objects are coded with RaptorQ, FDT instances are single packets.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from delivery.alc import RAPTORQ
from delivery.announcement import Announcement, Announcer
from delivery.fdt import FdtFile
from delivery.fec import RaptorQEncoder, raptorq_oti
from delivery.lct import LctHeader, encode_lct
from delivery.pacing import Pacer, frame_bytes
from delivery.repair import LossEstimate, RepairDesk

FDT_TOI = 0
HEADERS_BYTES = 100
"""What a symbol may need around it: IPv6 40, UDP 8, LCT with extensions and FEC payload ID up to 52."""
DEFAULT_SYMBOL_BYTES = 1500 - HEADERS_BYTES

_ENCODERS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object to send. `load` gives its `size` bytes when they are needed; what it raises leaves `poll`.

    `spare_symbols` are repair symbols sent at once, for objects that others wait for. With `on_demand`
    nothing is sent until a repair is asked for.
    """

    toi: int
    location: str
    content_type: str
    size: int
    load: Callable[[], bytes]
    content_md5: str = ""
    spare_symbols: int = 0
    on_demand: bool = False


@dataclass(slots=True)
class SenderCounters:
    """What has gone out; `wire_bytes` counts Ethernet frames."""

    datagrams: int = 0
    wire_bytes: int = 0
    source_symbols: int = 0
    repair_symbols: int = 0
    fdt_packets: int = 0


@dataclass(slots=True)
class _Sent:
    outgoing: Outgoing
    announcement: Announcement
    header: bytes
    source_symbols: int
    sent: int = 0
    repair_used: int = 0


class Sender:
    """One FLUTE session. Times are seconds of one clock; `unix_offset_s` turns them into Unix time."""

    def __init__(
        self,
        tsi: int,
        *,
        rate_mbps: float = 100.0,
        symbol_bytes: int = DEFAULT_SYMBOL_BYTES,
        overhead_percent: float = 0.0,
        tick_s: float = 0.001,
        collection_window_s: float = 0.45,
        hold_off_s: float = 0.05,
        unix_offset_s: float = 0.0,
        first_fdt_instance: int = 0,
        fdt_lifetime_s: float = 3600.0,
    ) -> None:
        """`collection_window_s` should exceed the receivers' random back-off. `hold_off_s` should exceed the
        round-trip time, and must not exceed their fixed back-off."""
        self.counters = SenderCounters()
        self._tsi = tsi
        self._symbol_bytes = symbol_bytes
        self._overhead = overhead_percent / 100
        self._unix_offset_s = unix_offset_s
        self._pacer = Pacer(rate_mbps, tick_s)
        self._announcer = Announcer(tsi, first_fdt_instance, fdt_lifetime_s, symbol_bytes)
        self._desk = RepairDesk(collection_window_s, hold_off_s)
        self._loss = LossEstimate()
        self._objects: dict[int, _Sent] = {}
        self._announcements: list[Announcement] = []
        self._encoders: OrderedDict[int, RaptorQEncoder] = OrderedDict()
        self._source: list[Iterator[bytes]] = []
        self._repair: Iterator[bytes] | None = None
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
        for outgoing in objects:
            if outgoing.toi in self._objects or outgoing.toi <= FDT_TOI:
                raise ValueError(f"TOI {outgoing.toi} is already in use")
            files.append(
                FdtFile(
                    toi=outgoing.toi,
                    location=outgoing.location,
                    oti=raptorq_oti(outgoing.size, self._symbol_bytes),
                    content_length=outgoing.size,
                    content_type=outgoing.content_type,
                    content_md5=outgoing.content_md5,
                )
            )
        announcements = self._announcer.announce(files, now + self._unix_offset_s)
        described = {file.toi: (group, file) for group in announcements for file in group.files}
        for outgoing in objects:
            group, file = described[outgoing.toi]
            header = encode_lct(LctHeader(self._tsi, outgoing.toi, RAPTORQ))
            self._objects[outgoing.toi] = _Sent(outgoing, group, header, file.oti.source_symbols)
        self._announcements += announcements
        self._source.append(self._transmit(announcements))
        self._now = now

    def announce(self, now: float) -> None:
        """Send the description of everything again, for receivers that joined late or missed it."""
        self._desk.request(FDT_TOI, 1, now)

    def request_repair(self, toi: int, symbols: int, now: float) -> None:
        """A receiver misses `symbols` of object `toi`; TOI 0 asks for the FDT. Unknown ones are ignored."""
        if toi == FDT_TOI:
            self.announce(now)
        elif toi in self._objects:
            self._desk.request(toi, min(symbols, self._objects[toi].source_symbols), now)

    @property
    def idle(self) -> bool:
        """Nothing is queued, going out or being collected."""
        return not self._source and self._repair is None and self._desk.next_deadline() is None

    def poll(self, now: float) -> list[bytes]:
        """The datagrams that may go out now."""
        self._now = now
        self._pacer.refill(now)
        datagrams = []
        while self._pacer.may_send:
            datagram = self._next_datagram()
            if datagram is None:
                break
            self._pacer.spend(len(datagram))
            self.counters.wire_bytes += frame_bytes(len(datagram))
            datagrams.append(datagram)
        self.counters.datagrams += len(datagrams)
        return datagrams

    def next_deadline(self) -> float | None:
        """When to call `poll` next; None while there is nothing to send."""
        if self._source or self._repair is not None or self._last_fdt is not None:
            return self._pacer.ready_at(self._now)
        closes_at = self._desk.next_deadline()
        return None if closes_at is None else max(closes_at, self._pacer.ready_at(closes_at))

    def _next_datagram(self) -> bytes | None:
        while True:
            if self._repair is None and not self._mid_object:
                due = self._desk.take(self._now)
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

    def _transmit(self, announcements: Sequence[Announcement]) -> Iterator[bytes]:
        for announcement in announcements:
            queued = [self._objects[file.toi] for file in announcement.files]
            queued = [entry for entry in queued if not entry.outgoing.on_demand]
            if queued:
                yield self._fdt(announcement)
            for entry in queued:
                self._mid_object = True
                yield from self._symbols(entry)
                self._mid_object = False
                yield self._fdt(announcement)

    def _symbols(self, entry: _Sent) -> Iterator[bytes]:
        for symbol in self._encoder(entry).source():
            self.counters.source_symbols += 1
            entry.sent += 1
            yield entry.header + symbol
        spare = entry.outgoing.spare_symbols + math.ceil(entry.source_symbols * self._overhead)
        if spare:
            yield from self._repair_symbols(entry, spare)

    def _repair_symbols(self, entry: _Sent, count: int) -> Iterator[bytes]:
        symbols = self._encoder(entry).repair(count, entry.repair_used)
        entry.repair_used += count
        for symbol in symbols:
            self.counters.repair_symbols += 1
            entry.sent += 1
            yield entry.header + symbol

    def _answer(self, toi: int, missing: int) -> Iterator[bytes]:
        started_at = self._now
        self._desk.answering(toi, missing)
        if toi == FDT_TOI:
            for announcement in self._announcements:
                yield self._fdt(announcement)
        else:
            entry = self._objects[toi]
            count = self._loss.symbols_to_send(missing, entry.source_symbols, entry.sent)
            self._desk.answering(toi, count)
            yield self._fdt(entry.announcement)
            yield from self._repair_symbols(entry, count)
            yield self._fdt(entry.announcement)
        self._desk.answered(toi, started_at, self._now)

    def _fdt(self, announcement: Announcement, *, is_last: bool = False) -> bytes:
        self._announcer.renew(announcement, self._now + self._unix_offset_s)
        self.counters.fdt_packets += 1
        if not is_last:
            self._last_fdt = announcement
        return announcement.datagram

    def _encoder(self, entry: _Sent) -> RaptorQEncoder:
        toi = entry.outgoing.toi
        encoder = self._encoders.get(toi)
        if encoder is None:
            encoder = RaptorQEncoder(entry.outgoing.load(), self._symbol_bytes)
            if encoder.oti.transfer_length != entry.outgoing.size:
                raise ValueError(f"object {toi} was announced with {entry.outgoing.size} bytes")
            self._encoders[toi] = encoder
            if len(self._encoders) > _ENCODERS_KEPT:
                self._encoders.popitem(last=False)
        self._encoders.move_to_end(toi)
        return encoder
