"""What may go wrong in tables: one fault each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

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
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from tests.unit.controller.proof_cases import Case


def groups_of(rule: Rule) -> set[int]:
    return {action.group for action in rule.actions if isinstance(action, ToGroup)}


Fault = tuple[list[tuple[Rule, Rule | None]], list[tuple[Group, Group | None]]]
"""Rules and groups, each with what takes its place."""


@dataclass(frozen=True)
class Spot:
    """A switch in which something is to go wrong."""

    case: Case
    switch: str
    tables: Tables
    random: Random

    def rule(self, wanted: Callable[[Rule], bool]) -> Rule | None:
        """A rule of some kind; those of every origin and table are as likely."""
        by_kind: dict[tuple[TableId, Origin], list[Rule]] = {}
        for rule in self.tables.rules.values():
            if wanted(rule):
                by_kind.setdefault((rule.table, rule.origin), []).append(rule)
        if not by_kind:
            return None
        return self.random.choice(by_kind[self.random.choice(list(by_kind))])

    def group(self, kind: GroupKind | None = None) -> Group | None:
        """A group."""
        found = [group for group in self.tables.groups.values() if kind in (None, group.kind)]
        return self.random.choice(found) if found else None

    def port(self, other_than: int | None = None) -> int:
        """Another port of the switch, rarely one that it has not."""
        numbers = [port.number for port in self.case.topology.ports[self.switch]]
        found = [number for number in (*numbers, *numbers, 99) if number != other_than]
        return self.random.choice(found)

    def changed(self, rule: Rule, **fields: object) -> Fault:
        """A rule with other fields."""
        return [(rule, replace(rule, **fields))], []  # type: ignore[arg-type]

    def matching(self, rule: Rule, **fields: object) -> Fault:
        """A rule with other match fields."""
        return self.changed(rule, match=replace(rule.match, **fields))  # type: ignore[arg-type]


def _has(kind: type) -> Callable[[Rule], bool]:
    return lambda rule: any(isinstance(action, kind) for action in rule.actions)


def _without(actions: Sequence[Action], kind: type) -> tuple[Action, ...]:
    return tuple(action for action in actions if not isinstance(action, kind))


def _with(actions: Sequence[Action], kind: type, make: Callable[[Action], Action]) -> tuple[Action, ...]:
    return tuple(make(action) if isinstance(action, kind) else action for action in actions)


def _dropped(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda _: True)
    return None if rule is None else ([(rule, None)], [])


def _boundary(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.origin is Origin.SCOPE)
    return None if rule is None else ([(rule, None)], [])


def _breached_boundary(spot: Spot) -> Fault | None:
    """A zone has no boundary and its tree a branch too many."""
    group = spot.group(GroupKind.ALL)
    ends = [(rule, None) for rule in spot.tables.rules.values() if rule.origin is Origin.SCOPE]
    if group is None or not ends:
        return None
    bucket = Bucket((Output(spot.port()),))
    return [*ends], [(group, replace(group, buckets=(*group.buckets, bucket)))]


def _widened(field: str) -> Callable[[Spot], Fault | None]:
    def fault(spot: Spot) -> Fault | None:
        rule = spot.rule(lambda rule: getattr(rule.match, field) is not None)
        if rule is None:
            return None
        prefix: Prefix = getattr(rule.match, field)
        length = spot.random.choice(
            [shorter for shorter in (0, 8, 16, 32, 48, 64, 112, 127) if shorter < prefix.length] or [0]
        )
        wider = Prefix(prefix.value & Prefix(0, length).mask, length)
        return spot.matching(rule, **{field: wider})

    return fault


def _narrowed(field: str) -> Callable[[Spot], Fault | None]:
    def fault(spot: Spot) -> Fault | None:
        rule = spot.rule(lambda rule: (getattr(rule.match, field) or Prefix(0, 128)).length < 128)
        if rule is None:
            return None
        prefix: Prefix = getattr(rule.match, field)
        length = spot.random.choice([longer for longer in (48, 64, 96, 120, 128) if longer > prefix.length])
        rest = spot.random.choice((0, 1, 0x101, 0x8000_0001)) & ~prefix.mask
        value = (prefix.value | rest) & Prefix(0, length).mask
        return spot.matching(rule, **{field: Prefix(value, length)})

    return fault


def _wrong_port(spot: Spot) -> Fault | None:
    rule = spot.rule(_has(Output))
    if rule is None:
        return None
    actions = _with(rule.actions, Output, lambda action: Output(spot.port(getattr(action, "port", None))))
    return spot.changed(rule, actions=actions)


def _extra_output(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: _has(Output)(rule) or _has(ToGroup)(rule))
    return None if rule is None else spot.changed(rule, actions=(*rule.actions, Output(spot.port())))


def _bucket_port(spot: Spot) -> Fault | None:
    group = spot.group()
    if group is None:
        return None
    number = spot.random.randrange(len(group.buckets))
    bucket = group.buckets[number]
    actions = _with(bucket.actions, Output, lambda action: Output(spot.port(getattr(action, "port", None))))
    buckets = (*group.buckets[:number], replace(bucket, actions=actions), *group.buckets[number + 1 :])
    return [], [(group, replace(group, buckets=buckets))]


def _leaked(spot: Spot) -> Fault | None:
    """A branch too many, to a port with a host if there is one."""
    group = spot.group(GroupKind.ALL)
    if group is None:
        return None
    topology = spot.case.topology
    hosts = [port.number for port in topology.ports[spot.switch] if not topology.role(port.peer).is_switch]
    port = spot.random.choice([*hosts, spot.port()])
    return [], [(group, replace(group, buckets=(*group.buckets, Bucket((Output(port),)))))]


def _removed_bucket(spot: Spot) -> Fault | None:
    group = spot.group()
    if group is None:
        return None
    number = spot.random.randrange(len(group.buckets))
    return [], [(group, replace(group, buckets=group.buckets[:number] + group.buckets[number + 1 :]))]


def _removed_group(spot: Spot) -> Fault | None:
    group = spot.group()
    return None if group is None else ([], [(group, None)])


def _wrong_watch(spot: Spot) -> Fault | None:
    group = spot.group(GroupKind.FAST_FAILOVER)
    if group is None:
        return None
    number = spot.random.randrange(len(group.buckets))
    bucket = group.buckets[number]
    others = [each.watch_port for each in group.buckets if each is not bucket]
    watch = spot.random.choice([*others, spot.port(bucket.watch_port), None])
    buckets = (*group.buckets[:number], replace(bucket, watch_port=watch), *group.buckets[number + 1 :])
    return [], [(group, replace(group, buckets=buckets))]


def _turned_buckets(spot: Spot) -> Fault | None:
    group = spot.group(GroupKind.FAST_FAILOVER)
    return None if group is None else ([], [(group, replace(group, buckets=group.buckets[::-1]))])


def _other_kind(spot: Spot) -> Fault | None:
    group = spot.group()
    if group is None:
        return None
    kind = GroupKind.ALL if group.kind is GroupKind.FAST_FAILOVER else GroupKind.FAST_FAILOVER
    return [], [(group, replace(group, kind=kind))]


def _other_group(spot: Spot) -> Fault | None:
    rule, group = spot.rule(_has(ToGroup)), spot.group()
    if rule is None or group is None:
        return None
    return spot.changed(rule, actions=_with(rule.actions, ToGroup, lambda _: ToGroup(group.number)))


def _swapped(spot: Spot) -> Fault | None:
    one = spot.rule(lambda _: True)
    if one is None:
        return None
    other = spot.rule(lambda rule: rule.table is one.table and rule.priority != one.priority)
    if other is None:
        return None
    return [
        (one, replace(one, priority=other.priority)),
        (other, replace(other, priority=one.priority)),
    ], []


def _priority(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda _: True)
    return None if rule is None else spot.changed(rule, priority=spot.random.choice((0, 1, 128, 300, 2000)))


def _goto(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.goto is not None)
    if rule is None or rule.goto is None:
        return None
    found = [table for table in TableId if table > rule.table and table is not rule.goto]
    return spot.changed(rule, goto=spot.random.choice([*found, None]))


def _forwarded(spot: Spot) -> Fault | None:
    """A punt, or a rule that drops, lets packets go on."""
    rule = spot.rule(lambda rule: _has(Punt)(rule) or not (rule.actions or rule.goto))
    if rule is None:
        return None
    later = [table for table in TableId if table > rule.table]
    port = Output(spot.port())
    if not later or spot.random.random() < 0.3:
        return spot.changed(rule, actions=(*_without(rule.actions, Punt), port))
    source_class = spot.random.choice((None, 1, 2, 3))
    goto = spot.random.choice(later)
    return spot.changed(rule, actions=_without(rule.actions, Punt), goto=goto, source_class=source_class)


def _punted(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: not _has(Punt)(rule))
    return None if rule is None else spot.changed(rule, actions=(Punt(),), goto=None)


def _class(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.source_class is not None)
    if rule is None:
        return None
    found = [value for value in (None, 1, 2, 3, 4) if value != rule.source_class]
    return spot.changed(rule, source_class=spot.random.choice(found))


def _wanted_class(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.match.source_class is not None)
    return None if rule is None else spot.matching(rule, source_class=spot.random.choice((1, 2, 3, 4)))


def _removed_field(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: bool(rule.match.fields()))
    if rule is None:
        return None
    names = [name for name in rule.match.fields() if name != "ip_proto" or not _needs_protocol(rule.match)]
    return spot.matching(rule, **{spot.random.choice(names): None}) if names else None


def _needs_protocol(match: Match) -> bool:
    return match.port_dst is not None or match.icmpv6_type is not None


def _in_port(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.match.in_port is not None)
    return None if rule is None else spot.matching(rule, in_port=spot.port(rule.match.in_port))


def _mac(spot: Spot) -> Fault | None:
    """A rule wants another MAC."""
    rule = spot.rule(lambda rule: bool(rule.match.eth_src or rule.match.eth_dst))
    if rule is None:
        return None
    field = "eth_dst" if rule.match.eth_dst and spot.random.random() < 0.5 else "eth_src"
    return spot.matching(rule, **{field: _other_mac(spot)})


def _other_mac(spot: Spot) -> str:
    addresses = spot.case.facts.addresses
    return spot.random.choice(
        [*addresses.router_macs.values(), *(host.mac for host in addresses.hosts.values())]
    )


def _rewritten(spot: Spot) -> Fault | None:
    """The next hop gets another Ethernet address."""
    rule = spot.rule(_has(SetEthDst))
    if rule is None:
        return None
    return spot.changed(rule, actions=_with(rule.actions, SetEthDst, lambda _: SetEthDst(_other_mac(spot))))


def _unwritten(spot: Spot) -> Fault | None:
    kind = spot.random.choice((SetEthSrc, SetEthDst, Output))
    rule = spot.rule(_has(kind))
    return None if rule is None else spot.changed(rule, actions=_without(rule.actions, kind))


def _zone(spot: Spot) -> Fault | None:
    kind = spot.random.choice((Track, Commit))
    rule = spot.rule(_has(kind))
    if rule is None:
        return None
    zone = spot.random.randrange(1, 6)
    return spot.changed(
        rule,
        actions=_with(rule.actions, kind, lambda action: replace(action, zone=zone)),  # type: ignore[call-arg, type-var]
    )


def _state(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.match.ct_state is not None)
    if rule is None:
        return None
    found = [state for state in CtState if state is not rule.match.ct_state]
    return spot.matching(rule, ct_state=spot.random.choice(found))


def _uncommitted(spot: Spot) -> Fault | None:
    rule = spot.rule(_has(Commit))
    return None if rule is None else spot.changed(rule, actions=_without(rule.actions, Commit))


def _untracked(spot: Spot) -> Fault | None:
    rule = spot.rule(_has(Track))
    if rule is None:
        return None
    (track,) = (action for action in rule.actions if isinstance(action, Track))
    goto = spot.random.choice(
        [TableId.ROUTER if rule.table < TableId.ROUTER else track.next_table, track.next_table]
    )
    return spot.changed(rule, actions=_without(rule.actions, Track), goto=goto)


def _mark(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.match.ct_mark is not None or _has(Commit)(rule))
    if rule is None:
        return None
    mark = spot.random.choice((0, 1, 2, 3))
    if rule.match.ct_mark is not None:
        return spot.matching(rule, ct_mark=mark)
    return spot.changed(
        rule,
        actions=_with(rule.actions, Commit, lambda action: replace(action, mark=mark or None)),  # type: ignore[call-arg, type-var]
    )


def _tag(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: rule.match.edge_tag is not None or _has(PushTag)(rule))
    if rule is None:
        return None
    tag = spot.random.choice((-1, 1, 2, 3))
    if rule.match.edge_tag is not None:
        return spot.matching(rule, edge_tag=tag)
    return spot.changed(rule, actions=_with(rule.actions, PushTag, lambda _: PushTag(abs(tag))))


def _kept_tag(spot: Spot) -> Fault | None:
    kind = spot.random.choice((PopTag, PushTag))
    rule = spot.rule(_has(kind))
    return None if rule is None else spot.changed(rule, actions=_without(rule.actions, kind))


def _hop_limit(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: _has(DecHopLimit)(rule) or rule.match.hop_limit is not None)
    if rule is None:
        return None
    if rule.match.hop_limit is not None:
        return spot.matching(rule, hop_limit=spot.random.choice((2, 63, 64)))
    return spot.changed(rule, actions=_without(rule.actions, DecHopLimit))


def _measure(spot: Spot) -> Fault | None:
    rule = spot.rule(lambda rule: _has(CheckLarger)(rule) or rule.match.too_big is not None)
    if rule is None:
        return None
    if rule.match.too_big is not None:
        return spot.matching(rule, too_big=None)
    change = spot.random.choice(
        (
            lambda action: replace(action, frame_bytes=action.frame_bytes + spot.random.choice((-200, 200))),
            lambda action: replace(action, bit=action.bit + 1),
        )
    )
    return spot.changed(rule, actions=_with(rule.actions, CheckLarger, change))


def _foreign(spot: Spot) -> Fault | None:
    """A rule of another switch."""
    switch = spot.random.choice(spot.case.topology.switches)
    theirs = spot.case.tables[switch]
    rule = Spot(spot.case, switch, theirs, spot.random).rule(lambda rule: rule.key not in spot.tables.rules)
    return None if rule is None else ([(rule, rule)], [])


def _shortcut(spot: Spot) -> Fault | None:
    """A rule for everything, in some table: straight out of a port."""
    table = spot.random.choice(list(TableId))
    match = Match(in_port=spot.port()) if spot.random.random() < 0.5 else Match()
    rule = Rule(table, spot.random.choice((5, 150, 5000)), match, Origin.ROUTE, (Output(spot.port()),))
    return [(rule, rule)], []


KINDS: Mapping[str, Callable[[Spot], Fault | None]] = {
    "dropped rule": _dropped,
    "removed zone boundary": _boundary,
    "removed zone boundary and a branch too many": _breached_boundary,
    "widened source": _widened("ipv6_src"),
    "widened destination": _widened("ipv6_dst"),
    "narrowed source": _narrowed("ipv6_src"),
    "narrowed destination": _narrowed("ipv6_dst"),
    "wrong output port": _wrong_port,
    "one output too many": _extra_output,
    "wrong port in a bucket": _bucket_port,
    "leaked bucket": _leaked,
    "removed bucket": _removed_bucket,
    "removed group": _removed_group,
    "wrong watch port": _wrong_watch,
    "buckets the other way round": _turned_buckets,
    "group of the other kind": _other_kind,
    "another group": _other_group,
    "swapped priorities": _swapped,
    "another priority": _priority,
    "another next table": _goto,
    "punt or drop turned into forward": _forwarded,
    "forward turned into punt": _punted,
    "another source class": _class,
    "wants another source class": _wanted_class,
    "removed match field": _removed_field,
    "wants another port": _in_port,
    "wants another MAC": _mac,
    "another MAC for the next hop": _rewritten,
    "removed rewrite or output": _unwritten,
    "wrong zone of connection tracking": _zone,
    "another connection state": _state,
    "removed commit": _uncommitted,
    "removed track": _untracked,
    "wrong mark": _mark,
    "wrong tag": _tag,
    "removed push or pop of a tag": _kept_tag,
    "hop limit": _hop_limit,
    "measures something else": _measure,
    "rule of another switch": _foreign,
    "shortcut": _shortcut,
}
