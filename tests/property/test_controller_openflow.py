"""The OpenFlow codec and reconciliation for all rules, groups and meters there can be."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.openflow import decode, encode
from controller.openflow.decode import NotOursError
from controller.openflow.dump import Dump, DumpReader
from controller.openflow.reconcile import update
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
    Bucket,
    Change,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Group,
    GroupKind,
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
    Step,
    Tables,
    ToGroup,
    Track,
)
from tests.openvswitch.sample_rules import everything
from tests.unit.controller.byte_switch import ByteSwitch

PORTS = st.integers(1, 0xFF00)
MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
TAGS = st.integers(0, 4095)
BYTES = st.integers(0, 255)
SHORTS = st.integers(0, 0xFFFF)
WORDS = st.integers(0, 0xFFFF_FFFF)
ZONES = SHORTS
TABLES = st.sampled_from(TableId)
GROUP_NUMBERS, METER_NUMBERS = range(1, 4), range(1, 3)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    length = draw(st.integers(1, 128))
    value = draw(st.integers(0, (1 << 128) - 1))
    return Prefix(value & Prefix(0, length).mask, length)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    chosen: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "in_port": PORTS | st.just(CONTROLLER_PORT),
                "source_class": st.integers(0, 0xFF),
                "too_big": st.integers(0, 31),
                "ct_state": st.sampled_from(CtState),
                "ct_mark": WORDS,
                "edge_tag": TAGS | st.just(ANY_TAG),
                "eth_src": MACS,
                "eth_dst": MACS,
                "ip_proto": BYTES,
                "hop_limit": BYTES,
                "is_fragment": st.booleans(),
                "icmpv6_type": BYTES,
                "ipv6_src": prefixes(),
                "ipv6_dst": prefixes(),
                "port_dst": SHORTS,
            },
        )
    )
    if "ipv6_dst" not in chosen and draw(st.booleans()):
        chosen["scope"] = draw(st.integers(0, 15))
    return Match(**chosen)


PLAIN_ACTIONS = st.one_of(
    st.builds(Output, PORTS),
    st.just(Punt()),
    st.builds(SetEthSrc, MACS),
    st.builds(SetEthDst, MACS),
    st.just(DecHopLimit()),
    st.builds(PushTag, TAGS),
    st.just(PopTag()),
    st.builds(Track, ZONES, TABLES),
    st.builds(Commit, ZONES, st.none() | WORDS),
    st.builds(CheckLarger, SHORTS, st.integers(0, 31)),
)


def rules(groups: st.SearchStrategy[int], meters: st.SearchStrategy[int | None]) -> st.SearchStrategy[Rule]:
    return st.builds(
        Rule,
        TABLES,
        SHORTS,
        matches(),
        st.sampled_from(Origin),
        st.lists(PLAIN_ACTIONS | st.builds(ToGroup, groups), max_size=5).map(tuple),
        st.none() | st.integers(0, 0xFF),
        st.none() | TABLES,
        meters,
        SHORTS,
    )


def groups(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Group]:
    buckets = st.builds(Bucket, st.lists(PLAIN_ACTIONS, max_size=3).map(tuple), st.none() | PORTS)
    return st.builds(Group, numbers, st.sampled_from(GroupKind), st.lists(buckets, max_size=3).map(tuple))


def meters(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Meter]:
    return st.builds(Meter, numbers, WORDS, WORDS)


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Tables in which no rule names a group or a meter that is not there."""
    by_number = {g.number: g for g in draw(st.lists(groups(st.sampled_from(GROUP_NUMBERS)), max_size=3))}
    by_meter = {m.number: m for m in draw(st.lists(meters(st.sampled_from(METER_NUMBERS)), max_size=2))}
    # Two groups and meters of fixed numbers are always there to be named.
    by_number[9], by_meter[9] = Group(9, GroupKind.ALL, ()), Meter(9, 1, 1)
    named = rules(st.sampled_from(sorted(by_number)), st.none() | st.sampled_from(sorted(by_meter)))
    return Tables(
        {rule.key: rule for rule in draw(st.lists(named, max_size=8))},
        by_number,
        by_meter,
    )


def written(rule: Rule) -> tuple[bytes, bytes]:
    """Match fields and instructions as encoded."""
    message = encode.change_message(Change(Step.RULE_SET, rule))
    assert int.from_bytes(message[2:4]) == len(message)
    assert len(message) % 8 == 0
    (length,) = struct.unpack_from("!H", message, 50)
    return message[52 : 48 + length], message[48 + (length + 7) // 8 * 8 :]


@given(rules(WORDS, st.none() | WORDS))
def test_a_rule_comes_back_as_it_was_encoded(rule: Rule) -> None:
    match, instructions = written(rule)
    assert decode.rule_of(rule.table, rule.priority, rule.cookie, match, instructions) == rule


@given(groups(WORDS))
def test_a_group_comes_back_as_it_was_encoded(group: Group) -> None:
    body = encode.change_message(Change(Step.GROUP_ADD, group))[8:]
    _, kind, number = struct.unpack_from("!HBxI", body)
    assert decode.group_of(struct.pack("!HBxI", len(body), kind, number) + body[8:]) == group


@given(meters(WORDS))
def test_a_meter_comes_back_as_it_was_encoded(meter: Meter) -> None:
    body = encode.change_message(Change(Step.METER_ADD, meter))[8:]
    _, flags, number = struct.unpack_from("!HHI", body)
    assert decode.meter_of(struct.pack("!HHI", len(body), flags, number) + body[8:]) == meter


RULE = next(rule for rule in everything().rules.values() if Commit(7, 3) in rule.actions)


@given(st.data(), st.sampled_from([written(rule) for rule in everything().rules.values()]))
def test_what_is_accepted_of_bytes_that_were_changed_can_be_encoded_again(
    data: st.DataObject, parts: tuple[bytes, bytes]
) -> None:
    whole = b"".join(parts)
    position = data.draw(st.integers(0, max(0, len(whole) - 1)))
    changed = bytearray(whole)
    changed[position] ^= data.draw(st.integers(1, 255))
    match, instructions = bytes(changed[: len(parts[0])]), bytes(changed[len(parts[0]) :])
    try:
        rule = decode.rule_of(TableId.FLOW, 1, RULE.cookie, match, instructions)
    except NotOursError:
        return
    again = written(rule)
    assert decode.rule_of(TableId.FLOW, 1, RULE.cookie, *again) == rule


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_nothing_but_a_refusal_comes_of_arbitrary_bytes(match: bytes, rest: bytes) -> None:
    for decoder in (
        lambda: decode.rule_of(1, 1, RULE.cookie, match, rest),
        lambda: decode.group_of(rest),
        lambda: decode.meter_of(rest),
    ):
        refused(decoder)


def refused(decoder: Callable[[], object]) -> None:
    try:
        decoder()
    except NotOursError:
        return


def dumped(switch: ByteSwitch) -> Dump:
    reader = DumpReader()

    class Reader:
        def statistics(self, reply: bytes) -> None:
            reader.add(reply)

    switch.worker = Reader()
    for request in encode.dump_requests():
        switch.send(request)
    assert reader.is_complete
    return reader.dump


def bring(switch: ByteSwitch, desired: Tables) -> int:
    """Send what an update says; how much it changes."""
    changed = update(dumped(switch), desired)
    switch.send(b"".join(changed.meters_first))
    if changed.bundled:
        switch.send(b"".join(encode.with_xid(data, 7) for data in encode.bundle(1, changed.bundled)))
    switch.send(b"".join(changed.meters_last))
    return changed.counts.total


foreign_flows = st.tuples(st.integers(0, 254), SHORTS, st.sampled_from([b"", bytes.fromhex("80000a020800")]))


@settings(max_examples=60)
@given(tables(), tables(), st.lists(foreign_flows, max_size=3))
@example(Tables(), everything(), [])
@example(everything(), Tables(), [(0, 900, b"")])
def test_a_switch_comes_from_any_tables_to_any_others_and_stays_there(
    old: Tables, new: Tables, foreign: list[tuple[int, int, bytes]]
) -> None:
    switch = ByteSwitch()
    bring(switch, old)
    for flow in foreign:
        switch.add_foreign(*flow)
    strange_group = struct.pack("!HBxI", 8, 1, 2)
    switch.content.groups[2] = strange_group
    assert dumped(switch).foreign_groups == (2,)
    bring(switch, new)
    held = dumped(switch)
    assert held.tables == new
    assert held.foreign_count == 0
    assert bring(switch, new) == 0


def test_a_prefix_of_a_scope_is_not_mistaken_for_a_scope() -> None:
    wide = Prefix(int(IPv6Address("ff00::")), 8)
    rule = Rule(TableId.MULTICAST, 1, Match(ipv6_dst=wide), Origin.TREE)
    assert decode.rule_of(rule.table, 1, rule.cookie, *written(rule)) == rule
