"""The space of all packets, as coarse as the rules allow: every field has its atoms, and a region is a set
of atoms for each field, which stands for all packets that can be made by choosing one of each.

Two fields need a word. The upper layer is one field, because ports and ICMPv6 types make sense with their
protocol only. Connection tracking is another: what is known of a packet depends on whose memory was asked,
that of the port where it came in (`OWN`) or that of the user it goes to (`THEIRS`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import NamedTuple

from controller.plan.rules import (
    ANY_TAG,
    Action,
    CheckLarger,
    Commit,
    CtState,
    Match,
    Prefix,
    PushTag,
    SetEthDst,
    SetEthSrc,
    Tables,
)
from controller.verify.atoms import Bits, Intervals, Value, Values
from controller.verify.packet import TCP
from controller.wire.frames import ICMPV6, UDP

OTHER_PROTOCOL = 253
"""For experiments (RFC 3692): no rule names it."""
OTHER_MAC = "02:00:00:00:00:99"
OTHER_PORT, OTHER_TYPE = 49999, 200
OTHER_MARK = 0xFFFF_FFFF
OTHER_TAG = 4094
MIN_FRAME_BYTES, MAX_FRAME_BYTES = 60, 9014


class Field(IntEnum):
    """The fields of a region but for the destination, in the order in which rules split them."""

    CLASS = 0
    CT = 1
    MARK = 2
    TOO_BIG = 3
    TAG = 4
    ETH_SRC = 5
    ETH_DST = 6
    UPPER = 7
    FRAGMENT = 8
    HOP_LIMIT = 9
    SIZE = 10
    SRC = 11


class Memory(StrEnum):
    """Whose connection tracking was asked last about a packet."""

    OWN = "own"
    THEIRS = "theirs"


class Tracked(NamedTuple):
    """What connection tracking has said of a packet. Once it has remembered one, Open vSwitch itself does not
    know any more (`is_forgotten`)."""

    memory: Memory
    state: CtState
    is_forgotten: bool = False


class Tag(NamedTuple):
    """The VLAN tag of a packet, and whether there is another one below it."""

    number: int
    is_double: bool = False


class Upper(NamedTuple):
    """An upper-layer protocol, with the destination port or ICMPv6 type where rules name some."""

    protocol: int
    detail: int | None = None


Flavour = tuple[Bits, ...]
"""A region without its destinations: a set of atoms for each `Field`."""
Condition = tuple[tuple[tuple[int, Bits], ...], Bits]
"""What a match asks for: (field, atoms) where it asks for something, and destinations."""
Region = tuple[Flavour, Bits]


class Space:
    """The atoms of all fields for the tables of a network. `prefixes` and `macs` are addresses that somebody
    will ask about besides."""

    def __init__(
        self, tables: Iterable[Tables], prefixes: Iterable[Prefix] = (), macs: Iterable[str] = ()
    ) -> None:
        seen = _Seen()
        for content in tables:
            seen.take(content)
        seen.macs.update(macs)
        asked = set(prefixes)
        self.dst = Intervals(seen.destinations | asked)
        self.src = Intervals(seen.sources | asked)
        self.classes = Values(sorted(seen.classes), None)
        states = [
            Tracked(memory, state, is_forgotten)
            for is_forgotten in (False, True)
            for memory in Memory
            for state in CtState
        ]
        self.tracked: Values[Tracked | None] = Values(states, None)
        self._others = _Others(seen)
        self.marks = Values([0, *sorted(seen.marks)], self._others.mark)
        self.too_big = Values(_subsets(sorted(seen.bits)), frozenset())
        numbers = [*sorted(seen.tags - {ANY_TAG}), self._others.tag]
        tags = [Tag(number, is_double) for is_double in (False, True) for number in numbers]
        self.tags: Values[Tag | None] = Values(tags, None)
        self.macs = Values(sorted(seen.macs), self._others.mac)
        self.uppers = Values(self._others.uppers(seen), Upper(self._others.protocol))
        self.fragments = Values((True,), other=False)
        self.hop_limits = Values(range(1, max(seen.hop_limits | {1}) + 2), 0)
        self.sizes = Values(sorted(size + 1 for size in seen.sizes), MIN_FRAME_BYTES)
        self.universe: Flavour = tuple(
            len_to_bits(len(values))
            for values in (
                *(self.classes, self.tracked, self.marks, self.too_big, self.tags, self.macs, self.macs),
                *(self.uppers, self.fragments, self.hop_limits, self.sizes, self.src),
            )
        )
        self._conditions: dict[Match, Condition] = {}

    def knows(self, tables: Tables) -> bool:
        """Whether the atoms are fine enough for these tables too."""
        seen = _Seen()
        seen.take(tables)
        return (
            not self._others.are_named(seen)
            and all(map(self.src.knows, seen.sources))
            and all(map(self.dst.knows, seen.destinations))
            and self.classes.names(seen.classes)
            and self.marks.names(seen.marks)
            and all(frozenset({bit}) in self.too_big.atoms for bit in seen.bits)
            and self.tags.names(Tag(number) for number in seen.tags - {ANY_TAG})
            and self.macs.names(seen.macs)
            and self.uppers.names(self._others.uppers(seen))
            and all(limit < self.hop_limits.atoms[-1] for limit in seen.hop_limits)
            and self.sizes.names(size + 1 for size in seen.sizes)
        )

    @property
    def other_icmpv6_type(self) -> int:
        """A type of ICMPv6 that no rule names."""
        return self._others.icmpv6_type

    @cached_property
    def fresh(self) -> Flavour:
        """Every packet as it may come in by a port: nothing is known of it yet."""
        return self.forgotten(self.universe)

    def forgotten(self, flavour: Flavour) -> Flavour:
        """A packet that comes in at a switch: what another one knew of it is not in it."""
        known = (self.classes.other, self.tracked.other, self.marks.of(0), self.too_big.other)
        return known + flavour[len(known) :]

    @cached_property
    def many(self) -> Bits:
        """The hop limits above all that rules name: they decrease for long before a rule sees it."""
        return 1 << (len(self.hop_limits) - 1)

    def hops_above(self, limit: int) -> Bits:
        """The hop limits above this one that rules tell apart, and those above all that they name."""
        return self.hop_limits.where(value for value in self.hop_limits.atoms if value > limit) | self.many

    @cached_property
    def last_hops(self) -> Bits:
        """The hop limits with which no router forwards a packet."""
        return self.hop_limits.where((0, 1))

    @cached_property
    def known_by(self) -> Mapping[Memory, Bits]:
        """All that a memory may say."""
        return {memory: self.tracked.where(Tracked(memory, state) for state in CtState) for memory in Memory}

    def said(self, memory: Memory, states: Iterable[CtState]) -> Bits:
        """That a memory has said one of these, whether it is forgotten or not."""
        return self.tracked.where(
            Tracked(memory, state, is_forgotten) for state in states for is_forgotten in (False, True)
        )

    def untracked(self, flavour: Flavour) -> Flavour:
        """A packet that Open vSwitch has forgotten the connection of."""
        known = sum(self.known_by.values())
        found = flavour[Field.CT] & ~known | (flavour[Field.CT] & known) << known.bit_count()
        fields = list(flavour)
        fields[Field.CT], fields[Field.MARK] = found, self.marks.of(0)
        return tuple(fields)

    def condition(self, match: Match) -> Condition:
        """The atoms that a match asks for."""
        found = self._conditions.get(match)
        if found is None:
            found = self._conditions[match] = self._condition(match)
        return found

    def _condition(self, match: Match) -> Condition:
        asked: list[tuple[int, Bits]] = []
        if match.source_class is not None:
            asked.append((Field.CLASS, self.classes.of(match.source_class)))
        if match.ct_state is not None:
            states = (Tracked(memory, match.ct_state) for memory in Memory)
            asked.append((Field.CT, self.tracked.where(states)))
        if match.ct_mark is not None:
            asked.append((Field.MARK, self.marks.of(match.ct_mark)))
        if match.too_big is not None:
            asked.append((Field.TOO_BIG, self.bit_set(match.too_big)))
        if match.edge_tag is not None:
            asked.append((Field.TAG, self.tagged(match.edge_tag)))
        if match.eth_src is not None:
            asked.append((Field.ETH_SRC, self.macs.of(match.eth_src)))
        if match.eth_dst is not None:
            asked.append((Field.ETH_DST, self.macs.of(match.eth_dst)))
        if match.ip_proto is not None:
            asked.append((Field.UPPER, self.upper(match)))
        if match.is_fragment is not None:
            asked.append((Field.FRAGMENT, self.fragments.of(match.is_fragment)))
        if match.hop_limit is not None:
            asked.append((Field.HOP_LIMIT, self.hop_limits.of(match.hop_limit)))
        if match.ipv6_src is not None:
            asked.append((Field.SRC, self.src.of(match.ipv6_src)))
        destinations = self.dst.all
        if match.ipv6_dst is not None:
            destinations = self.dst.of(match.ipv6_dst)
        if match.scope is not None:
            destinations &= self.scope(match.scope)
        return tuple(asked), destinations

    def tagged(self, number: int) -> Bits:
        """The tags with this number outermost; any at all for ANY_TAG."""
        if number == ANY_TAG:
            return self.tags.all & ~self.tags.other
        return self.tags.where((Tag(number), Tag(number, True)))

    @cached_property
    def doubly_tagged(self) -> Bits:
        """Two tags or more."""
        return self.tags.where(tag for tag in self.tags.atoms if tag is not None and tag.is_double)

    def bit_set(self, bit: int) -> Bits:
        """The sets of bits that have this one."""
        return self.too_big.where(bits for bits in self.too_big.atoms if bit in bits)

    def upper(self, match: Match) -> Bits:
        """The upper layers that a match asks for."""
        detail = match.port_dst if match.icmpv6_type is None else match.icmpv6_type
        if detail is not None:
            return self.uppers.of(Upper(match.ip_proto or 0, detail))
        return self.uppers.where(upper for upper in self.uppers.atoms if upper.protocol == match.ip_proto)

    def scope(self, scope: int) -> Bits:
        """Multicast destinations of a scope."""
        found = 0
        for prefix in scope_prefixes(scope):
            found |= self.dst.of(prefix)
        return found

    def larger(self, frame_bytes: int) -> Bits:
        """The frames that are longer than that."""
        return self.sizes.where(size for size in self.sizes.atoms if size > frame_bytes)


def len_to_bits(length: int) -> Bits:
    """All of so many atoms."""
    return (1 << length) - 1


def scope_prefixes(scope: int) -> tuple[Prefix, ...]:
    """`ff0s::/ff0f::`, the multicast addresses of a scope, as prefixes."""
    return tuple(Prefix((0xFF00 | flags << 4 | scope) << 112, 16) for flags in range(16))


def _subsets(bits: Sequence[int]) -> list[frozenset[int]]:
    found: list[frozenset[int]] = [frozenset()]
    for bit in bits:
        found += [known | {bit} for known in found]
    return found


class _Seen:
    """The values that rules, groups and actions name."""

    def __init__(self) -> None:
        self.sources: set[Prefix] = set()
        self.destinations: set[Prefix] = set()
        self.classes: set[int] = set()
        self.marks: set[int] = set()
        self.bits: set[int] = set()
        self.tags: set[int] = set()
        self.macs: set[str] = set()
        self.uppers: set[Upper] = set()
        self.hop_limits: set[int] = set()
        self.sizes: set[int] = set()
        self._matches: set[Match] = set()
        self._actions: set[tuple[Action, ...]] = set()

    def take(self, tables: Tables) -> None:
        """Take in the tables of a switch."""
        for rule in tables.rules.values():
            if rule.match not in self._matches:
                self._matches.add(rule.match)
                self._match(rule.match)
            if rule.source_class is not None:
                self.classes.add(rule.source_class)
            self._act(rule.actions)
        for group in tables.groups.values():
            for bucket in group.buckets:
                self._act(bucket.actions)

    def _match(self, match: Match) -> None:
        _add(self.sources, match.ipv6_src)
        _add(self.destinations, match.ipv6_dst)
        _add(self.marks, match.ct_mark)
        _add(self.bits, match.too_big)
        _add(self.tags, match.edge_tag)
        _add(self.macs, match.eth_src)
        _add(self.macs, match.eth_dst)
        _add(self.hop_limits, match.hop_limit)
        _add(self.classes, match.source_class)
        if match.ip_proto is not None:
            self.uppers.add(Upper(match.ip_proto))
            detail = match.port_dst if match.icmpv6_type is None else match.icmpv6_type
            if detail is not None:
                self.uppers.add(Upper(match.ip_proto, detail))
        if match.scope is not None:
            self.destinations.update(scope_prefixes(match.scope))

    def _act(self, actions: tuple[Action, ...]) -> None:
        if actions in self._actions:
            return
        self._actions.add(actions)
        for action in actions:
            match action:
                case SetEthSrc(mac) | SetEthDst(mac):
                    self.macs.add(mac)
                case PushTag(tag):
                    self.tags.add(tag)
                case Commit(_, mark) if mark is not None:
                    self.marks.add(mark)
                case CheckLarger(frame_bytes, bit):
                    self.sizes.add(frame_bytes)
                    self.bits.add(bit)
                case _:
                    pass


def _add(found: set[Value], value: Value | None) -> None:
    if value is not None:
        found.add(value)


class _Others:
    """Values that no rule names: each stands for all that none does."""

    def __init__(self, seen: _Seen) -> None:
        self.mark = _unnamed(OTHER_MARK, seen.marks)
        self.tag = _unnamed(OTHER_TAG, seen.tags)
        macs = (f"{OTHER_MAC[:-2]}{number:02x}" for number in range(int(OTHER_MAC[-2:], 16), -1, -1))
        self.mac = next(mac for mac in macs if mac not in seen.macs)
        self.protocol = _unnamed(OTHER_PROTOCOL, {upper.protocol for upper in seen.uppers})
        types, ports = (
            {upper.detail for upper in seen.uppers if (upper.protocol == ICMPV6) == is_icmp}
            for is_icmp in (True, False)
        )
        self.icmpv6_type = _unnamed(OTHER_TYPE, types)
        self.port = _unnamed(OTHER_PORT, ports)

    def uppers(self, seen: _Seen) -> list[Upper]:
        """The upper layers that are named, and for each protocol the rest of it."""
        protocols = {upper.protocol for upper in seen.uppers} | {TCP, UDP, ICMPV6}
        detailed = {upper for upper in seen.uppers if upper.detail is not None}
        rest = {
            Upper(protocol, self.icmpv6_type if protocol == ICMPV6 else self.port) for protocol in protocols
        }
        return sorted(detailed | rest)

    def are_named(self, seen: _Seen) -> bool:
        """Whether any of them is named after all."""
        return (
            self.mark in seen.marks
            or self.tag in seen.tags
            or self.mac in seen.macs
            or any(
                upper.protocol == self.protocol
                or upper.detail == (self.icmpv6_type if upper.protocol == ICMPV6 else self.port)
                for upper in seen.uppers
            )
        )


def _unnamed(first: int, named: Iterable[int | None]) -> int:
    known = set(named)
    return next(value for value in range(first, -1, -1) if value not in known)
