"""File Delivery Table instances (RFC 6726 section 3.4.2): the XML object that describes the other objects."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from delivery.alc import NO_CODE, RAPTORQ, Oti

NAMESPACE = "urn:ietf:params:xml:ns:fdt"
NULL, ZLIB, DEFLATE, GZIP = range(4)
"""Content encodings of an FDT instance (RFC 6726 section 3.4.3)."""
NTP_TO_UNIX_S = 2_208_988_800
MAX_FDT_BYTES = 256 << 10
"""Some 1,000 objects; parsing takes a few milliseconds."""

_LATEST_UNIX_S = 1 << 40

_WINDOW_BITS = {ZLIB: 15, DEFLATE: -15, GZIP: 31}


class FdtError(ValueError):
    """An FDT instance that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class FdtFile:
    """One object. `content_md5` is base64 (RFC 6726 keeps MD5, against accidents only).

    `content_length` counts bytes before, the OTI's transfer length after the object's own content encoding.
    """

    toi: int
    location: str
    oti: Oti
    content_length: int
    content_type: str = ""
    content_encoding: str = ""
    content_md5: str = ""


@dataclass(frozen=True, slots=True)
class FdtInstance:
    """Some files and the Unix time in seconds until which the description holds."""

    expires_unix_s: int
    files: tuple[FdtFile, ...]
    complete: bool = False


def encode_fdt(instance: FdtInstance) -> bytes:
    """The instance as XML; transmission information that all files share stands once, at the root."""
    shared: dict[str, str] = {}
    if instance.files:
        each = [_oti_attributes(file.oti) for file in instance.files]
        shared = {name: value for name, value in each[0].items() if all(e.get(name) == value for e in each)}
    root = {"xmlns": NAMESPACE, "Expires": str(instance.expires_unix_s + NTP_TO_UNIX_S), **shared}
    if instance.complete:
        root["Complete"] = "true"
    lines = ['<?xml version="1.0" encoding="UTF-8"?><FDT-Instance', _attributes(root), ">"]
    for file in instance.files:
        own = {
            "Content-Location": file.location,
            "TOI": str(file.toi),
            "Content-Length": str(file.content_length),
            "Transfer-Length": str(file.oti.transfer_length),
            "Content-Type": file.content_type,
            "Content-Encoding": file.content_encoding,
            "Content-MD5": file.content_md5,
        }
        own |= {name: value for name, value in _oti_attributes(file.oti).items() if name not in shared}
        lines += ["<File", _attributes({name: value for name, value in own.items() if value}), "/>"]
    lines.append("</FDT-Instance>")
    return "".join(lines).encode()


def decode_fdt(data: bytes, encoding: int = NULL) -> FdtInstance:
    """Parse an instance, decompressing it first when EXT_CENC said so. Raises FdtError."""
    from xml.etree import ElementTree

    try:
        text = _decompress(data, encoding).decode()
        # No FDT needs a document type or entities, and they are how XML parsers are attacked.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise FdtError("FDT with a document type declaration")
        root = ElementTree.fromstring(text)
        expires = int(root.attrib["Expires"]) - NTP_TO_UNIX_S
        files = tuple(
            _file({**root.attrib, **element.attrib}) for element in root if _local_name(element.tag) == "File"
        )
    except (UnicodeDecodeError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise FdtError(f"FDT instance does not parse: {_short(error)}") from None
    if not 0 <= expires < _LATEST_UNIX_S:
        raise FdtError("FDT instance with an impossible expiry")
    if _local_name(root.tag) != "FDT-Instance":
        raise FdtError(f"FDT instance has the root element {root.tag[:80]!r}")
    return FdtInstance(expires, files, root.attrib.get("Complete", "").lower() in ("true", "1"))


def _file(attributes: Mapping[str, str]) -> FdtFile:
    transfer_length = int(attributes.get("Transfer-Length") or attributes["Content-Length"])
    fec_id = int(attributes["FEC-OTI-FEC-Encoding-ID"])
    symbol_size = int(attributes["FEC-OTI-Encoding-Symbol-Length"])
    if fec_id == RAPTORQ:
        specific = base64.b64decode(attributes["FEC-OTI-Scheme-Specific-Info"], validate=True)
        if len(specific) != 4:
            raise FdtError(f"RaptorQ scheme-specific information of {len(specific)} octets")
        sub_blocks = int.from_bytes(specific[1:3], "big")
        oti = Oti(fec_id, transfer_length, symbol_size, 0, specific[0], sub_blocks, specific[3])
    elif fec_id == NO_CODE:
        oti = Oti(
            fec_id, transfer_length, symbol_size, int(attributes["FEC-OTI-Maximum-Source-Block-Length"])
        )
    else:
        raise FdtError(f"FEC Encoding ID {fec_id} is not spoken here")
    toi = int(attributes["TOI"])
    if symbol_size < 1 or transfer_length < 0 or not 0 < toi < 1 << 112:
        raise FdtError("FDT file with an impossible TOI, length or symbol size")
    return FdtFile(
        toi=toi,
        location=attributes["Content-Location"],
        oti=oti,
        content_length=int(attributes.get("Content-Length", transfer_length)),
        content_type=attributes.get("Content-Type", ""),
        content_encoding=attributes.get("Content-Encoding", ""),
        content_md5=attributes.get("Content-MD5", ""),
    )


def _oti_attributes(oti: Oti) -> dict[str, str]:
    """RFC 6726 section 5: the OTI as FDT attributes; RaptorQ's Z, N and Al are scheme-specific, in base64."""
    attributes = {
        "FEC-OTI-FEC-Encoding-ID": str(oti.fec_id),
        "FEC-OTI-Encoding-Symbol-Length": str(oti.symbol_size),
    }
    if oti.fec_id == RAPTORQ:
        specific = bytes((oti.source_blocks,)) + oti.sub_blocks.to_bytes(2, "big") + bytes((oti.alignment,))
        attributes["FEC-OTI-Scheme-Specific-Info"] = base64.b64encode(specific).decode()
    else:
        attributes["FEC-OTI-Maximum-Source-Block-Length"] = str(oti.max_block_symbols)
    return attributes


def _attributes(values: Mapping[str, str]) -> str:
    from xml.sax.saxutils import quoteattr

    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())


def _short(error: Exception) -> str:
    """What is wrong, without the data it is wrong with (a decoding error carries all of it)."""
    return f"{type(error).__name__}: {str(error)[:120]}"


def _local_name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _decompress(data: bytes, encoding: int) -> bytes:
    if encoding == NULL:
        return data
    if encoding not in _WINDOW_BITS:
        raise FdtError(f"FDT content encoding {encoding} is unknown")
    decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        text = decompressor.decompress(data, MAX_FDT_BYTES)
    except zlib.error as error:
        raise FdtError(f"FDT instance does not decompress: {error}") from None
    if decompressor.unconsumed_tail:
        raise FdtError(f"FDT instance is larger than {MAX_FDT_BYTES} bytes")
    return text
