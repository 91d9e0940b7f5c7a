"""A switch that does what OpenFlow 1.4 messages say and answers as Open vSwitch does, without a network.

It stands in the place of a connection: what a worker sends is carried out at once, and answered by calls of
the worker's methods.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controller.openflow import decode, encode
from controller.openflow.decode import NotOursError
from controller.plan.rules import ToGroup

MULTIPART_REPLY = 19
FlowKey = tuple[int, int, bytes]


class RefusedError(Exception):
    """The switch does not do that."""


@dataclass(frozen=True)
class Content:
    """All it holds, in bytes: flows have a cookie, the lifetime fields and instructions."""

    flows: dict[FlowKey, tuple[int, bytes, bytes]] = field(default_factory=dict)
    groups: dict[int, bytes] = field(default_factory=dict)
    meters: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> Content:
        return Content(dict(self.flows), dict(self.groups), dict(self.meters))


class ByteSwitch:
    """`entries_per_reply` splits dumps into several replies; with `silent` set it takes all and answers
    nothing; each name in `refusals` makes it refuse one message of that kind."""

    def __init__(self, entries_per_reply: int = 3) -> None:
        self.content = Content()
        self.worker: Any = None
        self.silent = False
        self.hung_up = threading.Event()
        self.refusals: list[int] = []
        self.changed = 0
        self.packets: list[bytes] = []
        self.on_barrier: Callable[[], None] = lambda: None
        self._entries_per_reply = entries_per_reply
        self._bundles: dict[int, list[bytes]] = {}

    def send(self, buf: bytes) -> bool:
        """Messages from the controller."""
        while buf:
            length = int.from_bytes(buf[2:4])
            message, buf = buf[:length], buf[length:]
            if not self.silent:
                self._take(message)
        return True

    def disconnect(self) -> None:
        """The controller hangs up."""
        self.hung_up.set()

    def add_foreign(self, table: int, priority: int, fields: bytes, cookie: int = 0, hard_s: int = 0) -> None:
        """Somebody else adds a flow that drops."""
        lifetime = struct.pack("!HHHH", 0, hard_s, 0, 0)
        self.content.flows[table, priority, encode.padded_match(fields)] = (cookie, lifetime, b"")

    def _take(self, message: bytes) -> None:
        kind, (xid,) = message[1], struct.unpack_from("!I", message, 4)
        try:
            if kind in self.refusals:
                self.refusals.remove(kind)
                raise RefusedError
            if kind == encode.BARRIER_REQUEST:
                self.on_barrier()
                self.worker.barrier_reply(xid)
            elif kind == encode.MULTIPART_REQUEST:
                self._dump(int.from_bytes(message[8:10]), xid)
            elif kind == encode.PACKET_OUT:
                self.packets.append(message)
            elif kind == encode.BUNDLE_CONTROL:
                self._bundle(message)
            elif kind == encode.BUNDLE_ADD:
                assert message[20:24] == message[4:8], "the message in a bundle has another transaction ID"
                self._opened(int.from_bytes(message[8:12])).append(message[16:])
            else:
                self.content = self._changed(self.content, message)
        except RefusedError:
            self.worker.error(xid, f"refused {kind}")

    def _bundle(self, message: bytes) -> None:
        number, kind, flags = struct.unpack_from("!IHH", message, 8)
        assert flags == 3
        if kind == 0:
            self._bundles[number] = []
            return
        added_messages = self._opened(number)
        del self._bundles[number]
        content = self.content.copy()
        for added in added_messages:
            content = self._changed(content, added)
        self.content = content

    def _opened(self, number: int) -> list[bytes]:
        if number not in self._bundles:
            raise RefusedError
        return self._bundles[number]

    def _changed(self, content: Content, message: bytes) -> Content:
        self.changed += 1
        content = content.copy()
        {
            encode.FLOW_MOD: _flow_mod,
            encode.GROUP_MOD: _group_mod,
            encode.METER_MOD: _meter_mod,
        }[message[1]](content, message[8:])
        return content

    def _dump(self, kind: int, xid: int) -> None:
        held = self.content
        if kind == encode.FLOWS:
            entries = [_flow_entry(key, value) for key, value in held.flows.items()]
        else:
            entries = list((held.groups if kind == encode.GROUPS else held.meters).values())
        step = self._entries_per_reply
        pieces = [entries[at : at + step] for at in range(0, len(entries), step)] or [[]]
        for index, piece in enumerate(pieces):
            body = struct.pack("!HH4x", kind, index < len(pieces) - 1) + b"".join(piece)
            header = struct.pack("!BBHI", encode.VERSION, MULTIPART_REPLY, 8 + len(body), xid)
            self.worker.statistics(header + body)


def _flow_mod(content: Content, body: bytes) -> None:
    cookie, _, table, command, idle_s, hard_s, priority = struct.unpack_from("!QQBBHHH", body)
    (length,) = struct.unpack_from("!H", body, 42)
    end = 40 + (length + 7) // 8 * 8
    key = (table, priority, body[40:end])
    if command == 4:
        content.flows.pop(key, None)
        return
    assert command == 0
    instructions = body[end:]
    rule = decode.rule_of(table, priority, cookie, body[44 : 40 + length], instructions)
    groups = {action.group for action in rule.actions if isinstance(action, ToGroup)}
    if not groups <= content.groups.keys() or (rule.meter is not None and rule.meter not in content.meters):
        raise RefusedError
    content.flows[key] = (cookie, struct.pack("!HHHH", idle_s, hard_s, 0, 0), instructions)


def _group_mod(content: Content, body: bytes) -> None:
    command, kind, number = struct.unpack_from("!HBxI", body)
    if command == 2:
        if content.groups.pop(number, None) is not None:
            _delete_flows(content, ToGroup(number), None)
        return
    if (command == 0) == (number in content.groups):
        raise RefusedError
    content.groups[number] = struct.pack("!HBxI", len(body), kind, number) + body[8:]


def _meter_mod(content: Content, body: bytes) -> None:
    command, flags, number = struct.unpack_from("!HHI", body)
    if command == 2:
        if content.meters.pop(number, None) is not None:
            _delete_flows(content, None, number)
        return
    if (command == 0) == (number in content.meters):
        raise RefusedError
    content.meters[number] = struct.pack("!HHI", len(body), flags, number) + body[8:]


def _delete_flows(content: Content, action: ToGroup | None, meter: int | None) -> None:
    for key, (cookie, _, instructions) in list(content.flows.items()):
        table, priority, match = key
        fields = match[4 : int.from_bytes(match[2:4])]
        try:
            rule = decode.rule_of(table, priority, cookie, fields, instructions)
        except NotOursError:
            continue
        if action in rule.actions or (meter is not None and rule.meter == meter):
            del content.flows[key]


def _flow_entry(key: FlowKey, value: tuple[int, bytes, bytes]) -> bytes:
    (table, priority, match), (cookie, lifetime, instructions) = key, value
    rest = struct.pack("!QQQ", cookie, 7, 700) + match + instructions
    head = struct.pack("!BxIIH", table, 1, 2, priority) + lifetime + bytes(2)
    return struct.pack("!H", 2 + len(head) + len(rest)) + head + rest
