"""Multicast Listener Discovery: MLDv2 of RFC 9777 section 5, and MLDv1 (RFC 2710) reports and dones.

Every message comes from a link-local address, with hop limit 1 and a Router Alert (RFC 9777 section 5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address

from controller.wire.frames import Frame, WireError
from controller.wire.icmpv6 import IcmpType, icmp_body, icmp_message

MLD_HOP_LIMIT = 1
ANY_GROUP = IPv6Address("::")
"""The group of a general query."""


class RecordType(IntEnum):
    """What a multicast address record says (RFC 9777 section 5.2.12)."""

    MODE_IS_INCLUDE = 1
    MODE_IS_EXCLUDE = 2
    CHANGE_TO_INCLUDE = 3
    CHANGE_TO_EXCLUDE = 4
    ALLOW_NEW_SOURCES = 5
    BLOCK_OLD_SOURCES = 6


@dataclass(frozen=True, slots=True)
class Record:
    """One multicast address record of a report."""

    kind: RecordType
    group: IPv6Address
    sources: tuple[IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A listener's report. `version` 1 stands for MLDv1, whose messages mean one record each
    (RFC 9777 section 8.3.2): a report IS_EX({}), a done TO_IN({})."""

    records: tuple[Record, ...]
    version: int = 2


@dataclass(frozen=True, slots=True)
class Query:
    """A query; general when `group` is `::`, else about the group, or about these sources of it."""

    max_response_ms: int
    group: IPv6Address = ANY_GROUP
    sources: tuple[IPv6Address, ...] = ()
    robustness: int = 2
    interval_s: int = 125


MldMessage = Report | Query


def decode_mld(frame: Frame) -> MldMessage:
    """Decode and validate an MLD message. Raises WireError where the RFC says to drop it."""
    kind, body = icmp_body(frame)
    if frame.hop_limit != MLD_HOP_LIMIT or not frame.router_alert:
        raise WireError("MLD message without hop limit 1 or without a Router Alert")
    if not frame.src.is_link_local:
        raise WireError("MLD message from an address that is not link-local")
    if kind == IcmpType.MLDV2_REPORT:
        return _report(body)
    if kind not in (IcmpType.MLDV1_REPORT, IcmpType.MLDV1_DONE, IcmpType.MLD_QUERY):
        raise WireError(f"ICMPv6 type {kind} is not MLD")
    if len(body) < 20:
        raise WireError("MLD message is cut short")
    group = IPv6Address(body[4:20])
    if kind == IcmpType.MLD_QUERY:
        return _query(group, body)
    if not group.is_multicast:
        raise WireError(f"MLD record about {group}, which is not multicast")
    done = kind == IcmpType.MLDV1_DONE
    record = Record(RecordType.CHANGE_TO_INCLUDE if done else RecordType.MODE_IS_EXCLUDE, group)
    return Report((record,), version=1)


def encode_mld(source: IPv6Address, destination: IPv6Address, message: MldMessage) -> bytes:
    """The ICMPv6 bytes of a message between these addresses."""
    if isinstance(message, Query):
        body = struct.pack("!HH", encode_code(message.max_response_ms, 15), 0) + message.group.packed
        body += struct.pack(
            "!BBH", message.robustness & 7, encode_code(message.interval_s, 7), len(message.sources)
        )
        body += b"".join(address.packed for address in message.sources)
        return icmp_message(source, destination, IcmpType.MLD_QUERY, body)
    if message.version == 1:
        (record,) = message.records
        done = record.kind is RecordType.CHANGE_TO_INCLUDE
        kind = IcmpType.MLDV1_DONE if done else IcmpType.MLDV1_REPORT
        return icmp_message(source, destination, kind, bytes(4) + record.group.packed)
    body = struct.pack("!HH", 0, len(message.records))
    for record in message.records:
        body += struct.pack("!BBH", record.kind, 0, len(record.sources)) + record.group.packed
        body += b"".join(address.packed for address in record.sources)
    return icmp_message(source, destination, IcmpType.MLDV2_REPORT, body)


def encode_code(value: int, bits: int) -> int:
    """A Maximum Response Code (`bits` 15) or QQIC (`bits` 7) of RFC 9777 sections 5.1.3 and 5.1.9.

    Values below 2^bits stand for themselves, larger ones are rounded down to four (or twelve) bits
    of mantissa and three of exponent.
    """
    if value < 1 << bits:
        return value
    mantissa_bits = bits - 3
    exponent = min(value.bit_length() - mantissa_bits - 4, 7)
    mantissa = min(value >> (exponent + 3), (2 << mantissa_bits) - 1) & ((1 << mantissa_bits) - 1)
    return 1 << bits | exponent << mantissa_bits | mantissa


def decode_code(code: int, bits: int) -> int:
    """The inverse of `encode_code`."""
    if code < 1 << bits:
        return code
    mantissa_bits = bits - 3
    mantissa = code & ((1 << mantissa_bits) - 1) | 1 << mantissa_bits
    return mantissa << ((code >> mantissa_bits & 7) + 3)


def _query(group: IPv6Address, body: bytes) -> Query:
    (code,) = struct.unpack_from("!H", body)
    if len(body) == 20:
        return Query(code, group)
    if len(body) < 24:
        raise WireError("MLD query is cut short")
    flags, interval, count = struct.unpack_from("!BBH", body, 20)
    sources = _addresses(body, 24, count)
    return Query(decode_code(code, 15), group, sources, flags & 7, decode_code(interval, 7))


def _report(body: bytes) -> Report:
    if len(body) < 4:
        raise WireError("MLD report is cut short")
    (count,) = struct.unpack_from("!H", body, 2)
    records, position = [], 4
    for _ in range(count):
        if position + 20 > len(body):
            raise WireError("MLD record is cut short")
        kind, auxiliary_words, number = struct.unpack_from("!BBH", body, position)
        group = IPv6Address(body[position + 4 : position + 20])
        sources = _addresses(body, position + 20, number)
        position += 20 + number * 16 + auxiliary_words * 4
        if not group.is_multicast:
            raise WireError(f"MLD record about {group}, which is not multicast")
        # Records of unknown type are skipped, the others of the report still count (section 5.2.12).
        if 1 <= kind <= 6:
            records.append(Record(RecordType(kind), group, sources))
    return Report(tuple(records))


def _addresses(body: bytes, start: int, count: int) -> tuple[IPv6Address, ...]:
    end = start + count * 16
    if end > len(body):
        raise WireError("MLD source list is cut short")
    return tuple(IPv6Address(body[at : at + 16]) for at in range(start, end, 16))
