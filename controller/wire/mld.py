"""Multicast Listener Discovery: the messages of MLDv2 (RFC 9777 section 5) and MLDv1 (RFC 2710).

Every message comes from a link-local address, with hop limit 1 and a Router Alert (RFC 9777 section 5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv6Address, IPv6Network

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, Frame, WireError
from controller.wire.icmpv6 import IcmpType, icmp_message

MLD_HOP_LIMIT = 1
ANY_GROUP = IPv6Address("::")
"""The group of a general query."""

_LINK_LOCAL = IPv6Network("fe80::/64")
_RESPONSE_BITS, _INTERVAL_BITS = 15, 7
_SUPPRESS, _ROBUSTNESS = 0x08, 0x07
_VERSION_1_LENGTH = 20


class Fault(StrEnum):
    """Why a message is dropped."""

    NOT_MLD = "not-mld"
    CHECKSUM = "checksum"
    HOP_LIMIT = "hop-limit"
    NO_ROUTER_ALERT = "no-router-alert"
    SOURCE = "source-not-link-local"
    LENGTH = "length"
    GROUP = "group-not-multicast"


class MldError(WireError):
    """An MLD message that the RFC says to drop silently; `fault` is for counting."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class RecordType(IntEnum):
    """What a multicast address record says (RFC 9777 section 5.2.13)."""

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
    """A query; general when `group` is `::`, else about the group, or about these sources of it.

    `suppress` is the S flag: routers that receive the query keep their timers. `robustness` is 0 when the
    querier's is above 7 or not told; version 1 tells neither it nor `interval_s`.
    """

    max_response_ms: int
    group: IPv6Address = ANY_GROUP
    sources: tuple[IPv6Address, ...] = ()
    robustness: int = 2
    interval_s: int = 125
    suppress: bool = False
    version: int = 2


MldMessage = Report | Query


def decode_mld(frame: Frame) -> MldMessage:
    """Decode and validate an MLD message. Raises MldError where the RFC says to drop it.

    The code of the ICMPv6 header is ignored (RFC 9777 section 5.1.1), and so is data behind the message.
    """
    kind, body = _header(frame)
    if kind == IcmpType.MLDV2_REPORT:
        return _report(body)
    if len(body) < _VERSION_1_LENGTH:
        raise MldError(Fault.LENGTH, "MLD message is cut short")
    group = IPv6Address(body[4:20])
    if kind == IcmpType.MLD_QUERY:
        return _query(group, body)
    _require_multicast(group)
    done = kind == IcmpType.MLDV1_DONE
    record = Record(RecordType.CHANGE_TO_INCLUDE if done else RecordType.MODE_IS_EXCLUDE, group)
    return Report((record,), version=1)


def encode_mld(source: IPv6Address, destination: IPv6Address, message: MldMessage) -> bytes:
    """The ICMPv6 bytes of a message between these addresses."""
    if isinstance(message, Query):
        return icmp_message(source, destination, IcmpType.MLD_QUERY, _query_body(message))
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

    Values below 2^bits stand for themselves; larger ones are rounded down to four (or twelve) bits
    of mantissa and three of exponent, those beyond the range to its end.
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


def _header(frame: Frame) -> tuple[int, bytes]:
    data = frame.payload
    if frame.protocol != ICMPV6:
        raise MldError(Fault.NOT_MLD, f"protocol {frame.protocol} is not ICMPv6")
    if len(data) < 4:
        raise MldError(Fault.LENGTH, "ICMPv6 message is cut short")
    if data[0] not in _TYPES:
        raise MldError(Fault.NOT_MLD, f"ICMPv6 type {data[0]} is not MLD")
    if upper_layer_checksum(frame.src, frame.dst, ICMPV6, data) != 0:
        raise MldError(Fault.CHECKSUM, "ICMPv6 checksum is wrong")
    if frame.hop_limit != MLD_HOP_LIMIT:
        raise MldError(Fault.HOP_LIMIT, f"MLD message with hop limit {frame.hop_limit}")
    if not frame.router_alert:
        raise MldError(Fault.NO_ROUTER_ALERT, "MLD message without a Router Alert")
    if frame.src not in _LINK_LOCAL:
        raise MldError(Fault.SOURCE, "MLD message from an address that is not link-local")
    return data[0], data[4:]


_TYPES = frozenset({IcmpType.MLD_QUERY, IcmpType.MLDV1_REPORT, IcmpType.MLDV1_DONE, IcmpType.MLDV2_REPORT})


def _query_body(query: Query) -> bytes:
    if query.version == 1:
        return struct.pack("!HH", min(query.max_response_ms, 0xFFFF), 0) + query.group.packed
    flags = (_SUPPRESS if query.suppress else 0) | (query.robustness if query.robustness <= 7 else 0)
    return b"".join(
        (
            struct.pack("!HH", encode_code(query.max_response_ms, _RESPONSE_BITS), 0),
            query.group.packed,
            struct.pack("!BBH", flags, encode_code(query.interval_s, _INTERVAL_BITS), len(query.sources)),
            *(address.packed for address in query.sources),
        )
    )


def _query(group: IPv6Address, body: bytes) -> Query:
    if group != ANY_GROUP:
        _require_multicast(group)
    (code,) = struct.unpack_from("!H", body)
    if len(body) == _VERSION_1_LENGTH:
        return Query(code, group, robustness=0, interval_s=0, version=1)
    if len(body) < 24:
        raise MldError(Fault.LENGTH, "MLD query is neither of version 1 nor of version 2")
    flags, interval, count = struct.unpack_from("!BBH", body, 20)
    return Query(
        decode_code(code, _RESPONSE_BITS),
        group,
        _addresses(body, 24, count),
        flags & _ROBUSTNESS,
        decode_code(interval, _INTERVAL_BITS),
        bool(flags & _SUPPRESS),
    )


def _report(body: bytes) -> Report:
    if len(body) < 4:
        raise MldError(Fault.LENGTH, "MLD report is cut short")
    (count,) = struct.unpack_from("!H", body, 2)
    records, position = [], 4
    for _ in range(count):
        if position + 20 > len(body):
            raise MldError(Fault.LENGTH, "MLD record is cut short")
        kind, auxiliary_words, number = struct.unpack_from("!BBH", body, position)
        group = IPv6Address(body[position + 4 : position + 20])
        sources = _addresses(body, position + 20, number)
        position += 20 + number * 16 + auxiliary_words * 4
        # Records of unknown type are skipped, the others of the report still count (section 5.2.13).
        if 1 <= kind <= 6:
            _require_multicast(group)
            records.append(Record(RecordType(kind), group, sources))
    if position > len(body):
        raise MldError(Fault.LENGTH, "MLD record is cut short")
    return Report(tuple(records))


def _addresses(body: bytes, start: int, count: int) -> tuple[IPv6Address, ...]:
    end = start + count * 16
    if end > len(body):
        raise MldError(Fault.LENGTH, "MLD source list is cut short")
    return tuple(IPv6Address(body[at : at + 16]) for at in range(start, end, 16))


def _require_multicast(group: IPv6Address) -> None:
    if not group.is_multicast:
        raise MldError(Fault.GROUP, f"MLD message about {group}, which is not multicast")
