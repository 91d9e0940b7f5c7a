"""What a switch can be told, as hashable values: rules, groups, the tables of a switch, and the difference
between two of them. Nothing here knows how OpenFlow writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from controller.plan.pipeline import Origin, TableId


class Prefix(NamedTuple):
    """An IPv6 prefix as integers, because ipaddress objects are slow to hash and compare."""

    value: int
    length: int

    @classmethod
    def of(cls, thing: IPv6Address | IPv6Network) -> Prefix:
        """The prefix of a network, or of a single address."""
        if isinstance(thing, IPv6Network):
            return cls(int(thing.network_address), thing.prefixlen)
        return cls(int(thing), 128)

    @property
    def mask(self) -> int:
        """The prefix mask as a 128-bit integer."""
        return (1 << 128) - (1 << (128 - self.length))

    def covers(self, address: int) -> bool:
        """Whether the address lies in the prefix."""
        return address & self.mask == self.value

    def __str__(self) -> str:
        address = IPv6Address(self.value)
        return str(address) if self.length == 128 else f"{address}/{self.length}"


class CtState(StrEnum):
    """The states of connection tracking that the pipeline tells apart."""

    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"


ANY_TAG = -1
"""In `Match.edge_tag`: any VLAN tag at all."""
CONTROLLER_PORT = 0xFFFF_FFFD
"""OFPP_CONTROLLER: where packets that the controller sends into the pipeline come in."""


@dataclass(frozen=True, slots=True)
class Match:
    """The packets a rule is for. Every rule is about IPv6 (EtherType 0x86dd); None matches anything.

    `too_big` is the number of a bit that `CheckLarger` has set; `ct_state` and `ct_mark` are known after
    `Track`; `edge_tag` matches packets tagged for that edge, `ANY_TAG` those with any VLAN tag (None also
    matches packets without); `is_fragment` matches packets with a Fragment header, or those without, as they
    are before `Track` puts them together; `scope` is the scope of a multicast destination (RFC 7346; never
    together with `ipv6_dst`); `port_dst` is the TCP or UDP destination port and needs `ip_proto`.
    """

    in_port: int | None = None
    source_class: int | None = None
    too_big: int | None = None
    ct_state: CtState | None = None
    ct_mark: int | None = None
    edge_tag: int | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    ip_proto: int | None = None
    hop_limit: int | None = None
    is_fragment: bool | None = None
    icmpv6_type: int | None = None
    ipv6_src: Prefix | None = None
    ipv6_dst: Prefix | None = None
    scope: int | None = None
    port_dst: int | None = None

    def fields(self) -> dict[str, int | str | Prefix]:
        """The fields that are matched, by name, in the order of declaration."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in values if value is not None}

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.fields().items()) or "any"


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of a port (never the one it came in by)."""

    port: int

    def __str__(self) -> str:
        return f"output:{self.port}"


@dataclass(frozen=True, slots=True)
class Punt:
    """Send the whole packet to the controller."""

    def __str__(self) -> str:
        return "controller"


@dataclass(frozen=True, slots=True)
class SetEthSrc:
    """Rewrite the Ethernet source."""

    mac: str

    def __str__(self) -> str:
        return f"eth_src:={self.mac}"


@dataclass(frozen=True, slots=True)
class SetEthDst:
    """Rewrite the Ethernet destination."""

    mac: str

    def __str__(self) -> str:
        return f"eth_dst:={self.mac}"


@dataclass(frozen=True, slots=True)
class DecHopLimit:
    """Decrement the hop limit, as every router does (RFC 8200 section 3)."""

    def __str__(self) -> str:
        return "dec_hop_limit"


@dataclass(frozen=True, slots=True)
class PushTag:
    """Tag the packet (VLAN) for one particular edge, whichever is nearest."""

    tag: int

    def __str__(self) -> str:
        return f"push_tag:{self.tag}"


@dataclass(frozen=True, slots=True)
class PopTag:
    """Take the tag off."""

    def __str__(self) -> str:
        return "pop_tag"


@dataclass(frozen=True, slots=True)
class Track:
    """Look the packet's connection up in a conntrack zone; it goes on in table `next_table` with its
    `ct_state` and `ct_mark` known. The last action of its rule."""

    zone: int
    next_table: TableId

    def __str__(self) -> str:
        return f"track:{self.zone},{self.next_table.name.lower()}"


@dataclass(frozen=True, slots=True)
class Commit:
    """Remember the packet's connection in a conntrack zone, with a mark if one is given."""

    zone: int
    mark: int | None = None

    def __str__(self) -> str:
        return f"commit:{self.zone}" + ("" if self.mark is None else f",mark:={self.mark}")


@dataclass(frozen=True, slots=True)
class CheckLarger:
    """Set bit number `bit` when the frame is longer than `frame_bytes` (Ethernet header included)."""

    frame_bytes: int
    bit: int

    def __str__(self) -> str:
        return f"check_larger:{self.frame_bytes},{self.bit}"


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a group."""

    group: int

    def __str__(self) -> str:
        return f"group:{self.group:#x}"


Action = (
    Output
    | Punt
    | SetEthSrc
    | SetEthDst
    | DecHopLimit
    | PushTag
    | PopTag
    | Track
    | Commit
    | CheckLarger
    | ToGroup
)


class RuleKey(NamedTuple):
    """What identifies a rule within a switch."""

    table: TableId
    priority: int
    match: Match


@dataclass(frozen=True, slots=True)
class Rule:
    """One flow entry. Without actions and `goto` it drops. `origin` says which part of the plan made it,
    `argument` (16 bits) tells the controller more about packets that the rule punts; `meter` limits the rate
    of the packets that get through the rule."""

    table: TableId
    priority: int
    match: Match
    origin: Origin
    actions: tuple[Action, ...] = ()
    source_class: int | None = None
    goto: TableId | None = None
    meter: int | None = None
    argument: int = 0

    @property
    def key(self) -> RuleKey:
        """The rule's identity."""
        return RuleKey(self.table, self.priority, self.match)

    @property
    def cookie(self) -> int:
        """The OpenFlow cookie: the mark of this controller, the argument and the origin, so that a dump
        explains itself."""
        return COOKIE_MARK | self.argument << 16 | self.origin

    def __str__(self) -> str:
        words = [] if self.meter is None else [f"meter:{self.meter}"]
        words += [str(action) for action in self.actions]
        if self.source_class is not None:
            words.append(f"class:={self.source_class}")
        if self.goto is not None:
            words.append(f"goto:{self.goto.name.lower()}")
        return f"{self.priority:5} {self.match} -> {' '.join(words) or 'drop'}"


COOKIE_MARK = 0x6E63 << 48


class GroupKind(StrEnum):
    """How a group treats its buckets: copy to all, or use the first that is alive."""

    ALL = "all"
    FAST_FAILOVER = "fast_failover"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Actions of a group; a fast-failover bucket is alive while `watch_port` is up."""

    actions: tuple[Action, ...]
    watch_port: int | None = None

    def __str__(self) -> str:
        watch = "" if self.watch_port is None else f"watch:{self.watch_port} "
        return watch + " ".join(map(str, self.actions))


@dataclass(frozen=True, slots=True)
class Group:
    """One group entry of a switch."""

    number: int
    kind: GroupKind
    buckets: tuple[Bucket, ...]

    def __str__(self) -> str:
        return f"group {self.number:#x} {self.kind}: " + " | ".join(map(str, self.buckets))


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit in packets per second with a burst in packets; what is above is dropped."""

    number: int
    rate_pps: int
    burst_packets: int

    def __str__(self) -> str:
        return f"meter {self.number}: {self.rate_pps} packets/s, burst {self.burst_packets}"


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one switch holds."""

    rules: Mapping[RuleKey, Rule] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    meters: Mapping[int, Meter] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Iterable[Rule], groups: Iterable[Group] = (), meters: Iterable[Meter] = ()) -> Tables:
        """Collect rules and groups. Raises ValueError when two different rules claim the same packets."""
        by_key: dict[RuleKey, Rule] = {}
        for rule in rules:
            key = rule.key
            if by_key.setdefault(key, rule) != rule:
                raise ValueError(f"two rules for one match in {rule.table.name}: {by_key[key]} and {rule}")
        by_number: dict[int, Group] = {}
        for group in groups:
            if by_number.setdefault(group.number, group) != group:
                raise ValueError(f"two groups with the number {group.number:#x}")
        return cls(by_key, by_number, {meter.number: meter for meter in meters})


@dataclass(frozen=True, slots=True)
class Target:
    """Tables for one switch to come to, and the number of the plan they belong to."""

    plan: int
    tables: Tables


class Step(IntEnum):
    """The order in which a difference is applied, so that no rule ever names a missing meter or group."""

    METER_ADD = 1
    METER_MODIFY = 2
    GROUP_ADD = 3
    GROUP_MODIFY = 4
    RULE_SET = 5
    RULE_DELETE = 6
    GROUP_DELETE = 7
    METER_DELETE = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One modification of a switch."""

    step: Step
    item: Rule | Group | Meter


def diff(old: Tables, new: Tables) -> tuple[Change, ...]:
    """The changes that turn `old` into `new`, in the order to apply them; empty when nothing differs."""
    changes = [
        Change(Step.METER_MODIFY if number in old.meters else Step.METER_ADD, meter)
        for number, meter in new.meters.items()
        if old.meters.get(number) != meter
    ]
    changes += [
        Change(Step.GROUP_MODIFY if number in old.groups else Step.GROUP_ADD, group)
        for number, group in new.groups.items()
        if old.groups.get(number) != group
    ]
    changes += [Change(Step.RULE_SET, rule) for key, rule in new.rules.items() if old.rules.get(key) != rule]
    changes += [Change(Step.RULE_DELETE, rule) for key, rule in old.rules.items() if key not in new.rules]
    changes += [
        Change(Step.GROUP_DELETE, group) for number, group in old.groups.items() if number not in new.groups
    ]
    changes += [
        Change(Step.METER_DELETE, meter) for number, meter in old.meters.items() if number not in new.meters
    ]
    return tuple(sorted(changes, key=lambda change: change.step))
