"""A receiver's objects under reception, within a fixed budget of memory."""

from __future__ import annotations

from collections.abc import Callable

from delivery.alc import Oti
from delivery.fec import Decoder

MAX_UNANNOUNCED = 256
"""Objects kept that no manifest wants (yet); the oldest goes first."""
LOOK_INTERVAL = 16
"""After so many new objects the memory is looked at: looking at every one would be an attacker's lever."""
UNKNOWN_STEP = 64
"""Symbols after which an object without description is looked at again."""


class Slot:
    """One object. `symbols` is None once the object is of no more use; then its packets are ignored."""

    __slots__ = (
        "awaits_key",
        "decoder",
        "has_passed",
        "heard_at",
        "oti",
        "packet_length",
        "reported_at",
        "symbols",
        "threshold",
        "toi",
    )

    def __init__(self, toi: int) -> None:
        self.toi = toi
        self.symbols: dict[bytes, bytes] | None = {}
        self.packet_length = 0
        """Length in octets of the datagrams that take the short way; 0 until the first one came."""
        self.threshold = UNKNOWN_STEP
        """The number of symbols at which decoding (or a look at the budget) is due."""
        self.oti: Oti | None = None
        self.decoder: Decoder | None = None
        self.heard_at = 0.0
        self.has_passed = False
        self.awaits_key = False
        """Whether all symbols are here but not the key of the epoch."""
        self.reported_at: float | None = None

    def describe(self, oti: Oti) -> None:
        """The object's transmission information became known, or differs from what was said before."""
        if oti != self.oti:
            self.oti = oti
            self.decoder = Decoder(oti)
            if self.symbols:
                fits = 4 + oti.symbol_size
                self.symbols = {key: packet for key, packet in self.symbols.items() if len(packet) <= fits}
            self.look_later()

    def look_later(self) -> None:
        """Decoding is due when the symbols suffice, a look at the budget after some more of them."""
        held = len(self.symbols or ())
        self.threshold = held + UNKNOWN_STEP
        if self.decoder is not None and held < self.decoder.needed:
            self.threshold = min(self.threshold, self.decoder.needed)

    def restart(self) -> None:
        """Forget all symbols: some of them were not the sender's."""
        if self.symbols is not None:
            self.symbols = {}
        self.awaits_key = False
        self.reported_at = None
        if self.oti is not None:
            self.decoder = Decoder(self.oti)
        self.look_later()

    def close(self) -> None:
        """The object is complete or unwanted."""
        self.symbols = None
        self.decoder = None

    @property
    def held_bytes(self) -> int:
        """About what the symbols take in memory."""
        return len(self.symbols) * self.packet_length if self.symbols else 0


class SlotTable:
    """All objects by TOI. Making room closes nothing that is complete and never the object in reception."""

    def __init__(self, max_held_bytes: int) -> None:
        self._max_held_bytes = max_held_bytes
        self._slots: dict[int, Slot] = {}
        self._opened = 0

    @property
    def is_crowded(self) -> bool:
        """Whether `make_room` is due because of new objects."""
        return self._opened % LOOK_INTERVAL == 0

    def get(self, toi: int) -> Slot | None:
        """The object's slot, if it has one."""
        return self._slots.get(toi)

    def open(self, toi: int) -> Slot:
        """The object's slot, made if need be."""
        slot = self._slots.get(toi)
        if slot is None:
            slot = self._slots[toi] = Slot(toi)
            self._opened += 1
        return slot

    def forget(self, slots: list[Slot]) -> None:
        """Drop these slots with all they hold."""
        for slot in slots:
            slot.close()
            del self._slots[slot.toi]

    def unfinished(self) -> list[Slot]:
        """Slots that hold or wait for symbols, the oldest first."""
        return [slot for slot in self._slots.values() if slot.symbols is not None]

    def make_room(self, keep: Slot, is_wanted: Callable[[int], bool]) -> list[int]:
        """Drop symbols until the budget holds, of unannounced objects first; the TOIs that lost theirs."""
        open_slots = [slot for slot in self.unfinished() if slot is not keep]
        unannounced = [slot for slot in open_slots if not is_wanted(slot.toi)]
        held_bytes = keep.held_bytes + sum(slot.held_bytes for slot in open_slots)
        dropped: list[int] = []
        excess = unannounced[: max(0, len(unannounced) - MAX_UNANNOUNCED)]
        held_bytes -= sum(slot.held_bytes for slot in excess)
        self.forget(excess)
        announced = [slot for slot in open_slots if is_wanted(slot.toi)]
        for slot in unannounced + announced:
            if held_bytes <= self._max_held_bytes:
                break
            if slot.symbols:
                held_bytes -= slot.held_bytes
                slot.restart()
                dropped.append(slot.toi)
        return dropped
