"""The receiving end of the static stream, sans-I/O: datagrams and the time in, events and a deadline out.

Nothing that the network says is believed before a manifest that verifies, or a digest from it, confirms it:
the FDT and the packets only say how to decode. Repair is asked for as DVB-MABR does (ETSI TS 103 769 clauses
9.1 and 10.2.3.12): when an object has evidently passed, when nothing comes any more or when the FDT expires,
and after a fixed and a random back-off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from delivery.alc import FDT_TOI, Oti, decode_fti, decode_packet
from delivery.announcement import manifest_version
from delivery.assembly import Assembly
from delivery.coding import CodingError, KeyNeededError, decode_bundle, unseal_manifest
from delivery.events import (
    BlobReceived,
    Event,
    EventQueue,
    KeyNeeded,
    ManifestReceived,
    RepairNeeded,
    SiteComplete,
)
from delivery.fdt import FdtError, FdtInstance
from delivery.fdt_reception import FdtReception
from delivery.fec import is_supported
from delivery.lct import LctError
from delivery.manifest import EMPTY_SHA256, Bundle, Manifest, ManifestError
from delivery.report_timer import ReportTimer
from delivery.signing import Verifier, open_manifest
from delivery.slots import UNKNOWN_STEP, Slot, SlotTable

DEFAULT_MAX_HELD_BYTES = 128 << 20
_PREFIX = 12
"""Octets of the LCT header of every packet that takes the short way; payload ID and symbol follow."""
_MOST_PREFIXES = 4096
_MOST_MANIFESTS = 8
_MOST_DESCRIPTIONS = 1 << 16
_STRANGERS_PATIENCE = 16
"""So patient a receiver no longer believes that packets it cannot place will ever be explained."""


class Receiver:
    """One edge's reception of one FLUTE session; see the module. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        tsi: int,
        public_key: Verifier,
        has_blob: Callable[[str], bool],
        *,
        seed: int,
        fixed_back_off_s: float,
        random_back_off_s: float,
        reception_timeout_s: float,
        current_version: int = 0,
        unix_offset_s: float = 0.0,
        max_held_bytes: int = DEFAULT_MAX_HELD_BYTES,
        has_piece: Callable[[str, int], bool] = lambda _sha256, _offset: False,
        epoch_keys: Mapping[int, bytes] | None = None,
        region: str = "",
    ) -> None:
        """`current_version` is the newest manifest the edge holds; older ones are refused.

        `now` + `unix_offset_s` is Unix time (for the FDT's expiry); give it when `now` is something else.
        `epoch_keys` may grow later, see `keys_available`. With a `region` the stream is that region's.
        """
        self._tsi = tsi
        self._public_key = public_key
        self._has_blob = has_blob
        self._has_piece = has_piece
        self._keys = {} if epoch_keys is None else epoch_keys
        self._region = region
        self._reports = ReportTimer(seed, fixed_back_off_s, random_back_off_s, reception_timeout_s)
        self._timeout_s = reception_timeout_s
        self._version = current_version
        self._unix_offset_s = unix_offset_s

        self._events = EventQueue()
        self._slots = SlotTable(max_held_bytes)
        self._by_prefix: dict[bytes, Slot] = {}
        self._current: Slot | None = None
        self._newest_toi = 0
        self._symbol_size = 0
        self._oti: dict[int, Oti] = {}
        self._fdt = FdtReception()
        self._fdt_asked = False
        self._manifests: dict[int, int] = {}
        """Announced manifest objects not yet decoded: TOI to version."""
        self._assembly: Assembly | None = None
        self._wanted: dict[int, Bundle] = {}
        self._settled_toi = 0
        """Up to here the newest manifest says which objects are wanted."""
        self._told_version = 0
        self._heard_at = 0.0
        self._idle_at: float | None = None
        self._expires_at: float | None = None
        self._ask_everything = False

    # What the shell calls

    def datagram_received(self, data: bytes, now: float) -> None:
        """Take one UDP payload. Garbage never raises; it gives a `Rejected` event at most."""
        slot = self._by_prefix.get(data[:_PREFIX])
        if slot is not None and slot is self._current:
            symbols = slot.symbols
            if symbols is None:
                return
            if len(data) == slot.packet_length:
                symbols[data[12:16]] = data[12:]
                self._heard_at = now
                if len(symbols) >= slot.threshold:
                    self._try_object(slot, now)
                return
        self._take_packet(data, now)

    def manifest_available(self, signed: bytes, now: float) -> None:
        """Take a manifest that came over unicast, or from the store after a restart."""
        self._open_manifest(signed, now)

    def blob_available(self, sha256: str, now: float) -> None:
        """A blob was stored by other means than this receiver: it is not asked for any more."""
        if self._assembly is not None and sha256 in self._assembly.missing:
            self._assembly.drop(sha256)
            self._review_wanted()

    def keys_available(self, now: float) -> None:
        """The mapping of epoch keys has grown: what waits for a key is tried again."""
        for slot in self._slots.unfinished():
            if slot.decoder is not None and slot.symbols and len(slot.symbols) >= slot.decoder.needed:
                self._try_object(slot, now)

    def next_deadline(self) -> float | None:
        """When to call `handle_timeout`; None while nothing is outstanding. May come early, never late."""
        if not self._is_outstanding():
            return None
        times = (self._reports.at, self._idle_at, self._expires_at)
        return min((at for at in times if at is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`; calling too early is harmless."""
        if not self._is_outstanding():
            self._reports.at = self._idle_at = self._expires_at = None
            return
        expired = self._expires_at is not None and now >= self._expires_at
        if self._idle_at is not None and now >= self._idle_at:
            self._idle_at = self._heard_at + self._timeout_s
        quiet = self._idle_at is not None and now >= self._idle_at
        if expired or quiet:
            if expired:
                self._expires_at = None
            if quiet:
                self._idle_at = None
            self._current = None
            self._ask_everything = True
            self._reports.start(now)
        if self._reports.is_due(now):
            self._report(now)

    @property
    def rejected(self) -> int:
        """How often something was thrown away."""
        return self._events.rejected

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        return self._events.take()

    # Packets

    def _take_packet(self, data: bytes, now: float) -> None:
        try:
            packet = decode_packet(data)
            if packet.header.tsi != self._tsi:
                return
            if packet.header.close_session:
                self._ask_everything = True  # ETSI TS 103 769, F.3: nothing follows
                self._reports.start(now)
            if packet.header.toi == FDT_TOI:
                self._leave_current(now)
                if not packet.symbol:
                    return
                instance = self._fdt.take(packet, data)
                if instance is not None:
                    self._apply_fdt(instance, now)
                return
            oti = decode_fti(packet.header)
        except (LctError, FdtError) as error:
            self._events.reject(str(error))
            return
        slot = self._current
        if slot is None or slot.toi != packet.header.toi:
            slot = self._enter(packet.header.toi, now)
        start = len(data) - len(packet.symbol) - 4
        if oti is not None:
            if slot.toi not in self._oti:
                self._describe(slot.toi, oti, now)
        elif start == _PREFIX and len(self._by_prefix) < _MOST_PREFIXES:
            self._by_prefix[data[:_PREFIX]] = slot
        if slot.symbols is not None and packet.symbol:
            self._heard_at = now
            if slot.oti is None:
                slot.packet_length = max(slot.packet_length, len(data))
            if slot.oti is None or len(packet.symbol) <= slot.oti.symbol_size:
                slot.symbols[data[start : start + 4]] = data[start:]
                if len(slot.symbols) >= slot.threshold:
                    self._try_object(slot, now)
            else:
                self._events.reject(f"symbol of {len(packet.symbol)} bytes for TOI {slot.toi}")
        if packet.header.close_object or packet.header.close_session:
            self._leave_current(now)

    def _enter(self, toi: int, now: float) -> Slot:
        """Packets of another object than before begin to come."""
        self._leave_current(now)
        slot = self._slots.get(toi) or self._open(toi)
        if toi <= self._settled_toi and not self._is_wanted(toi):
            slot.close()
        self._current = slot
        if slot.symbols is None:
            return slot
        slot.reported_at = None
        self._ask_everything = False
        self._reports.patience = 1
        self._heard_at = now
        if self._idle_at is None:
            self._idle_at = now + self._timeout_s
        if toi > self._newest_toi and self._is_wanted(toi):
            self._newest_toi = toi
            if any(other < toi for other in self._wanted):
                self._reports.start(now)
        return slot

    def _open(self, toi: int) -> Slot:
        slot = self._slots.open(toi)
        oti = self._oti.get(toi)
        if oti is not None:
            slot.describe(oti)
            slot.packet_length = _PREFIX + 4 + oti.symbol_size
        if self._slots.is_crowded:
            self._make_room(slot)
        return slot

    def _leave_current(self, now: float) -> None:
        slot, self._current = self._current, None
        if slot is not None and slot.symbols is not None:
            slot.has_passed = True
            self._reports.start(now)

    def _make_room(self, keep: Slot) -> None:
        for toi in self._slots.make_room(keep, self._is_wanted):
            self._events.reject(f"no memory for the symbols of TOI {toi}")
        if len(self._by_prefix) >= _MOST_PREFIXES:
            self._by_prefix.clear()

    # The FDT

    def _apply_fdt(self, instance: FdtInstance, now: float) -> None:
        expires_at = instance.expires_unix_s - self._unix_offset_s
        if expires_at <= now:
            raise FdtError("FDT instance has expired")
        impossible = 0
        for file in instance.files:
            bundle = self._wanted.get(file.toi)
            if not is_supported(file.oti) or (bundle and bundle.transfer_length != file.oti.transfer_length):
                impossible += 1
                continue
            version = manifest_version(file.location)
            if version is not None and file.toi > self._settled_toi and self._is_news(version):
                if self._manifests.pop(file.toi, None) is None:
                    self._reports.patience = 1
                self._manifests[file.toi] = version
                slot = self._slots.get(file.toi)
                if slot is not None and slot.symbols is None:
                    self._slots.forget([slot])
                if self._idle_at is None:
                    self._heard_at = now
                    self._idle_at = now + self._timeout_s
                if len(self._manifests) > _MOST_MANIFESTS:
                    del self._manifests[next(iter(self._manifests))]
            self._describe(file.toi, file.oti, now)
        if impossible:
            self._events.reject(f"FDT describes {impossible} objects in a way that cannot be")
        self._expires_at = expires_at
        if self._fdt_asked:
            self._fdt_asked = False
            self._reports.start(now)

    def _describe(self, toi: int, oti: Oti, now: float) -> None:
        if not is_supported(oti):
            self._events.reject(f"TOI {toi} is coded in a way that is not supported")
            return
        self._oti[toi] = oti
        if len(self._oti) > _MOST_DESCRIPTIONS:
            del self._oti[next(iter(self._oti))]
        self._symbol_size = oti.symbol_size
        slot = self._slots.get(toi)
        if slot is not None and slot.symbols is not None and slot.oti != oti:
            slot.describe(oti)
            slot.packet_length = _PREFIX + 4 + oti.symbol_size
        if slot is not None and slot.symbols and slot.decoder and len(slot.symbols) >= slot.decoder.needed:
            self._try_object(slot, now)

    # Objects

    def _try_object(self, slot: Slot, now: float) -> None:
        """Decode an object that may have enough symbols."""
        bundle = self._wanted.get(slot.toi)
        version = self._manifests.get(slot.toi)
        if slot.symbols is None or slot.decoder is None or (bundle is None and version is None):
            slot.threshold += UNKNOWN_STEP
            self._make_room(slot)
            return
        if len(slot.symbols) < slot.decoder.needed:
            slot.look_later()
            self._make_room(slot)
            return
        content = slot.decoder.decode(slot.symbols)
        if content is None:
            slot.threshold = max(slot.decoder.needed, len(slot.symbols) + 1)
        elif bundle is not None:
            self._finish_bundle(slot, bundle, content, now)
        else:
            self._finish_manifest(slot, content, now)

    def _finish_manifest(self, slot: Slot, content: bytes, now: float) -> None:
        try:
            signed = unseal_manifest(content, self._tsi, slot.toi, self._keys)
        except KeyNeededError as error:
            self._wait_for_key(slot, error.epoch)
            return
        except CodingError as error:
            self._events.reject(str(error))
            slot.restart()
            return
        if self._open_manifest(signed, now):
            self._manifests.pop(slot.toi, None)
            self._fdt.forget_last()
            slot.close()
        else:
            slot.restart()

    def _finish_bundle(self, slot: Slot, bundle: Bundle, data: bytes, now: float) -> None:
        try:
            content = decode_bundle(bundle, self._tsi, data, self._keys)
        except KeyNeededError as error:
            self._wait_for_key(slot, error.epoch)
            return
        except CodingError:
            content = b""
        if len(content) != bundle.size or hashlib.sha256(content).hexdigest() != bundle.sha256:
            self._events.reject(
                f"TOI {bundle.toi} has another digest than the manifest says; asking for it again"
            )
            slot.restart()
            slot.has_passed = True
            self._reports.start(now)
            return
        slot.close()
        del self._wanted[bundle.toi]
        if self._assembly is not None:
            self._events.add(*self._assembly.add(bundle, content))
            self._check_complete()

    def _wait_for_key(self, slot: Slot, epoch: int) -> None:
        """Every symbol is here, only the key is not: the object is not asked for again."""
        slot.awaits_key = True
        slot.threshold = len(slot.symbols or ()) + UNKNOWN_STEP
        self._events.add(KeyNeeded(epoch))

    def _open_manifest(self, signed: bytes, now: float) -> bool:
        """Verify a manifest and adopt it when it is news; False when it is not to be trusted."""
        try:
            manifest = open_manifest(signed, self._public_key)
        except ManifestError as error:
            self._events.reject(str(error))
            return False
        if manifest.version < self._version:
            self._events.reject(f"manifest version {manifest.version} is older than version {self._version}")
        elif self._is_news(manifest.version):
            self._adopt(manifest, signed, now)
        return True

    def _adopt(self, manifest: Manifest, signed: bytes, now: float) -> None:
        self._version = manifest.version
        self._assembly = assembly = Assembly(manifest, self._has_blob, self._has_piece, self._region)
        self._events.add(ManifestReceived(manifest, signed))
        if assembly.take_empty():
            self._events.add(BlobReceived(EMPTY_SHA256, b""))
        bundles = sorted(manifest.bundles, key=lambda bundle: bundle.toi)
        self._wanted = {bundle.toi: bundle for bundle in bundles if assembly.wants(bundle)}
        self._settled_toi = max([self._settled_toi, *(bundle.toi for bundle in bundles)])
        self._manifests = {toi: v for toi, v in self._manifests.items() if self._is_news(v)}
        closed = [slot for toi in self._wanted if (slot := self._slots.get(toi)) and slot.symbols is None]
        self._slots.forget(closed)  # something else had come under their numbers
        self._current = None if closed else self._current
        self._reports.patience = 1
        self._heard_at = now
        self._idle_at = now + self._timeout_s if self._wanted else None
        for slot in self._slots.unfinished():
            bundle = self._wanted.get(slot.toi)
            if bundle is None:
                if slot.toi <= self._settled_toi and slot.toi not in self._manifests:
                    slot.close()
            elif slot.oti is not None and slot.oti.transfer_length == bundle.transfer_length:
                if slot.symbols and len(slot.symbols) >= slot.oti.source_symbols:
                    self._try_object(slot, now)
            else:
                slot.oti = slot.decoder = None
                self._oti.pop(slot.toi, None)
                self._fdt.forget_last()
        if any(self._has_passed(toi) for toi in self._wanted):
            self._reports.start(now)
        self._check_complete()

    def _review_wanted(self) -> None:
        assembly = self._assembly
        if assembly is None:
            return
        for bundle in [bundle for bundle in self._wanted.values() if not assembly.wants(bundle)]:
            del self._wanted[bundle.toi]
            slot = self._slots.get(bundle.toi)
            if slot is not None:
                slot.close()
        self._check_complete()

    def _check_complete(self) -> None:
        if self._assembly is not None and not self._assembly.missing and self._told_version != self._version:
            self._told_version = self._version
            self._events.add(SiteComplete(self._version))

    # Repair

    def _report(self, now: float) -> None:
        """Ask for what has passed and is incomplete, and for everything when nothing comes any more."""
        missing: dict[int, int] = {}
        of: dict[int, int] = {}
        again_at: list[float] = []
        sizes = dict.fromkeys(self._manifests, 0) | {
            toi: bundle.transfer_length for toi, bundle in self._wanted.items()
        }
        for toi, size in sizes.items():
            slot = self._slots.get(toi)
            if slot is not None and slot is self._current and now < self._heard_at + self._reports.fixed_s:
                again_at.append(self._heard_at + self._reports.fixed_s)
            elif self._ask_everything or self._has_passed(toi):
                slot = slot or self._open(toi)
                if slot.reported_at is not None and now < slot.reported_at + 0.9 * self._timeout_s:
                    again_at.append(slot.reported_at + self._timeout_s)
                else:
                    self._count_missing(slot, size, missing, of, now)
        strangers = [] if self._manifests else self._strangers()
        if strangers and self._reports.patience < _STRANGERS_PATIENCE:
            missing[FDT_TOI] = 1
        elif strangers:
            self._slots.forget(strangers)
        if missing:
            self._fdt_asked = FDT_TOI in missing
            self._events.add(RepairNeeded(self._version, missing, of))
            self._reports.repeat(now)
        elif again_at:
            self._reports.wait_until(max(now, min(again_at)))

    def _count_missing(
        self, slot: Slot, size: int, missing: dict[int, int], of: dict[int, int], now: float
    ) -> None:
        if slot.awaits_key:
            return
        held = len(slot.symbols or ())
        if slot.decoder is not None:
            missing[slot.toi] = slot.decoder.missing(held)
            of[slot.toi] = slot.decoder.oti.source_symbols
        elif size and self._symbol_size:
            of[slot.toi] = -(-size // self._symbol_size)
            missing[slot.toi] = max(1, of[slot.toi] - held)
        else:
            missing[FDT_TOI] = 1
            return
        slot.reported_at = now

    def _has_passed(self, toi: int) -> bool:
        """Whether the sender has evidently sent this object, be it seen or not."""
        slot = self._slots.get(toi)
        return toi < self._newest_toi or (slot is not None and slot.has_passed)

    def _is_news(self, version: int) -> bool:
        return version > self._version or (version == self._version and self._assembly is None)

    def _is_wanted(self, toi: int) -> bool:
        return toi in self._wanted or toi in self._manifests

    def _strangers(self) -> list[Slot]:
        """Objects that no manifest wants: the next version's, or nobody's."""
        return [slot for slot in self._slots.unfinished() if not self._is_wanted(slot.toi)]

    def _is_outstanding(self) -> bool:
        return bool(self._wanted or self._manifests) or bool(self._strangers())
