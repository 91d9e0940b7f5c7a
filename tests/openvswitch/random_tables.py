"""Tables at random, which no planner would make, from all that rules can say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network
from random import Random

from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
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
from controller.verify.packet import TCP
from controller.wire.frames import ICMPV6, UDP

_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "33:33:00:00:00:01")
_PREFIXES = (
    *map(
        Prefix.of, map(IPv6Network, ("2001:db8::/32", "2001:db8:1::/64", "ff00::/8", "ff35::/16", "fd00::/8"))
    ),
    *map(Prefix.of, map(IPv6Address, ("2001:db8:1::1", "ff35::8000:1"))),
)
_RULES_OF_A_TABLE, _GROUPS = 12, 4


class Chaos:
    """Makes tables for a switch with the ports 1 to `ports`."""

    def __init__(self, ports: int, random: Random) -> None:
        self._ports = range(1, ports + 1)
        self._random = random

    def tables(self) -> Tables:
        """Some tables."""
        rules = [rule for table in TableId for rule in self._table(table)]
        return Tables.of(rules, [self._group(number) for number in range(1, _GROUPS + 1)])

    def _maybe(self, chance: float, values: Sequence[object]) -> object | None:
        return self._random.choice(values) if self._random.random() < chance else None

    def _table(self, table: TableId) -> Iterator[Rule]:
        for priority in range(_RULES_OF_A_TABLE):
            match = Match() if not priority else self._match()
            tracks = self._random.random() < 0.3 and table < TableId.FLOW
            later = [other for other in TableId if other > table]
            actions = list(self._actions(match, table, self._random.randrange(4), _GROUPS))
            if tracks:
                target = self._random.choice([other for other in TableId if other >= TableId.FLOW])
                actions.append(Track(self._random.randrange(1, 4), target))
            yield Rule(
                table,
                priority,
                match,
                self._random.choice(list(Origin)),
                tuple(actions),
                source_class=self._random.choice((None, None, 1, 2)),
                goto=self._random.choice(later)
                if later and not tracks and self._random.random() < 0.8
                else None,
                argument=self._random.choice((0, 1280)),
            )

    def _match(self) -> Match:
        maybe = self._maybe
        protocol = maybe(0.3, (TCP, UDP, ICMPV6))
        state = maybe(0.2, list(CtState))
        scope = maybe(0.1, (2, 5, 14))
        fields = {
            "in_port": maybe(0.2, (*self._ports, CONTROLLER_PORT)),
            "source_class": maybe(0.15, (1, 2)),
            "too_big": maybe(0.15, (0, 1)),
            "ct_state": state,
            "ct_mark": maybe(0.5, (0, 1, 2)) if state else None,
            "edge_tag": maybe(0.15, (ANY_TAG, 0, 1, 2)),
            "eth_src": maybe(0.15, _MACS),
            "eth_dst": maybe(0.15, _MACS),
            "ip_proto": protocol,
            "hop_limit": maybe(0.1, (0, 1, 2, 63, 64)),
            "is_fragment": maybe(0.15, (False, True)),
            "icmpv6_type": maybe(0.5, (0, 128, 135)) if protocol == ICMPV6 else None,
            "ipv6_src": maybe(0.15, _PREFIXES),
            "ipv6_dst": None if scope else maybe(0.15, _PREFIXES),
            "scope": scope,
            "port_dst": maybe(0.5, (0, 53, 80)) if protocol in (TCP, UDP) else None,
        }
        return Match(**fields)  # type: ignore[arg-type]

    def _actions(
        self, match: Match | None, table: TableId | None, count: int, groups: int
    ) -> Iterator[Action]:
        random = self._random
        tags = 1 if match is not None and match.edge_tag is not None else 0
        # Open vSwitch refuses a rule that remembers what it has found invalid.
        is_valid = match is None or match.ct_state is not CtState.INVALID
        # A trace goes both ways; what connection tracking says could not be told for each.
        checks = 1 if table is not None and table >= TableId.FLOW else 0
        for _ in range(count):
            kinds = [
                "output",
                "output",
                "punt",
                "src",
                "dst",
                "hop",
                "hop",
                "group",
                "commit",
                "check",
                "tag",
            ]
            kind = random.choice(kinds)
            if kind == "output":
                yield Output(random.choice(self._ports))
            elif kind == "punt":
                yield Punt()
            elif kind == "src":
                yield SetEthSrc(random.choice(_MACS))
            elif kind == "dst":
                yield SetEthDst(random.choice(_MACS))
            elif kind == "hop":
                yield DecHopLimit()
            elif kind == "group" and groups:
                yield ToGroup(random.randrange(_GROUPS - groups, _GROUPS) + 1)
            elif kind == "commit" and is_valid and (table is None or table >= TableId.FLOW):
                yield Commit(random.randrange(1, 4), random.choice((None, 1, 2)))
            elif kind == "check" and checks:
                checks -= 1
                yield CheckLarger(random.choice((100, 1294, 1298)), random.randrange(2))
            elif kind == "tag":
                if tags:
                    tags -= 1
                    yield PopTag()
                else:
                    tags += 1
                    yield PushTag(random.choice((1, 2)))

    def _group(self, number: int) -> Group:
        kind = self._random.choice(list(GroupKind))
        buckets = []
        for _ in range(self._random.randrange(1, 4)):
            watch = self._random.choice(self._ports) if kind is GroupKind.FAST_FAILOVER else None
            actions = self._actions(None, None, self._random.randrange(4), _GROUPS - number)
            buckets.append(Bucket(tuple(actions), watch))
        return Group(number, kind, tuple(buckets))
