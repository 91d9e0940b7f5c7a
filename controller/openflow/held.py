"""What one switch holds, put together from what it says: the replies to `read_requests`, and then the changes
it reports to whoever has sent it `encode.watch_requests` (pure).

A flow is known by its bytes, so that one which is ours today and somebody else's tomorrow stays one flow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from controller.openflow import decode, encode
from controller.openflow.dump import Foreign, flow_of
from controller.openflow.encode import MULTIPART_REPLY, PORT_STATUS, REQUEST_FORWARD
from controller.plan.rules import Group, Meter, Rule, Tables

MORE = 1
READ_KINDS = frozenset({encode.FLOWS, encode.GROUPS, encode.METERS, encode.PORTS})
PAUSED, RESUMED = 5, 6
"""Flow updates without a flow: the reader is too slow, from here to there changes are told late."""
_REMOVED, _ABBREVIATED = 2, 4
_UPDATE = struct.Struct("!HHBxHHH4xQ")
_STATS = struct.Struct("!HBxIIHHHHH2xQQQ")
_PORT_DELETED = 1
_DOWN = 1
"""Administratively down, in a port's configuration; no carrier, in its state."""
_DELETE = 2
_ALL_GROUPS, _ALL_METERS = 0xFFFF_FFFC, 0xFFFF_FFFF

_FlowId = tuple[int, int, bytes]


def read_requests() -> list[bytes]:
    """Ask for everything a switch holds and for its ports. Sent in one piece, they are answered without
    anything happening to the switch in between."""
    return [*encode.dump_requests(), encode.port_request()]


def multipart_kind(message: bytes) -> int | None:
    """The kind of a multipart reply, None for any other message. Raises NotOursError when it is cut off."""
    if message[1] != MULTIPART_REPLY:
        return None
    if len(message) < 16:
        raise decode.NotOursError("a multipart reply that is cut off")
    return int.from_bytes(message[8:10])


def has_more(message: bytes) -> bool:
    """Whether a multipart reply goes on in the next message."""
    return bool(message[11] & MORE)


class Held:
    """What one switch holds, ours (`tables`) and somebody else's (`foreign`), and which ports are up."""

    def __init__(self, replies: Iterable[bytes]) -> None:
        """Begin with the replies to `read_requests`. Raises ValueError when some are missing or one is
        malformed."""
        self._flows: dict[_FlowId, Rule | Foreign] = {}
        self._groups: dict[int, Group | str] = {}
        self._meters: dict[int, Meter | str] = {}
        self._up_ports: set[int] = set()
        self._unknown: list[str] = []
        missing = set(READ_KINDS)
        for reply in replies:
            self.take(reply)
            kind = multipart_kind(reply)
            if kind is not None and not has_more(reply):
                missing.discard(kind)
        if missing:
            raise decode.NotOursError("the switch has not said all it holds")

    @property
    def tables(self) -> Tables:
        """What is ours."""
        return Tables.of(
            (flow for flow in self._flows.values() if isinstance(flow, Rule)),
            (group for group in self._groups.values() if isinstance(group, Group)),
            (meter for meter in self._meters.values() if isinstance(meter, Meter)),
        )

    @property
    def foreign(self) -> tuple[str, ...]:
        """What is somebody else's, a line each, sorted."""
        flows = (flow.text for flow in self._flows.values() if isinstance(flow, Foreign))
        others = (text for text in (*self._groups.values(), *self._meters.values()) if isinstance(text, str))
        return tuple(sorted((*flows, *others, *self._unknown)))

    @property
    def up_ports(self) -> frozenset[int]:
        """The numbers of the ports that are there, enabled and have a carrier."""
        return frozenset(self._up_ports)

    def take(self, message: bytes) -> None:
        """Take in a multipart reply or the report of a change. Raises ValueError when it is malformed, or
        neither."""
        try:
            if message[1] == MULTIPART_REPLY:
                self._reply(message)
            elif message[1] == REQUEST_FORWARD:
                self._request(message[8:])
            elif message[1] == PORT_STATUS:
                self._port(message[16:], is_there=message[8] != _PORT_DELETED)
            else:
                raise decode.NotOursError(f"a message of kind {message[1]}")
        except (struct.error, IndexError) as error:
            raise decode.NotOursError(f"a malformed message: {error}") from None

    def _reply(self, message: bytes) -> None:
        body = message[16:]
        match multipart_kind(message):
            case encode.FLOWS:
                for entry in decode.entries(body):
                    self._flows[_flow_id(entry)] = flow_of(entry)[0]
            case encode.GROUPS:
                for entry in decode.entries(body):
                    self._set_group(entry)
            case encode.METERS:
                for entry in decode.entries(body):
                    self._set_meter(entry)
            case encode.PORTS:
                for entry in decode.entries(body, 4):
                    self._port(entry, is_there=True)
            case encode.FLOW_UPDATES:
                for entry in decode.entries(body):
                    self._update(entry)
            case kind:
                raise decode.NotOursError(f"a multipart reply of kind {kind}")

    def _update(self, update: bytes) -> None:
        event = int.from_bytes(update[2:4])
        if event == _ABBREVIATED:
            self._unknown.append("a change of a flow by this reader")
        if event >= _ABBREVIATED:
            return
        _, _, table, idle_s, hard_s, priority, cookie = _UPDATE.unpack_from(update)
        rest = update[_UPDATE.size :]
        header = _STATS.pack(48 + len(rest), table, 0, 0, priority, idle_s, hard_s, 0, 0, cookie, 0, 0)
        entry = header + rest
        if event == _REMOVED:
            self._flows.pop(_flow_id(entry), None)
        else:
            self._flows[_flow_id(entry)] = flow_of(entry)[0]

    def _request(self, request: bytes) -> None:
        """A request of somebody else that the switch has carried out."""
        kind, body = request[1], request[8:]
        command, number = int.from_bytes(body[:2]), int.from_bytes(body[4:8])
        if kind not in (encode.GROUP_MOD, encode.METER_MOD) or command > _DELETE:
            self._unknown.append(f"a change by message {kind} command {command}")
            return
        is_group = kind == encode.GROUP_MOD
        if command != _DELETE:
            # From the third byte on a request and an entry of a reply are the same.
            entry = struct.pack("!H", len(body)) + body[2:]
            self._set_group(entry) if is_group else self._set_meter(entry)
            return
        held: dict[int, Group | str] | dict[int, Meter | str] = self._groups if is_group else self._meters
        if number == (_ALL_GROUPS if is_group else _ALL_METERS):
            held.clear()
        else:
            held.pop(number, None)

    def _set_group(self, entry: bytes) -> None:
        number = int.from_bytes(entry[4:8])
        try:
            self._groups[number] = decode.group_of(entry)
        except decode.NotOursError:
            self._groups[number] = f"group {number:#x}"

    def _set_meter(self, entry: bytes) -> None:
        number = int.from_bytes(entry[4:8])
        try:
            self._meters[number] = decode.meter_of(entry)
        except decode.NotOursError:
            self._meters[number] = f"meter {number}"

    def _port(self, description: bytes, *, is_there: bool) -> None:
        (number,) = struct.unpack_from("!I", description)
        config, state = struct.unpack_from("!II", description, 32)
        if is_there and not config & _DOWN and not state & _DOWN:
            self._up_ports.add(number)
        else:
            self._up_ports.discard(number)


def _flow_id(entry: bytes) -> _FlowId:
    """What tells a flow from others: table, priority and match of an entry of a reply about flows."""
    table, priority, length = struct.unpack_from("!xxB9xH36xH", entry)
    return table, priority, entry[48 : 48 + (length + 7) // 8 * 8]
