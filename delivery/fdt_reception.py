"""FDT instances as they come, packet by packet: usually whole in one, but any sender's are read."""

from __future__ import annotations

from delivery.alc import (
    FDT_TOI,
    AlcPacket,
    Oti,
    content_encoding,
    decode_fti,
    encode_payload_id,
    fdt_instance_id,
)
from delivery.fdt import MAX_FDT_BYTES, FdtError, FdtInstance, decode_fdt
from delivery.fec import is_supported
from delivery.slots import Slot

_MOST_AT_ONCE = 4
"""Instances whose packets may come mixed."""


class FdtReception:
    """Puts FDT instances together, a few at a time; of more the oldest is given up."""

    def __init__(self) -> None:
        self._slots: dict[tuple[int, Oti], Slot] = {}
        self._last = b""

    def forget_last(self) -> None:
        """What was told last is to be read again when it comes again."""
        self._last = b""

    def take(self, packet: AlcPacket, data: bytes) -> FdtInstance | None:
        """The instance that this packet (`data` as it came) completes. Raises FdtError, LctError.

        The same packet twice in a row tells nothing new and gives None.
        """
        if data == self._last:
            return None
        oti = decode_fti(packet.header)
        instance = fdt_instance_id(packet.header)
        if instance is None or oti is None or not is_supported(oti) or oti.transfer_length > MAX_FDT_BYTES:
            raise FdtError("FDT packet without usable EXT_FDT and EXT_FTI")
        slot = self._slots.get((instance, oti))
        if slot is None:
            slot = self._slots[instance, oti] = Slot(FDT_TOI)
            slot.describe(oti)
            if len(self._slots) > _MOST_AT_ONCE:
                del self._slots[next(iter(self._slots))]
        if slot.symbols is None or slot.decoder is None or len(packet.symbol) > oti.symbol_size:
            return None
        key = encode_payload_id(oti.fec_id, packet.sbn, packet.esi)
        slot.symbols[key] = key + packet.symbol
        self._last = data
        if len(slot.symbols) < slot.decoder.needed:
            return None
        content = slot.decoder.decode(slot.symbols)
        if content is None:
            return None
        del self._slots[instance, oti]
        return decode_fdt(content, content_encoding(packet.header))
