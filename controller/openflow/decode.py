"""From bytes that a switch has sent back to rules, groups and meters: the exact inverse of `encode`.

Whatever `encode` would not have written raises NotOursError, however much of it could be understood: a rule
that is almost ours has been changed by somebody, and is to be put right.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from controller.openflow import encode
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
    COOKIE_MARK,
    Action,
    Bucket,
    CheckLarger,
    Commit,
    DecHopLimit,
    Group,
    Match,
    Meter,
    Output,
    PopTag,
    Prefix,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    ToGroup,
    Track,
)
from controller.wire.frames import ETH_TYPE_IPV6, UDP, mac_text

_BASIC, _NICIRA_FIELD, _NICIRA = 0x8000, 0x0001, 0x2320
_ANY = 0xFFFF_FFFF
_MARK_MASK = 0xFFFF << 48
_ARGUMENT_MASK = 0xFFFF
_CT_STATES = {value: state for state, value in encode.CT_STATES.items()}
_GROUP_KINDS = {value: kind for kind, value in encode.GROUP_TYPES.items()}
_MALFORMED = (ValueError, KeyError, IndexError, TypeError, struct.error)


class NotOursError(ValueError):
    """Bytes that this controller would not have written; the text says which."""


def rule_of(table: int, priority: int, cookie: int, match: bytes, instructions: bytes) -> Rule:
    """The rule of a flow entry; `match` is the fields without header and padding. Raises NotOursError."""
    if cookie & _MARK_MASK != COOKIE_MARK or cookie >> 32 & 0xFFFF:
        raise NotOursError(f"cookie {cookie:#x}")
    try:
        rule = _rule(table, priority, cookie, match, instructions)
    except _MALFORMED as error:
        raise NotOursError(str(error)) from None
    if rule.cookie != cookie:
        raise NotOursError(f"cookie {cookie:#x}")
    return rule


def group_of(entry: bytes) -> Group:
    """The group of one group description. Raises NotOursError."""
    try:
        kind, number = struct.unpack_from("!xxBxI", entry)
        return Group(number, _GROUP_KINDS[kind], tuple(_bucket(bucket) for bucket in entries(entry[8:])))
    except _MALFORMED as error:
        raise NotOursError(f"group: {error}") from None


def meter_of(entry: bytes) -> Meter:
    """The meter of one meter configuration. Raises NotOursError."""
    try:
        length, flags, number, band, band_length, rate, burst = struct.unpack_from("!HHIHHII", entry)
    except struct.error as error:
        raise NotOursError(f"meter: {error}") from None
    if (length, flags, band, band_length) != (24, encode.METER_FLAGS, 1, 16):
        raise NotOursError("a meter of another kind")
    return Meter(number, rate, burst)


def entries(data: bytes, length_at: int = 0) -> Iterator[bytes]:
    """Splits things that say their own length, `length_at` bytes behind their begin. Raises NotOursError
    when a length is impossible."""
    start = 0
    while start < len(data):
        length = int.from_bytes(data[start + length_at : start + length_at + 2])
        if not 8 <= length <= len(data) - start:
            raise NotOursError("an impossible length")
        yield data[start : start + length]
        start += length


def _rule(table: int, priority: int, cookie: int, match: bytes, instructions: bytes) -> Rule:
    actions, source_class, goto, meter = _instructions(instructions)
    origin, argument = Origin(cookie & 0xFFFF), cookie >> 16 & _ARGUMENT_MASK
    return Rule(TableId(table), priority, _match(match), origin, actions, source_class, goto, meter, argument)


@lru_cache(maxsize=16384)
def _instructions(data: bytes) -> tuple[tuple[Action, ...], int | None, TableId | None, int | None]:
    actions: tuple[Action, ...] = ()
    source_class = goto = meter = None
    start = 0
    while start < len(data):
        kind, length = struct.unpack_from("!HH", data, start)
        if length < 8:
            raise NotOursError("an instruction without a length")
        body = data[start + 4 : start + length]
        start += length
        if kind == 1:
            goto = TableId(body[0])
        elif kind == 2:
            source_class, mask = struct.unpack_from("!QQ", body, 4)
            if mask != encode.CLASS_MASK:
                raise NotOursError(f"metadata mask {mask:#x}")
        elif kind == 4:
            actions = tuple(_actions(body[4:]))
        elif kind == 6:
            (meter,) = struct.unpack_from("!I", body)
        else:
            raise NotOursError(f"instruction {kind}")
    return actions, source_class, goto, meter


@lru_cache(maxsize=65536)
def _match(data: bytes) -> Match:
    found: dict[str, Any] = {}
    ether_type = None
    is_udp = False
    start = 0
    while start < len(data):
        class_, coded, length = struct.unpack_from("!HBB", data, start)
        value = data[start + 4 : start + 4 + length]
        start += 4 + length
        if len(value) != length:
            raise NotOursError("a match that is cut off")
        mask = b""
        if coded & 1:
            value, mask = value[: length // 2], value[length // 2 :]
        name, meaning = _field(class_, coded >> 1, value, mask)
        if name == "port_dst":
            is_udp = coded >> 1 == encode.UDP_DST
        if name == "eth_type":
            ether_type = meaning
        elif found.setdefault(name, meaning) != meaning:
            raise NotOursError(f"{name} twice")
    if ether_type != ETH_TYPE_IPV6:
        raise NotOursError("not about IPv6")
    if "port_dst" in found and is_udp != (found.get("ip_proto") == UDP):
        raise NotOursError("a port of another protocol")
    return Match(**found)


_BYTES = {
    (_BASIC, encode.IN_PORT): 4,
    (_BASIC, encode.METADATA): 8,
    (_BASIC, encode.ETH_DST): 6,
    (_BASIC, encode.ETH_SRC): 6,
    (_BASIC, encode.ETH_TYPE): 2,
    (_BASIC, encode.VLAN_VID): 2,
    (_BASIC, encode.IP_PROTO): 1,
    (_BASIC, encode.TCP_DST): 2,
    (_BASIC, encode.UDP_DST): 2,
    (_BASIC, encode.IPV6_SRC): 16,
    (_BASIC, encode.IPV6_DST): 16,
    (_BASIC, encode.ICMPV6_TYPE): 1,
    (_NICIRA_FIELD, encode.NX_REG0): 4,
    (_NICIRA_FIELD, encode.NX_IP_FRAG): 1,
    (_NICIRA_FIELD, encode.NX_TTL): 1,
    (_NICIRA_FIELD, encode.NX_CT_STATE): 4,
    (_NICIRA_FIELD, encode.NX_CT_MARK): 4,
}
"""The fields there are, and how long their values are."""
_INTEGERS = {
    (_BASIC, encode.IN_PORT): "in_port",
    (_BASIC, encode.ETH_TYPE): "eth_type",
    (_BASIC, encode.IP_PROTO): "ip_proto",
    (_BASIC, encode.ICMPV6_TYPE): "icmpv6_type",
    (_BASIC, encode.TCP_DST): "port_dst",
    (_BASIC, encode.UDP_DST): "port_dst",
    (_NICIRA_FIELD, encode.NX_TTL): "hop_limit",
    (_NICIRA_FIELD, encode.NX_CT_MARK): "ct_mark",
}
_ADDRESSES = {
    (_BASIC, encode.ETH_SRC): "eth_src",
    (_BASIC, encode.ETH_DST): "eth_dst",
}
_SCOPE_MASK = 0xFF0F << 112


def _field(class_: int, number: int, value: bytes, mask: bytes) -> tuple[str, Any]:
    kind = (class_, number)
    if len(value) != _BYTES.get(kind) or len(mask) not in (0, len(value)):
        raise NotOursError(f"match field {number} of class {class_:#06x} and {len(value)} bytes")
    integer, masked = int.from_bytes(value), int.from_bytes(mask)
    if not mask:
        if kind in _INTEGERS:
            return _INTEGERS[kind], integer
        if kind in _ADDRESSES:
            return _ADDRESSES[kind], mac_text(value)
    match kind:
        case (0x8000, encode.METADATA) if masked == encode.CLASS_MASK:
            return "source_class", integer
        case (0x8000, encode.VLAN_VID) if not mask and integer & encode.VLAN_PRESENT:
            return "edge_tag", integer & ~encode.VLAN_PRESENT
        case (0x8000, encode.VLAN_VID) if integer == masked == encode.VLAN_PRESENT:
            return "edge_tag", ANY_TAG
        case (0x8000, encode.IPV6_SRC):
            return "ipv6_src", _prefix(integer, mask)
        case (0x8000, encode.IPV6_DST) if masked == _SCOPE_MASK and integer >> 120 == 0xFF:
            return "scope", integer >> 112 & 15
        case (0x8000, encode.IPV6_DST):
            return "ipv6_dst", _prefix(integer, mask)
        case (1, encode.NX_REG0) if integer == masked and integer.bit_count() == 1:
            return "too_big", integer.bit_length() - 1
        case (1, encode.NX_IP_FRAG) if masked == encode.ANY_FRAGMENT and integer in (0, masked):
            return "is_fragment", bool(integer)
        case (1, encode.NX_CT_STATE) if (integer, masked) in _CT_STATES:
            return "ct_state", _CT_STATES[integer, masked]
    raise NotOursError(f"mask or value of match field {number} of class {class_:#06x}")


def _prefix(value: int, mask: bytes) -> Prefix:
    length = int.from_bytes(mask).bit_count() if mask else 128
    prefix = Prefix(value, length)
    if mask and prefix.mask != int.from_bytes(mask):
        raise NotOursError("a mask that is no prefix")
    return prefix


def _bucket(entry: bytes) -> Bucket:
    watch_port, watch_group = struct.unpack_from("!II", entry, 4)
    if watch_group != _ANY:
        raise NotOursError("a bucket that watches a group")
    return Bucket(tuple(_actions(entry[16:])), None if watch_port == _ANY else watch_port)


def _actions(data: bytes) -> Iterator[Action]:
    pushed = False
    for entry in entries(data, 2):
        kind, body = int.from_bytes(entry[:2]), entry[4:]
        if pushed:
            # A tag is pushed and then named: two actions of the switch, one of ours.
            yield _tag(kind, body)
            pushed = False
        elif kind == 17:
            if body[:2] != b"\x81\x00":
                raise NotOursError("a tag that is no VLAN tag")
            pushed = True
        else:
            yield _action(kind, body)
    if pushed:
        raise NotOursError("a tag without a name")


def _tag(kind: int, body: bytes) -> PushTag:
    header, number = struct.unpack_from("!IH", body)
    if kind != 25 or header != _BASIC << 16 | encode.VLAN_VID << 9 | 2 or not number & encode.VLAN_PRESENT:
        raise NotOursError("a tag without a name")
    return PushTag(number & ~encode.VLAN_PRESENT)


def _action(kind: int, body: bytes) -> Action:
    if kind == 0:
        port, max_length = struct.unpack_from("!IH", body)
        if port != CONTROLLER_PORT:
            return Output(port)
        if max_length != encode.WHOLE_PACKET:
            raise NotOursError("a punt of a part of the packet")
        return Punt()
    if kind == 18:
        return PopTag()
    if kind == 22:
        return ToGroup(int.from_bytes(body[:4]))
    if kind == 24:
        return DecHopLimit()
    if kind == 25:
        (header,) = struct.unpack_from("!I", body)
        if header == _BASIC << 16 | encode.ETH_SRC << 9 | 6:
            return SetEthSrc(mac_text(body[4:10]))
        if header == _BASIC << 16 | encode.ETH_DST << 9 | 6:
            return SetEthDst(mac_text(body[4:10]))
        raise NotOursError(f"setting of field {header:#010x}")
    if kind == 0xFFFF:
        return _extension(body)
    raise NotOursError(f"action {kind}")


def _extension(body: bytes) -> Action:
    vendor, subtype = struct.unpack_from("!IH", body)
    if (vendor, subtype) == (_NICIRA, encode.NX_CHECK_LARGER):
        frame_bytes, bit, register = struct.unpack_from("!HHI", body, 6)
        if register == _NICIRA_FIELD << 16 | encode.NX_REG0 << 9 | 4:
            return CheckLarger(frame_bytes, bit)
    elif (vendor, subtype) == (_NICIRA, encode.NX_CONNTRACK):
        flags, zone_source, zone, table, helper = struct.unpack_from("!HIHB3xH", body, 6)
        nested = body[20:]
        if not zone_source and not helper:
            if not flags and not nested and table != encode.NO_RECIRCULATION:
                return Track(zone, TableId(table))
            if flags == encode.COMMIT_FLAG and table == encode.NO_RECIRCULATION:
                return Commit(zone, _mark(nested))
    raise NotOursError(f"extension {subtype} of {vendor:#x}")


def _mark(nested: bytes) -> int | None:
    if not nested:
        return None
    kind, length, header, mark = struct.unpack_from("!HHII", nested)
    if (kind, length, header) != (25, len(nested), _NICIRA_FIELD << 16 | encode.NX_CT_MARK << 9 | 4):
        raise NotOursError("something else than a mark")
    return int(mark)
