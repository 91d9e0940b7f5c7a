"""Encoding, decoding and what differs between a dump and the tables that are wanted."""

from __future__ import annotations

import struct
import time

import pytest

from controller.openflow import decode, encode
from controller.openflow.bench import tables_of
from controller.openflow.decode import NotOursError
from controller.openflow.dump import Dump, DumpReader, Foreign
from controller.openflow.reconcile import Counts, update
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    COOKIE_MARK,
    Bucket,
    Change,
    CtState,
    Group,
    GroupKind,
    Match,
    Meter,
    Output,
    Prefix,
    Punt,
    Rule,
    Step,
    Tables,
    ToGroup,
)
from tests.openvswitch.sample_rules import everything

IPV6 = bytes.fromhex("80000a0286dd")
DROP = Rule(TableId.ROUTER, 1, Match(), Origin.ROUTE)
COOKIE = DROP.cookie
METERED = Rule(TableId.INGRESS, 1, Match(), Origin.CONTROL, (Punt(),), meter=1)
GROUP = Group(5, GroupKind.ALL, (Bucket((Output(1),)),))
METER = Meter(1, 10, 20)


def flow_entry(
    match: bytes = IPV6,
    instructions: bytes = b"",
    cookie: int = COOKIE,
    table: int = 4,
    lifetime: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> bytes:
    """An ofp_flow_stats with priority 1."""
    rest = encode.padded_match(match) + instructions
    head = struct.pack("!HBxIIHHHHH2xQQQ", 48 + len(rest), table, 9, 9, 1, *lifetime, cookie, 3, 300)
    return head + rest


def reply(kind: int, *entries: bytes, more: bool = False) -> bytes:
    """A multipart reply."""
    return bytes(8) + struct.pack("!HH4x", kind, more) + b"".join(entries)


def test_no_packet_is_in_two_states_of_connection_tracking() -> None:
    for bits in range(256):
        found = [
            state for state in CtState if bits & encode.CT_STATES[state][1] == encode.CT_STATES[state][0]
        ]
        assert len(found) <= 1, (bits, found)
        tracked, known = bits & 0x20, bits & (0x01 | 0x02 | 0x04 | 0x10)
        assert bool(found) == bool(tracked and known), bits


def test_a_message_in_a_bundle_carries_the_transaction_id_of_the_bundle() -> None:
    opened, added, committed = encode.bundle(7, [encode.change_message(Change(Step.RULE_SET, DROP))])
    stamped = encode.with_xid(added, 0xABCD)
    assert stamped[4:8] == stamped[20:24] == (0xABCD).to_bytes(4)
    assert (len(opened), len(committed)) == (16, 16)
    assert encode.with_xid(opened, 1)[8:] == opened[8:]


def test_twenty_thousand_rules_are_encoded_in_a_second() -> None:
    tables = tables_of(20_000)
    started_s = time.process_time()
    changed = update(Dump(), tables)
    messages = encode.bundle(1, changed.bundled)
    data = b"".join(encode.with_xid(message, xid) for xid, message in enumerate(messages))
    assert time.process_time() - started_s < 1.0
    assert len(data) > 20_000 * 100


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (flow_entry(cookie=0), "cookie 0x0"),
        (flow_entry(cookie=COOKIE_MARK | 99), "99 is not a valid Origin"),
        (flow_entry(cookie=COOKIE | 1 << 40), "cookie"),
        (flow_entry(table=9), "9 is not a valid TableId"),
        (flow_entry(match=b""), "not about IPv6"),
        (flow_entry(match=bytes.fromhex("80000a020800")), "not about IPv6"),
        (flow_entry(match=IPV6 + bytes.fromhex("80001a02") + bytes(2)), "match field 13"),
        (flow_entry(match=IPV6 + bytes.fromhex("80000503") + bytes(3)), "match field 2"),
        (flow_entry(match=IPV6 + bytes.fromhex("80000510") + bytes(8) + b"\xff" * 8), "match field 2"),
        (flow_entry(match=IPV6 + bytes.fromhex("80000c02 1000 80000c02 1001")), "edge_tag twice"),
        (flow_entry(lifetime=(0, 5, 0, 0)), "it times out"),
        (flow_entry(lifetime=(0, 0, 1, 0)), "it times out"),
        (flow_entry(instructions=bytes.fromhex("0005000800000000")), "instruction 5"),
        (flow_entry(instructions=bytes.fromhex("0004001000000000 0012000800000000")[:12]), ""),
        (flow_entry(instructions=bytes.fromhex("0004001000000000 0011000888a80000")), "no VLAN tag"),
        (flow_entry(instructions=bytes.fromhex("0004001000000000 0011000881000000")), "without a name"),
        (
            flow_entry(instructions=bytes.fromhex("0004001800000000 00000010fffffffd0080000000000000")),
            "a punt of a part",
        ),
        (flow_entry(instructions=bytes.fromhex("0004001000000000 0017000840000000")), "action 23"),
    ],
)
def test_a_flow_that_this_controller_has_not_written_is_foreign(entry: bytes, why: str) -> None:
    reader = DumpReader()
    reader.add(reply(encode.FLOWS, entry))
    (foreign,) = reader.dump.foreign
    assert why in foreign.text
    assert not reader.dump.tables.rules
    deletion = encode.strict_deletion(foreign.table, foreign.priority, foreign.match)
    assert len(deletion) == 48 + len(foreign.match)
    assert deletion[48:] == entry[48 : 48 + len(foreign.match)]


def test_a_dump_is_complete_when_the_last_reply_of_each_kind_has_come() -> None:
    reader = DumpReader()
    reader.add(reply(encode.GROUPS))
    reader.add(reply(encode.METERS))
    reader.add(reply(encode.FLOWS, flow_entry(), more=True))
    assert not reader.is_complete
    reader.add(reply(encode.FLOWS, flow_entry(cookie=0)))
    assert reader.is_complete
    assert reader.dump.tables == Tables.of([DROP])
    assert reader.dump.counters == {DROP.key: (3, 300)}
    assert reader.dump.foreign_count == 1


def test_groups_and_meters_of_another_kind_are_foreign() -> None:
    reader = DumpReader()
    select = struct.pack("!HBxI", 8, 1, 77)
    watches_group = struct.pack("!HBxI HHII4x", 24, 3, 78, 16, 0, 1, 1)
    reader.add(reply(encode.GROUPS, select, watches_group))
    in_kilobits = struct.pack("!HHIHHII4x", 24, 1 | 4, 9, 1, 16, 5, 0)
    two_bands = struct.pack("!HHI", 40, 6, 10) + 2 * struct.pack("!HHII4x", 1, 16, 5, 0)
    reader.add(reply(encode.METERS, in_kilobits, two_bands))
    assert reader.dump.foreign_groups == (77, 78)
    assert reader.dump.foreign_meters == (9, 10)
    assert reader.dump.foreign_texts == ("group 0x4d", "group 0x4e", "meter 9", "meter 10")


def test_a_reply_with_an_impossible_length_is_refused() -> None:
    with pytest.raises(NotOursError):
        DumpReader().add(reply(encode.FLOWS, bytes(64)))
    assert list(decode.entries(b"")) == []


def test_a_prefix_that_matches_anything_is_refused() -> None:
    rule = Rule(TableId.UNICAST, 1, Match(ipv6_dst=Prefix(0, 0)), Origin.ROUTE)
    with pytest.raises(ValueError, match="leave the field out"):
        encode.change_message(Change(Step.RULE_SET, rule))


def test_nothing_is_sent_when_nothing_differs() -> None:
    changed = update(Dump(everything()), everything())
    assert (changed.meters_first, changed.bundled, changed.meters_last) == ((), (), ())
    assert changed.counts == Counts()


def test_meters_come_before_the_bundle_and_go_after_it() -> None:
    coming = update(Dump(), Tables.of([METERED], [], [METER]))
    assert [message[1] for message in coming.meters_first] == [encode.METER_MOD]
    assert [message[1] for message in coming.bundled] == [encode.FLOW_MOD]
    going = update(Dump(Tables.of([METERED], [], [METER])), Tables())
    assert [message[1] for message in going.bundled] == [encode.FLOW_MOD]
    assert [message[1] for message in going.meters_last] == [encode.METER_MOD]


def test_the_changes_are_counted_by_kind() -> None:
    held = Dump(Tables.of([DROP, METERED], [GROUP], [METER]), foreign=(Foreign(9, 9, bytes(8), 0, ""),))
    wanted = Rule(DROP.table, DROP.priority, DROP.match, DROP.origin, (ToGroup(5),))
    other = Rule(TableId.PERMIT, 1, Match(), Origin.PERMIT)
    changed = update(held, Tables.of([wanted, other], [GROUP]))
    assert changed.counts == Counts(added=1, modified=1, deleted=2, foreign=1)
    assert changed.counts.total == 5


def test_a_number_that_somebody_else_has_taken_is_changed_and_not_deleted() -> None:
    held = Dump(Tables.of([METERED]), foreign_groups=(5, 6), foreign_meters=(1, 2))
    changed = update(held, Tables.of([METERED], [GROUP], [METER]))
    assert [change.step for change in changed.changes] == [Step.METER_MODIFY, Step.GROUP_MODIFY]
    assert changed.bundled[-1] == encode.group_deletion(6)
    assert changed.meters_last == (encode.meter_deletion(2),)
    assert changed.counts == Counts(modified=2, foreign=2)
