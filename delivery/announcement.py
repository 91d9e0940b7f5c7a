"""FDT instances of a session: objects in groups whose description fits one datagram each.

One datagram per instance means that an FDT is received whole or not at all, and needs no FEC of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from delivery.alc import NO_CODE, Oti, encode_ext_cenc, encode_ext_fdt, encode_fti, encode_payload_id
from delivery.fdt import ZLIB, FdtFile, FdtInstance, encode_fdt
from delivery.lct import LctHeader, encode_lct

MANIFEST_TYPE = "application/vnd.nearcast.manifest"
BUNDLE_TYPE = "application/vnd.nearcast.bundle"
FDT_INSTANCES = 1 << 20
"""FDT instance IDs have 20 bits and wrap around."""

_MOST_FILES = 24
_MANIFEST_LOCATION = "manifest/"


def manifest_location(version: int) -> str:
    """The Content-Location of the signed manifest of this version."""
    return f"{_MANIFEST_LOCATION}{version}"


def manifest_version(location: str) -> int | None:
    """The version a Content-Location names, or None when it is not that of a manifest."""
    _, found, digits = location.rpartition(_MANIFEST_LOCATION)
    return int(digits) if found and digits.isdecimal() and digits.isascii() and len(digits) < 16 else None


@dataclass(slots=True)
class Announcement:
    """One FDT instance: the files it describes and the datagram that carries it."""

    files: tuple[FdtFile, ...]
    expires_unix_s: int
    datagram: bytes


class Announcer:
    """Makes FDT instances with ever new IDs, each valid for `lifetime_s` seconds."""

    def __init__(self, tsi: int, first_instance: int, lifetime_s: float, most_bytes: int) -> None:
        self._tsi = tsi
        self._lifetime_s = lifetime_s
        self._most_bytes = most_bytes
        self.next_instance = first_instance % FDT_INSTANCES

    def announce(self, files: Sequence[FdtFile], unix_s: float) -> list[Announcement]:
        """Describe `files` in as few datagrams of at most `most_bytes` symbol bytes as it takes."""
        announcements: list[Announcement] = []
        at = 0
        count = _MOST_FILES
        while at < len(files):
            group = tuple(files[at : at + count])
            announcement = self._instance(group, unix_s)
            if announcement is None:
                if len(group) == 1:
                    raise ValueError(f"the description of TOI {group[0].toi} does not fit one packet")
                count = len(group) // 2
                continue
            announcements.append(announcement)
            at += len(group)
        return announcements

    def renew(self, announcement: Announcement, unix_s: float) -> None:
        """Make a new instance of a description that has used up nine tenths of its life."""
        if unix_s > announcement.expires_unix_s - self._lifetime_s / 10:
            fresh = self._instance(announcement.files, unix_s)
            if fresh is not None:
                announcement.expires_unix_s = fresh.expires_unix_s
                announcement.datagram = fresh.datagram

    def _instance(self, files: tuple[FdtFile, ...], unix_s: float) -> Announcement | None:
        expires = int(unix_s + self._lifetime_s)
        body = zlib.compress(encode_fdt(FdtInstance(expires, files)), 9)
        if len(body) > self._most_bytes:
            return None
        datagram = fdt_datagram(self._tsi, self.next_instance, body, self._most_bytes)
        self.next_instance = (self.next_instance + 1) % FDT_INSTANCES
        return Announcement(files, expires, datagram)


def fdt_datagram(tsi: int, instance_id: int, body: bytes, symbol_size: int) -> bytes:
    """The one packet of a ZLIB-compressed FDT instance that fits a symbol: TOI 0, no code, EXT_FTI."""
    oti = Oti(NO_CODE, len(body), symbol_size, max_block_symbols=1)
    extensions = (encode_ext_fdt(instance_id), encode_fti(oti), encode_ext_cenc(ZLIB))
    header = LctHeader(tsi, 0, NO_CODE, extensions=extensions)
    return encode_lct(header) + encode_payload_id(NO_CODE, 0, 0) + body
