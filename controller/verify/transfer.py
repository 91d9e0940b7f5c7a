"""What one switch does to packets, for whole regions of them at a time: a transfer function.

No rule rewrites a destination, so what a switch does to a flavour is found once, for all destinations
together: a list of outcomes, each with the destinations that it is for. What comes in is then cut with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controller.plan.pipeline import TableId
from controller.plan.rules import (
    Action,
    CheckLarger,
    Commit,
    DecHopLimit,
    Output,
    PopTag,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from controller.verify.atoms import Bits, bit_numbers
from controller.verify.buckets import carried_out, used_buckets
from controller.verify.lookup import Verdict, look_up
from controller.verify.outcomes import Ended, Ending, Handed, LookedUp, Outcome, Remembered, Sent
from controller.verify.regions import filled, merged, replaced
from controller.verify.space import Condition, Field, Flavour, Memory, Region, Space, Tag

MAX_TABLES, MAX_DEPTH = 64, 16
"""A packet that passes more tables, or groups within groups, of one switch goes round in them."""


class SwitchModel:
    """The tables of one switch, compiled; `own_zones` are the zones of its ports (zone of each port)."""

    def __init__(self, space: Space, switch: str, tables: Tables, own_zones: Mapping[int, int]) -> None:
        self.switch = switch
        self.tables = tables
        self._space = space
        self._own_zones = own_zones
        by_table: dict[TableId, list[tuple[Rule, Condition]]] = {}
        for rule in tables.rules.values():
            by_table.setdefault(rule.table, []).append((rule, space.condition(rule.match)))
        for rules in by_table.values():
            rules.sort(key=lambda pair: -pair[0].priority)
        self._rules = by_table
        self._by_port: dict[tuple[TableId, int], list[tuple[Rule, Condition]]] = {}
        self._by_in_port = {
            table for table, rules in by_table.items() if any(rule.match.in_port for rule, _ in rules)
        }
        self._asked = {
            table: tuple(sorted({place for _, (asked, _) in rules for place, _ in asked}))
            for table, rules in by_table.items()
        }
        self._verdicts: dict[tuple[TableId, int | None, Flavour], Verdict] = {}
        self._changes: dict[tuple[int, Flavour, frozenset[int], frozenset[int]], tuple[Outcome, ...]] = {}
        self._switched_known: dict[tuple[frozenset[int], frozenset[int]], frozenset[int]] = {}
        self._known: dict[tuple[int, Flavour, frozenset[int]], tuple[Outcome, ...]] = {}

    def outcomes(
        self, in_port: int, flavour: Flavour, down: frozenset[int] = frozenset()
    ) -> Sequence[Outcome]:
        """What becomes of a flavour that comes in by a port, to any destination, while ports are down."""
        key = in_port, flavour, down
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(_Passage(self, self._space, in_port, down).of(flavour))
        return found

    def lookup(self, table: TableId, in_port: int, region: Region) -> Verdict:
        """Which rules of a table win for packets of a port.

        It is found once for all destinations, and for all flavours that differ only in fields which the
        table does not look at.
        """
        flavour, destinations = region
        asked = self._asked.get(table, ())
        fields = tuple(flavour[place] for place in asked)
        key = table, in_port if table in self._by_in_port else None, fields
        found = self._verdicts.get(key)
        if found is None:
            blank = filled((0,) * len(flavour), asked, fields)
            rules = self._rules_for(table, in_port)
            found = self._verdicts[key] = look_up(rules, (blank, self._space.dst.all))
        return found.of(flavour, asked, destinations)

    def _rules_for(self, table: TableId, in_port: int) -> Sequence[tuple[Rule, Condition]]:
        """The rules of a table that may be for packets of a port, the first to win first."""
        key = table, in_port
        found = self._by_port.get(key)
        if found is None:
            found = self._by_port[key] = [
                pair for pair in self._rules.get(table, ()) if pair[0].match.in_port in (None, in_port)
            ]
        return found

    def changes(
        self, in_port: int, flavour: Flavour, before: frozenset[int], down: frozenset[int]
    ) -> Sequence[Outcome]:
        """What happens otherwise than with the ports in `before` down, while those in `down` are."""
        key = in_port, flavour, before, down
        found = self._changes.get(key)
        if found is None:
            found = self._changes[key] = tuple(self._changed(*key))
        return found

    def _changed(
        self, in_port: int, flavour: Flavour, before: frozenset[int], down: frozenset[int]
    ) -> Iterator[Outcome]:
        switched = self._switched(before, down)
        for outcome in self.outcomes(in_port, flavour, before):
            if isinstance(outcome, Handed):
                if outcome.group in switched:
                    yield from _Passage(self, self._space, in_port, down).through(outcome)
            elif isinstance(outcome, Sent) and outcome.group is None and outcome.port in down:
                yield Ended(
                    Ending.DEAD, outcome.rule.table, outcome.flavour, outcome.destinations, outcome.rule,
                    outcome.port,
                )  # fmt: skip

    def _switched(self, before: frozenset[int], down: frozenset[int]) -> frozenset[int]:
        """The groups that use other buckets, or lose packets at a port, once other ports are down."""
        key = before, down
        found = self._switched_known.get(key)
        if found is None:
            found = self._switched_known[key] = frozenset(
                number
                for number, group in self.tables.groups.items()
                if used_buckets(group, before) != used_buckets(group, down)
                or any(
                    isinstance(action, Output) and action.port in down
                    for bucket in used_buckets(group, down)
                    for action in bucket.actions
                )
            )
        return found

    def is_own(self, zone: int, in_port: int) -> bool:
        """Whether a zone is the memory of a port."""
        return self._own_zones.get(in_port) == zone

    def memory(self, zone: int, in_port: int) -> Memory:
        """Whose memory a zone is for packets of a port."""
        return Memory.OWN if self.is_own(zone, in_port) else Memory.THEIRS


class _Passage:
    """One flavour on its way through one switch, table by table."""

    def __init__(self, model: SwitchModel, space: Space, in_port: int, down: frozenset[int]) -> None:
        self._model = model
        self._space = space
        self._in_port = in_port
        self._down = down
        self._found: list[Outcome] = []
        self._waiting: dict[TableId, list[Region]] = {}
        self._group_number: int | None = None

    def of(self, flavour: Flavour) -> list[Outcome]:
        """All outcomes."""
        space, everything = self._space, self._space.dst.all
        double = flavour[Field.TAG] & space.doubly_tagged
        if double:
            hidden = replaced(flavour, Field.TAG, double)
            self._found.append(Ended(Ending.TWO_TAGS, TableId.INGRESS, hidden, everything, None))
        single = flavour[Field.TAG] & ~space.doubly_tagged
        if single:
            self._waiting[TableId.INGRESS] = [(replaced(flavour, Field.TAG, single), everything)]
        for _ in range(MAX_TABLES):
            if not self._waiting:
                break
            table = min(self._waiting)
            for region in merged(self._waiting.pop(table)):
                self._table(table, region)
        for table, regions in self._waiting.items():
            self._found += [Ended(Ending.CIRCLES, table, *region, None) for region in regions]
        return self._found

    def _table(self, table: TableId, region: Region) -> None:
        verdict = self._model.lookup(table, self._in_port, region)
        self._found += verdict.ambiguous
        self._found += [Ended(Ending.MISSED, table, *part, None) for part in verdict.missed]
        for rule, flavour, destinations in verdict.hits:
            self._apply(rule, flavour, destinations)

    def through(self, handed: Handed) -> Sequence[Outcome]:
        """What a group does to packets that are handed to it."""
        self._group(handed.rule, handed.group, handed.flavour, handed.destinations, 1)
        return [outcome for outcome in self._found if not isinstance(outcome, Handed)]

    def _go(self, table: TableId, flavour: Flavour, destinations: Bits) -> None:
        self._waiting.setdefault(table, []).append((flavour, destinations))

    def _apply(self, rule: Rule, flavour: Flavour, destinations: Bits) -> None:
        before = len(self._found)
        is_tracked = any(isinstance(action, Track) for action in rule.actions)
        leaving = self._act(rule, rule.actions, flavour, destinations, 0)
        goes_on = is_tracked or any(isinstance(item, Sent | Ended) for item in self._found[before:])
        for left in leaving:
            if rule.source_class is not None:
                left = replaced(left, Field.CLASS, self._space.classes.of(rule.source_class))
            if rule.goto is not None:
                self._go(rule.goto, left, destinations)
            elif not goes_on:
                self._found.append(Ended(Ending.DROPPED, rule.table, left, destinations, rule))

    def _act(
        self, rule: Rule, actions: Sequence[Action], flavour: Flavour, destinations: Bits, depth: int
    ) -> list[Flavour]:
        """Carry out actions in order; the packets as they leave them."""
        space, flavours = self._space, [flavour]
        for action in actions:
            match action:
                case DecHopLimit():
                    flavours = [one for each in flavours for one in self._hop(rule, each, destinations)]
                case SetEthSrc(mac):
                    flavours = [replaced(each, Field.ETH_SRC, space.macs.of(mac)) for each in flavours]
                case SetEthDst(mac):
                    flavours = [replaced(each, Field.ETH_DST, space.macs.of(mac)) for each in flavours]
                case PushTag(tag):
                    flavours = [replaced(each, Field.TAG, self._pushed(each, tag)) for each in flavours]
                case PopTag():
                    flavours = [replaced(each, Field.TAG, self._popped(each)) for each in flavours]
                case CheckLarger(frame_bytes, bit):
                    flavours = [one for each in flavours for one in self._measured(each, frame_bytes, bit)]
                case Commit(zone, _):
                    self._found += [Remembered(zone, each, destinations, rule) for each in flavours]
                    flavours = [space.untracked(each) for each in flavours]
                case Track(zone, table):
                    for each in flavours:
                        self._track(zone, table, each, destinations)
                    flavours = [space.untracked(each) for each in flavours]
                case Punt():
                    self._found += [
                        Ended(Ending.PUNTED, rule.table, each, destinations, rule) for each in flavours
                    ]
                case Output(port):
                    for each in flavours:
                        self._output(rule, port, each, destinations)
                case ToGroup(number):
                    for each in flavours:
                        self._group(rule, number, each, destinations, depth + 1)
        return flavours

    def _hop(self, rule: Rule, flavour: Flavour, destinations: Bits) -> Iterator[Flavour]:
        """One router hop: 0 and 1 end, the rest counts down; above what rules name it may do so for long."""
        space, limits = self._space, flavour[Field.HOP_LIMIT]
        last = space.last_hops
        if limits & last:
            ended = replaced(flavour, Field.HOP_LIMIT, limits & last)
            self._found.append(Ended(Ending.EXHAUSTED, rule.table, ended, destinations, rule))
        if limits & ~last:
            left = (limits & ~last) >> 1 | limits & space.many
            yield replaced(flavour, Field.HOP_LIMIT, left)

    def _pushed(self, flavour: Flavour, tag: int) -> Bits:
        tags, is_bare = self._space.tags, flavour[Field.TAG] & self._space.tags.other
        found = tags.of(Tag(tag)) if is_bare else 0
        return found | (tags.of(Tag(tag, True)) if flavour[Field.TAG] & ~tags.other else 0)

    def _popped(self, flavour: Flavour) -> Bits:
        """Below one of two tags may be any."""
        space = self._space
        found = space.tags.other if flavour[Field.TAG] & ~space.doubly_tagged else 0
        if flavour[Field.TAG] & space.doubly_tagged:
            found |= space.tags.all & ~space.tags.other
        return found

    def _measured(self, flavour: Flavour, frame_bytes: int, bit: int) -> Iterator[Flavour]:
        space = self._space
        larger = space.larger(frame_bytes)
        fits, exceeds = flavour[Field.SIZE] & ~larger, flavour[Field.SIZE] & larger
        known = [space.too_big.atoms[number] for number in bit_numbers(flavour[Field.TOO_BIG])]
        for sizes, bits in ((fits, frozenset[int]()), (exceeds, frozenset({bit}))):
            if sizes:
                found = space.too_big.where(others - {bit} | bits for others in known)
                yield replaced(replaced(flavour, Field.TOO_BIG, found), Field.SIZE, sizes)

    def _track(self, zone: int, table: TableId, flavour: Flavour, destinations: Bits) -> None:
        memory = self._model.memory(zone, self._in_port)
        if memory is Memory.THEIRS:
            self._found.append(LookedUp(zone, table, flavour, destinations))
        known = replaced(flavour, Field.CT, self._space.known_by[memory])
        self._go(table, replaced(known, Field.MARK, self._space.marks.all), destinations)

    def _output(self, rule: Rule, port: int, flavour: Flavour, destinations: Bits) -> None:
        if port == self._in_port:
            ended = Ended(Ending.HAIRPIN, rule.table, flavour, destinations, rule, port)
            self._found.append(ended)
        elif port in self._down:
            self._found.append(Ended(Ending.DEAD, rule.table, flavour, destinations, rule, port))
        else:
            self._found.append(Sent(port, flavour, destinations, rule, self._group_number))

    def _group(self, rule: Rule, number: int, flavour: Flavour, destinations: Bits, depth: int) -> None:
        group = self._model.tables.groups.get(number)
        if group is None or depth > MAX_DEPTH:
            ending = Ending.NO_GROUP if group is None else Ending.CIRCLES
            self._found.append(Ended(ending, rule.table, flavour, destinations, rule))
            return
        self._found.append(Handed(number, flavour, destinations, rule))
        used = used_buckets(group, self._down)
        if not used:
            watched = group.buckets[0].watch_port if group.buckets else None
            self._found.append(Ended(Ending.DEAD, rule.table, flavour, destinations, rule, watched))
        outer, self._group_number = self._group_number, number
        for bucket in used:
            self._act(rule, carried_out(bucket).actions, flavour, destinations, depth)
        self._group_number = outer
