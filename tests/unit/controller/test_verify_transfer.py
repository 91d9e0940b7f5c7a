"""What one switch does to sets of packets: the stories one by one, and random tables against the walker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import product
from random import Random

import pytest

from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    Action,
    Bucket,
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
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from controller.verify.network import Network
from controller.verify.outcomes import Ended, Ending, LookedUp, Outcome, Remembered, Sent
from controller.verify.packet import Packet
from controller.verify.results import Fate
from controller.verify.space import Field, Flavour, Memory, Space, Tag, Tracked, Upper
from controller.verify.transfer import SwitchModel
from controller.verify.walk import Connection, Left, Stayed, visit
from controller.wire.frames import UDP
from tests.openvswitch.random_tables import Chaos
from tests.openvswitch.sample_packets import Sampler
from tests.unit.controller.networks import small

SRC, DST = IPv6Address("2001:db8:1::5"), IPv6Address("2001:db8:ffff::1")
PACKET = Packet("02:00:00:00:00:0a", "02:00:00:00:00:0b", SRC, DST, UDP, 4000, 4001)
ANY = Match()


def rule(
    table: TableId,
    *actions: Action,
    match: Match = ANY,
    goto: TableId | None = None,
    priority: int | None = None,
) -> Rule:
    return Rule(
        table, len(match.fields()) if priority is None else priority, match, Origin.ROUTE, actions, goto=goto
    )


def entry(*actions: Action, goto: TableId | None = None) -> Rule:
    """The only rule of INGRESS."""
    return rule(TableId.INGRESS, *actions, goto=goto)


class Switch:
    """A switch, asked about one packet."""

    def __init__(
        self, rules: Iterable[Rule], groups: Iterable[Group] = (), own_zones: dict[int, int] | None = None
    ):
        tables = Tables.of(rules, groups)
        self.space = Space([tables], map(Prefix.of, (SRC, DST)), (PACKET.eth_src, PACKET.eth_dst))
        self.model = SwitchModel(self.space, "s", tables, own_zones or {})

    def of(
        self, packet: Packet = PACKET, in_port: int = 9, down: frozenset[int] = frozenset()
    ) -> list[Outcome]:
        """What becomes of it."""
        destination = self.space.dst.containing(packet.dst)
        found = self.model.outcomes(in_port, atoms_of(self.space, packet), down)
        return [outcome for outcome in found if outcome.destinations & destination]

    def ports(self, **question: object) -> list[int]:
        """Where it is sent."""
        return [each.port for each in self.of(**question) if isinstance(each, Sent)]  # type: ignore[arg-type]

    def endings(self, **question: object) -> list[Ending]:
        """How its copies end here."""
        return [each.ending for each in self.of(**question) if isinstance(each, Ended)]  # type: ignore[arg-type]


def atoms_of(space: Space, packet: Packet) -> Flavour:
    """The flavour that a packet has when it comes in."""
    fields = list(space.fresh)
    tag = None if not packet.tags else Tag(packet.tags[0], len(packet.tags) > 1)
    if tag is not None and not space.tags.names([tag]):
        tag = Tag(other_tag(space), tag.is_double)
    upper = Upper(packet.ip_proto, packet.port_dst if packet.icmpv6_type is None else packet.icmpv6_type)
    # A protocol that no rule names, or a port of one whose ports none does, is one of the rest.
    named = [each for each in space.uppers.atoms[1:] if each.protocol == upper.protocol]
    detailed = [each for each in named if each.detail == upper.detail]
    fields[Field.TAG] = space.tags.of(tag)
    fields[Field.ETH_SRC] = mac(space, packet.eth_src)
    fields[Field.ETH_DST] = mac(space, packet.eth_dst)
    fields[Field.UPPER] = space.uppers.where(detailed or named[-1:]) or space.uppers.other
    fields[Field.FRAGMENT] = space.fragments.of(packet.is_fragment)
    fields[Field.HOP_LIMIT] = space.hop_limits.of(min(packet.hop_limit, space.hop_limits.atoms[-1]))
    sizes = [size for size in space.sizes.atoms if size <= packet.frame_bytes]
    fields[Field.SIZE] = space.sizes.of(max(sizes, default=space.sizes.atoms[0]))
    fields[Field.SRC] = space.src.containing(packet.src)
    return tuple(fields)


def other_tag(space: Space) -> int:
    return max(tag.number for tag in space.tags.atoms if tag is not None)


def mac(space: Space, address: str) -> int:
    return space.macs.of(address) if space.macs.names([address]) else space.macs.other


def test_what_no_rule_is_for_is_missed_and_what_a_rule_sends_nowhere_is_dropped() -> None:
    assert Switch([]).endings() == [Ending.MISSED]
    assert Switch([entry()]).endings() == [Ending.DROPPED]
    assert Switch([entry(goto=TableId.PERMIT)]).endings() == [Ending.MISSED]


def test_a_packet_does_not_leave_by_the_port_where_it_came_in() -> None:
    switch = Switch([entry(Output(1), Output(2))])
    assert switch.ports(in_port=1) == [2]
    assert switch.endings(in_port=1) == [Ending.HAIRPIN]
    assert switch.ports(in_port=3) == [1, 2]


def test_a_packet_does_not_leave_by_a_port_that_is_down() -> None:
    switch = Switch([entry(Output(1), Output(2))])
    assert switch.ports(down=frozenset({1})) == [2]
    assert switch.endings(down=frozenset({1})) == [Ending.DEAD]


ALL = Group(7, GroupKind.ALL, (Bucket((SetEthSrc("02:11"), Output(1))), Bucket((Output(2),))))
FIRST = Group(7, GroupKind.FAST_FAILOVER, (Bucket((Output(1),), 1), Bucket((Output(2),), 2)))


def test_every_bucket_of_an_all_group_has_a_copy_that_the_others_do_not_change() -> None:
    switch = Switch([entry(ToGroup(7), Output(3))], [ALL])
    sent = [each for each in switch.of() if isinstance(each, Sent)]
    assert [(each.port, each.group) for each in sent] == [(1, 7), (2, 7), (3, None)]
    macs = [switch.space.macs.values(each.flavour[Field.ETH_SRC]) for each in sent]
    assert macs == [("02:11",), (PACKET.eth_src,), (PACKET.eth_src,)]


@pytest.mark.parametrize(("down", "ports"), [((), [1]), ((1,), [2]), ((2,), [1]), ((1, 2), [])])
def test_fast_failover_uses_the_first_bucket_that_is_alive(down: Sequence[int], ports: list[int]) -> None:
    switch = Switch([entry(ToGroup(7))], [FIRST])
    assert switch.ports(down=frozenset(down)) == ports
    assert switch.endings(down=frozenset(down)) == ([] if ports else [Ending.DEAD])


def test_what_changes_with_a_port_is_what_its_groups_and_outputs_do() -> None:
    rules = [
        rule(TableId.INGRESS, ToGroup(7), match=Match(ip_proto=UDP)),
        rule(TableId.INGRESS, Output(1), match=ANY),
    ]
    switch = Switch(rules, [FIRST])
    changed = switch.model.changes(9, switch.space.fresh, frozenset(), frozenset({1}))
    assert [type(each) for each in changed] == [Sent, Ended]
    assert [each.port for each in changed if isinstance(each, Sent)] == [2]
    assert switch.model.changes(9, switch.space.fresh, frozenset(), frozenset({3})) == ()


def test_groups_that_are_missing_or_go_round_end_packets() -> None:
    assert Switch([entry(ToGroup(7))]).endings() == [Ending.NO_GROUP]
    own = Group(7, GroupKind.ALL, (Bucket((ToGroup(7),)),))
    assert Ending.CIRCLES in Switch([entry(ToGroup(7))], [own]).endings()


@pytest.mark.parametrize(("limit", "left"), [(0, None), (1, None), (2, 1), (3, None), (64, None)])
def test_the_hop_limit_counts_down_to_its_end(limit: int, left: int | None) -> None:
    switch = Switch([entry(DecHopLimit(), Output(1)), rule(TableId.PERMIT, match=Match(hop_limit=2))])
    found = switch.of(packet=replace(PACKET, hop_limit=limit))
    if limit < 2:
        assert [each.ending for each in found if isinstance(each, Ended)] == [Ending.EXHAUSTED]
    else:
        (sent,) = (each for each in found if isinstance(each, Sent))
        limits = switch.space.hop_limits.values(sent.flavour[Field.HOP_LIMIT])
        assert limits == ((left,) if left else (2, 3)), "3 stands for many, and many last for long"


@pytest.mark.parametrize(("frame_bytes", "ending"), [(1294, Ending.MISSED), (1295, Ending.PUNTED)])
def test_large_packets_are_told_from_small_ones(frame_bytes: int, ending: Ending) -> None:
    rules = [
        entry(CheckLarger(1294, 0), goto=TableId.UNICAST),
        rule(TableId.UNICAST, Punt(), match=Match(too_big=0)),
    ]
    assert Switch(rules).endings(packet=replace(PACKET, frame_bytes=frame_bytes)) == [ending]


def tracked(own_zones: dict[int, int]) -> list[tuple[Memory, CtState]]:
    """What may have been said of a packet of port 9 that is looked up in zone 4."""
    rules = [
        entry(Track(4, TableId.FLOW)),
        *(rule(TableId.FLOW, Output(2), match=Match(ct_state=state)) for state in CtState),
    ]
    switch, found = Switch(rules, own_zones=own_zones), list[tuple[Memory, CtState]]()
    for outcome in switch.of():
        if isinstance(outcome, Sent):
            values = switch.space.tracked.values(outcome.flavour[Field.CT])
            found += [(value.memory, value.state) for value in values if value is not None]
    return found


def test_a_memory_may_say_anything_and_it_is_known_whose_it_is() -> None:
    assert tracked({9: 4}) == [(Memory.OWN, state) for state in CtState]
    assert tracked({8: 4}) == [(Memory.THEIRS, state) for state in CtState]


def test_a_packet_that_is_looked_up_in_another_memory_or_remembered_is_noted() -> None:
    rules = [
        entry(Track(4, TableId.FLOW)),
        rule(TableId.FLOW, Commit(5, 1), Output(2), match=Match(ct_state=CtState.NEW)),
    ]
    found = Switch(rules, own_zones={9: 5}).of()
    assert [each.zone for each in found if isinstance(each, LookedUp)] == [4]
    (remembered,) = (each for each in found if isinstance(each, Remembered))
    assert remembered.zone == 5
    space = Switch(rules).space
    assert space.tracked.values(remembered.flavour[Field.CT]) == (Tracked(Memory.THEIRS, CtState.NEW),)


def test_what_was_remembered_is_not_known_in_later_tables() -> None:
    rules = [
        entry(Track(4, TableId.FLOW)),
        rule(TableId.FLOW, Commit(4), match=Match(ct_state=CtState.NEW), goto=TableId.ROUTER),
        rule(TableId.ROUTER, Output(1), match=Match(ct_state=CtState.NEW)),
        rule(TableId.ROUTER, Output(2)),
    ]
    assert Switch(rules).ports() == [2]


def test_tags_are_pushed_popped_and_matched() -> None:
    rules = [
        rule(TableId.INGRESS, PopTag(), Output(1), match=Match(edge_tag=3)),
        rule(TableId.INGRESS, PushTag(3), Output(2)),
    ]
    switch = Switch(rules)
    (popped,) = switch.of(packet=replace(PACKET, tags=(3,)))
    (pushed,) = switch.of()
    assert isinstance(popped, Sent)
    assert isinstance(pushed, Sent)
    assert (popped.port, switch.space.tags.values(popped.flavour[Field.TAG])) == (1, (None,))
    assert (pushed.port, switch.space.tags.values(pushed.flavour[Field.TAG])) == (2, (Tag(3),))
    assert switch.endings(packet=replace(PACKET, tags=(3, 3))) == [Ending.TWO_TAGS]


PORTS = 4
CONNECTIONS = [Connection(state, mark) for state, mark in product(CtState, (0, 1))]


@pytest.mark.parametrize("seed", range(12))
def test_all_that_a_walk_finds_is_among_what_the_model_says(seed: int) -> None:
    """In random tables, for packets that are aimed at their rules, whatever connection tracking says."""
    random = Random(seed)
    tables = Chaos(PORTS, random).tables()
    space, router = Space([tables], macs=[PACKET.eth_dst]), PACKET.eth_dst
    model, sampler = SwitchModel(space, "c1", tables, {1: 1, 2: 2}), Sampler(tables, router, random)
    network = Network(small(), {"c1": tables})
    seen = 0
    for aim in random.sample(sampler.rules, 60):
        probe = sampler.probe(aim)
        packet, in_port = probe.packet, probe.in_port
        outcomes = model.outcomes(in_port, atoms_of(space, packet))
        here = [each for each in outcomes if each.destinations & space.dst.containing(packet.dst)]
        for own, theirs in product(CONNECTIONS, repeat=2):
            found = visit(
                network,
                packet,
                PortId("c1", in_port),
                lambda z, _: own if z == in_port else theirs,  # noqa: B023
            )
            for copy in found.copies:
                assert is_among(space, copy, here), f"{packet} by {in_port}: {copy} not in {here}"
                seen += 1
    assert seen > 100


def is_among(space: Space, copy: Left | Stayed, outcomes: Sequence[Outcome]) -> bool:
    """Whether one of the outcomes is for a copy as it leaves or ends."""
    wanted, fields = atoms_of(space, copy.packet), list(Field)[Field.TAG :]
    if isinstance(copy, Left):
        found = [each for each in outcomes if isinstance(each, Sent) and each.port == copy.port]
    else:
        is_punt = copy.fate is Fate.PUNTED
        ended = (each for each in outcomes if isinstance(each, Ended))
        found = [each for each in ended if (each.ending is Ending.PUNTED) is is_punt]
        if not is_punt:
            # What is dropped is told as it came to the table.
            fields = [Field.UPPER, Field.FRAGMENT, Field.SIZE, Field.SRC]
    return any(all(each.flavour[field] & wanted[field] for field in fields) for each in found)
