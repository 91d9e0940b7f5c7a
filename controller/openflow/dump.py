"""What a switch says it holds, put together from its multipart replies: ours, and what is somebody else's."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.openflow import decode
from controller.openflow.encode import FLOWS, GROUPS, METERS
from controller.plan.rules import Group, Meter, Rule, RuleKey, Tables

_MORE = 1
_FLOW_HEADER = struct.Struct("!HBxIIHHHHH2xQQQHH")
"""ofp_flow_stats up to and with the header of its match."""


class RuleCounters(NamedTuple):
    """What a rule has seen."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """A flow that this controller has not written, or that somebody has changed since: what it takes to
    delete it (`match` is as dumped, padded) and to report it (`text`)."""

    table: int
    priority: int
    match: bytes
    cookie: int
    text: str


@dataclass(frozen=True, slots=True)
class Dump:
    """What a switch holds: `tables` is ours, with what each rule has seen; the rest is somebody else's."""

    tables: Tables = field(default_factory=Tables)
    counters: Mapping[RuleKey, RuleCounters] = field(default_factory=dict)
    foreign: tuple[Foreign, ...] = ()
    foreign_groups: tuple[int, ...] = ()
    foreign_meters: tuple[int, ...] = ()

    @property
    def foreign_count(self) -> int:
        """How many flows, groups and meters are somebody else's."""
        return len(self.foreign) + len(self.foreign_groups) + len(self.foreign_meters)

    @property
    def foreign_texts(self) -> tuple[str, ...]:
        """What is somebody else's, a line each."""
        groups = (f"group {number:#x}" for number in self.foreign_groups)
        meters = (f"meter {number}" for number in self.foreign_meters)
        return (*(flow.text for flow in self.foreign), *groups, *meters)


class DumpReader:
    """Collects the replies to `encode.dump_requests`."""

    def __init__(self) -> None:
        self._rules: dict[RuleKey, Rule] = {}
        self._groups: dict[int, Group] = {}
        self._meters: dict[int, Meter] = {}
        self._counters: dict[RuleKey, RuleCounters] = {}
        self._foreign: list[Foreign] = []
        self._foreign_groups: list[int] = []
        self._foreign_meters: list[int] = []
        self._missing = {FLOWS, GROUPS, METERS}

    @property
    def is_complete(self) -> bool:
        """Whether all replies of all kinds have come."""
        return not self._missing

    @property
    def dump(self) -> Dump:
        """What has come."""
        return Dump(
            Tables(self._rules, self._groups, self._meters),
            self._counters,
            tuple(self._foreign),
            tuple(self._foreign_groups),
            tuple(self._foreign_meters),
        )

    def add(self, reply: bytes) -> None:
        """Take in one whole multipart reply. Raises NotOursError or struct.error when it is malformed."""
        kind, flags = struct.unpack_from("!HH", reply, 8)
        take = {FLOWS: self._flow, GROUPS: self._group, METERS: self._meter}[kind]
        for entry in decode.entries(reply[16:]):
            take(entry)
        if not flags & _MORE:
            self._missing.discard(kind)

    def _flow(self, entry: bytes) -> None:
        flow, counters = flow_of(entry)
        if isinstance(flow, Foreign):
            self._foreign.append(flow)
            return
        key = flow.key
        self._rules[key] = flow
        self._counters[key] = counters

    def _group(self, entry: bytes) -> None:
        try:
            group = decode.group_of(entry)
        except decode.NotOursError:
            self._foreign_groups.append(int.from_bytes(entry[4:8]))
        else:
            self._groups[group.number] = group

    def _meter(self, entry: bytes) -> None:
        try:
            meter = decode.meter_of(entry)
        except decode.NotOursError:
            self._foreign_meters.append(int.from_bytes(entry[4:8]))
        else:
            self._meters[meter.number] = meter


def flow_of(entry: bytes) -> tuple[Rule | Foreign, RuleCounters]:
    """One entry of a reply about flows. Raises struct.error when it is malformed."""
    _, table, _, _, priority, idle_s, hard_s, flags, importance, cookie, packets, octets, _, length = (
        _FLOW_HEADER.unpack_from(entry)
    )
    end = 48 + (length + 7) // 8 * 8
    counters = RuleCounters(packets, octets)
    try:
        if idle_s or hard_s or flags or importance:
            raise decode.NotOursError("it times out")
        rule = decode.rule_of(table, priority, cookie, entry[52 : 48 + length], entry[end:])
    except decode.NotOursError as error:
        text = f"table {table} priority {priority} cookie {cookie:#x}: {error}"
        return Foreign(table, priority, entry[48:end], cookie, text), counters
    return rule, counters
