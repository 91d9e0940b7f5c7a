"""From rules, groups, meters and packets to OpenFlow 1.4 messages, as bytes.

Written here because the pipeline uses Open vSwitch's extensions (connection tracking, packet length), and
because a library's objects take ten times as long. Layouts: OpenFlow Switch Specification 1.4.1, chapter 7;
the extensions as in Open vSwitch's nicira-ext.h and ofp-actions.c. Messages have transaction ID 0 until
`with_xid`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
    Action,
    Bucket,
    Change,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    PopTag,
    Prefix,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Step,
    ToGroup,
    Track,
)
from controller.wire.frames import ETH_TYPE_IPV6, UDP, mac_bytes

VERSION = 5
PACKET_OUT, FLOW_MOD, GROUP_MOD, MULTIPART_REQUEST, BARRIER_REQUEST, METER_MOD = 13, 14, 15, 18, 20, 29
SET_ASYNC, BUNDLE_CONTROL, BUNDLE_ADD = 28, 33, 34
PORT_STATUS, MULTIPART_REPLY, BARRIER_REPLY, REQUEST_FORWARD = 12, 19, 21, 32
"""Kinds of messages that a switch sends."""
FLOWS, GROUPS, METERS, PORTS, FLOW_UPDATES = 1, 7, 10, 13, 16
"""Kinds of multipart requests."""
_ATOMIC_ORDERED = 3
_OPEN, _COMMIT = 0, 4
_ADD, _DELETE_STRICT = 0, 4
_ANY = 0xFFFF_FFFF
_NO_BUFFER = 0xFFFF_FFFF
_TABLE = 0xFFFF_FFF9
_PORT_REASONS, _FORWARDED_REASONS = 3, 11
"""Properties of SET_ASYNC, for connections that are no slaves."""
_EVERY_UPDATE = 0x1E
"""Additions, removals and modifications, with instructions; Open vSwitch refuses OFPFMF_NO_ABBREV."""
WHOLE_PACKET = 0xFFFF
_BASIC, _NICIRA_FIELD, _NICIRA = 0x8000, 0x0001, 0x0000_2320
IN_PORT, METADATA, ETH_DST, ETH_SRC, ETH_TYPE, VLAN_VID, IP_PROTO = 0, 2, 3, 4, 5, 6, 10
TCP_DST, UDP_DST, IPV6_SRC, IPV6_DST, ICMPV6_TYPE = 14, 16, 26, 27, 29
NX_REG0, NX_IP_FRAG, NX_TTL, NX_CT_STATE, NX_CT_MARK = 0, 26, 29, 105, 107
VLAN_PRESENT = 0x1000
ANY_FRAGMENT = 1
"""The bit of NX_IP_FRAG that first and later fragments have."""
CLASS_MASK = 0xFF
GROUP_TYPES = {GroupKind.ALL: 0, GroupKind.FAST_FAILOVER: 3}
_NEW, _ESTABLISHED, _RELATED, _INVALID, _TRACKED = 0x01, 0x02, 0x04, 0x10, 0x20
CT_STATES = {
    CtState.NEW: (_TRACKED | _NEW, _TRACKED | _NEW | _ESTABLISHED | _RELATED | _INVALID),
    CtState.ESTABLISHED: (_TRACKED | _ESTABLISHED, _TRACKED | _ESTABLISHED | _RELATED | _INVALID),
    CtState.RELATED: (_TRACKED | _RELATED, _TRACKED | _RELATED | _INVALID),
    CtState.INVALID: (_TRACKED | _INVALID, _TRACKED | _INVALID),
}
"""Bits and mask of each state; no packet is in two of them."""
NX_CONNTRACK, NX_CHECK_LARGER = 35, 49
NO_RECIRCULATION = 255
COMMIT_FLAG = 1
METER_FLAGS = 2 | 4
"""Packets per second, with a burst."""


def message(kind: int, body: bytes) -> bytes:
    """A whole message with transaction ID 0."""
    return struct.pack("!BBHI", VERSION, kind, 8 + len(body), 0) + body


def with_xid(data: bytes, xid: int) -> bytes:
    """The message with a transaction ID; one in a bundle gets the same inside (as Open vSwitch wants)."""
    stamped = data[:4] + struct.pack("!I", xid)
    if data[1] == BUNDLE_ADD:
        return stamped + data[8:20] + struct.pack("!I", xid) + data[24:]
    return stamped + data[8:]


def change_message(change: Change) -> bytes:
    """The FLOW_MOD, GROUP_MOD or METER_MOD of one change. Raises ValueError for a prefix of no length."""
    item = change.item
    if isinstance(item, Rule):
        return _flow_mod(item, delete=change.step is Step.RULE_DELETE)
    if isinstance(item, Group):
        command = {Step.GROUP_ADD: 0, Step.GROUP_MODIFY: 1, Step.GROUP_DELETE: 2}[change.step]
        buckets = b"" if command == 2 else b"".join(_bucket(bucket) for bucket in item.buckets)
        return message(
            GROUP_MOD, struct.pack("!HBxI", command, GROUP_TYPES[item.kind], item.number) + buckets
        )
    command = {Step.METER_ADD: 0, Step.METER_MODIFY: 1, Step.METER_DELETE: 2}[change.step]
    band = b"" if command == 2 else struct.pack("!HHII4x", 1, 16, item.rate_pps, item.burst_packets)
    return message(METER_MOD, struct.pack("!HHI", command, METER_FLAGS, item.number) + band)


def strict_deletion(table: int, priority: int, match: bytes) -> bytes:
    """Delete one flow, given as the switch has dumped it; `match` is padded."""
    return message(FLOW_MOD, _flow_header(0, table, _DELETE_STRICT, priority) + match)


def group_deletion(number: int) -> bytes:
    """Delete one group, whatever it is."""
    return message(GROUP_MOD, struct.pack("!HBxI", 2, 0, number))


def meter_deletion(number: int) -> bytes:
    """Delete one meter."""
    return message(METER_MOD, struct.pack("!HHI", 2, 0, number))


def bundle(number: int, messages: Iterable[bytes]) -> list[bytes]:
    """The messages as one ordered and atomic bundle: packets meet either the old tables or the new."""

    def control(kind: int) -> bytes:
        return message(BUNDLE_CONTROL, struct.pack("!IHH", number, kind, _ATOMIC_ORDERED))

    head = struct.pack("!I2xH", number, _ATOMIC_ORDERED)
    return [control(_OPEN), *(message(BUNDLE_ADD, head + added) for added in messages), control(_COMMIT)]


def barrier() -> bytes:
    """A barrier: its reply says that everything before it is done."""
    return message(BARRIER_REQUEST, b"")


def packet_out(port: int, frame: bytes) -> bytes:
    """A frame to send out of a port."""
    return _packet_out(struct.pack("!HHIH6x", 0, 16, port, 0), frame)


def packet_through_tables(frame: bytes) -> bytes:
    """A frame to send through the tables, as one that comes in by the controller's port."""
    return _packet_out(struct.pack("!HHIH6x", 0, 16, _TABLE, 0), frame)


def dump_requests() -> list[bytes]:
    """Ask for all flows, all groups and all meters, in this order."""
    flows = struct.pack("!B3xII4xQQ", 0xFF, _ANY, _ANY, 0, 0) + padded_match(b"")
    return [
        message(MULTIPART_REQUEST, struct.pack("!HH4x", kind, 0) + body)
        for kind, body in ((FLOWS, flows), (GROUPS, b""), (METERS, struct.pack("!I4x", _ANY)))
    ]


def port_request() -> bytes:
    """Ask for a description of all ports."""
    return message(MULTIPART_REQUEST, struct.pack("!HH4x", PORTS, 0))


def watch_requests() -> list[bytes]:
    """Ask to be told of every change of a flow, group, meter or port from now on, but for one's own changes
    of groups and meters."""
    reasons = ((_PORT_REASONS, 0b111), (_FORWARDED_REASONS, 0b11))
    wanted = b"".join(struct.pack("!HHI", kind, 8, mask) for kind, mask in reasons)
    flows = struct.pack("!IIIHBB", 0, _ANY, _ANY, _EVERY_UPDATE, 0xFF, 0) + padded_match(b"")
    request = message(MULTIPART_REQUEST, struct.pack("!HH4x", FLOW_UPDATES, 0) + flows)
    return [message(SET_ASYNC, wanted), request]


def padded_match(fields: bytes) -> bytes:
    """A match with its header and padding."""
    return struct.pack("!HH", 1, 4 + len(fields)) + fields + bytes(-(4 + len(fields)) % 8)


def _packet_out(actions: bytes, frame: bytes) -> bytes:
    head = struct.pack("!IIH6x", _NO_BUFFER, CONTROLLER_PORT, len(actions))
    return message(PACKET_OUT, head + actions + frame)


def _flow_header(cookie: int, table: int, command: int, priority: int) -> bytes:
    return struct.pack(
        "!QQBBHHHIIIHH", cookie, 0, table, command, 0, 0, priority, _NO_BUFFER, _ANY, _ANY, 0, 0
    )


def _flow_mod(rule: Rule, *, delete: bool) -> bytes:
    command = _DELETE_STRICT if delete else _ADD
    body = _flow_header(rule.cookie, rule.table, command, rule.priority) + _match(rule.match)
    return message(FLOW_MOD, body if delete else body + _instructions(rule))


def _instructions(rule: Rule) -> bytes:
    parts = []
    if rule.meter is not None:
        parts.append(struct.pack("!HHI", 6, 8, rule.meter))
    if rule.actions:
        actions = _actions(rule.actions)
        parts.append(struct.pack("!HH4x", 4, 8 + len(actions)) + actions)
    if rule.source_class is not None:
        parts.append(struct.pack("!HH4xQQ", 2, 24, rule.source_class, CLASS_MASK))
    if rule.goto is not None:
        parts.append(struct.pack("!HHB3x", 1, 8, rule.goto))
    return b"".join(parts)


def _oxm(class_: int, field: int, value: bytes, mask: bytes = b"") -> bytes:
    header = struct.pack("!HBB", class_, field << 1 | bool(mask), len(value) + len(mask))
    return header + value + mask


@lru_cache(maxsize=65536)
def _match(match: Match) -> bytes:
    parts = []

    def basic(field: int, layout: str, value: int | None) -> None:
        if value is not None:
            parts.append(_oxm(_BASIC, field, struct.pack(layout, value)))

    basic(IN_PORT, "!I", match.in_port)
    if match.source_class is not None:
        value = struct.pack("!Q", match.source_class)
        parts.append(_oxm(_BASIC, METADATA, value, struct.pack("!Q", CLASS_MASK)))
    for number, mac in ((ETH_DST, match.eth_dst), (ETH_SRC, match.eth_src)):
        if mac is not None:
            parts.append(_oxm(_BASIC, number, mac_bytes(mac)))
    basic(ETH_TYPE, "!H", ETH_TYPE_IPV6)
    if match.edge_tag == ANY_TAG:
        present = struct.pack("!H", VLAN_PRESENT)
        parts.append(_oxm(_BASIC, VLAN_VID, present, present))
    elif match.edge_tag is not None:
        basic(VLAN_VID, "!H", VLAN_PRESENT | match.edge_tag)
    basic(IP_PROTO, "!B", match.ip_proto)
    for number, prefix in ((IPV6_SRC, match.ipv6_src), (IPV6_DST, match.ipv6_dst)):
        if prefix is not None:
            parts.append(_prefix(number, prefix))
    if match.scope is not None:
        scope, scope_mask = 0xFF00 | match.scope, 0xFF0F
        parts.append(_oxm(_BASIC, IPV6_DST, (scope << 112).to_bytes(16), (scope_mask << 112).to_bytes(16)))
    basic(ICMPV6_TYPE, "!B", match.icmpv6_type)
    basic(UDP_DST if match.ip_proto == UDP else TCP_DST, "!H", match.port_dst)
    parts += _extensions(match)
    return padded_match(b"".join(parts))


def _extensions(match: Match) -> list[bytes]:
    parts = []
    if match.too_big is not None:
        bit = struct.pack("!I", 1 << match.too_big)
        parts.append(_oxm(_NICIRA_FIELD, NX_REG0, bit, bit))
    if match.hop_limit is not None:
        parts.append(_oxm(_NICIRA_FIELD, NX_TTL, bytes((match.hop_limit,))))
    if match.is_fragment is not None:
        is_set = bytes((ANY_FRAGMENT * match.is_fragment,))
        parts.append(_oxm(_NICIRA_FIELD, NX_IP_FRAG, is_set, bytes((ANY_FRAGMENT,))))
    if match.ct_state is not None:
        bits, mask = CT_STATES[match.ct_state]
        parts.append(_oxm(_NICIRA_FIELD, NX_CT_STATE, struct.pack("!I", bits), struct.pack("!I", mask)))
    if match.ct_mark is not None:
        parts.append(_oxm(_NICIRA_FIELD, NX_CT_MARK, struct.pack("!I", match.ct_mark)))
    return parts


def _prefix(field: int, prefix: Prefix) -> bytes:
    if not prefix.length:
        # A switch would leave the field out of its dumps, and the rule would differ for ever.
        raise ValueError("a prefix of no length matches anything; leave the field out")
    mask = b"" if prefix.length == 128 else prefix.mask.to_bytes(16)
    return _oxm(_BASIC, field, prefix.value.to_bytes(16), mask)


def _bucket(bucket: Bucket) -> bytes:
    actions = _actions(bucket.actions)
    watch = _ANY if bucket.watch_port is None else bucket.watch_port
    return struct.pack("!HHII4x", 16 + len(actions), 0, watch, _ANY) + actions


@lru_cache(maxsize=65536)
def _actions(actions: tuple[Action, ...]) -> bytes:
    return b"".join(_action(action) for action in actions)


def _action(action: Action) -> bytes:
    match action:
        case Output(port):
            return struct.pack("!HHIH6x", 0, 16, port, 0)
        case Punt():
            return struct.pack("!HHIH6x", 0, 16, CONTROLLER_PORT, WHOLE_PACKET)
        case SetEthSrc(mac):
            return _set_field(_oxm(_BASIC, ETH_SRC, mac_bytes(mac)))
        case SetEthDst(mac):
            return _set_field(_oxm(_BASIC, ETH_DST, mac_bytes(mac)))
        case DecHopLimit():
            return struct.pack("!HH4x", 24, 8)
        case ToGroup(group):
            return struct.pack("!HHI", 22, 8, group)
        case PushTag(tag):
            push = struct.pack("!HHH2x", 17, 8, 0x8100)
            return push + _set_field(_oxm(_BASIC, VLAN_VID, struct.pack("!H", VLAN_PRESENT | tag)))
        case PopTag():
            return struct.pack("!HH4x", 18, 8)
        case Track(zone, table):
            return _conntrack(0, zone, table, b"")
        case Commit(zone, mark):
            nested = b""
            if mark is not None:
                nested = _set_field(_oxm(_NICIRA_FIELD, NX_CT_MARK, struct.pack("!I", mark)))
            return _conntrack(COMMIT_FLAG, zone, NO_RECIRCULATION, nested)
        case CheckLarger(frame_bytes, bit):
            register = struct.pack("!HBB", _NICIRA_FIELD, NX_REG0 << 1, 4)
            return struct.pack(
                "!HHIHHH4s6x", 0xFFFF, 24, _NICIRA, NX_CHECK_LARGER, frame_bytes, bit, register
            )


def _set_field(oxm: bytes) -> bytes:
    padding = -(4 + len(oxm)) % 8
    return struct.pack("!HH", 25, 4 + len(oxm) + padding) + oxm + bytes(padding)


def _conntrack(flags: int, zone: int, table: int, nested: bytes) -> bytes:
    return (
        struct.pack("!HHIHHIHB3xH", 0xFFFF, 24 + len(nested), _NICIRA, NX_CONNTRACK, flags, 0, zone, table, 0)
        + nested
    )
