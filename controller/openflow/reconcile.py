"""From what a switch holds to what it is to hold, as messages in the order to send them (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from controller.openflow import encode
from controller.openflow.dump import Dump
from controller.plan.rules import Change, Group, Meter, Rule, Step, Tables, diff

_METERS_FIRST = frozenset({Step.METER_ADD, Step.METER_MODIFY})


@dataclass(frozen=True, slots=True)
class Counts:
    """How many flows, groups and meters are changed, by kind of change."""

    added: int = 0
    modified: int = 0
    deleted: int = 0
    foreign: int = 0

    @property
    def total(self) -> int:
        """All modifications."""
        return self.added + self.modified + self.deleted + self.foreign


@dataclass(frozen=True, slots=True)
class Update:
    """Messages that bring a switch from a dump to tables: meters before the rules that name them, then
    `bundled`, in one bundle, then the meters that no rule names any more. Open vSwitch takes no meters in a
    bundle."""

    meters_first: tuple[bytes, ...]
    bundled: tuple[bytes, ...]
    meters_last: tuple[bytes, ...]
    changes: tuple[Change, ...]
    counts: Counts


def update(held: Dump, desired: Tables) -> Update:
    """The messages from what the switch holds to `desired`; none when nothing differs and nothing is
    somebody else's. Those go first, so that none of their rules takes the place of one of ours."""
    changes = _with_foreign_numbers(held, diff(held.tables, desired))
    foreign_groups = [number for number in held.foreign_groups if number not in desired.groups]
    foreign_meters = [number for number in held.foreign_meters if number not in desired.meters]
    bundled = [encode.strict_deletion(flow.table, flow.priority, flow.match) for flow in held.foreign]
    meters_first, meters_last = [], []
    for change in changes:
        message = encode.change_message(change)
        if change.step in _METERS_FIRST:
            meters_first.append(message)
        elif change.step is Step.METER_DELETE:
            meters_last.append(message)
        else:
            bundled.append(message)
    bundled += [encode.group_deletion(number) for number in foreign_groups]
    meters_last += [encode.meter_deletion(number) for number in foreign_meters]
    foreign = len(held.foreign) + len(foreign_groups) + len(foreign_meters)
    return Update(
        tuple(meters_first), tuple(bundled), tuple(meters_last), changes, _counts(held, changes, foreign)
    )


def _with_foreign_numbers(held: Dump, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """A number that somebody else's group or meter has is not free to be added, only to be changed: to
    delete it first would take our rules that name it along."""

    def mended(change: Change) -> Change:
        item = change.item
        if change.step is Step.GROUP_ADD and isinstance(item, Group) and item.number in held.foreign_groups:
            return Change(Step.GROUP_MODIFY, item)
        if change.step is Step.METER_ADD and isinstance(item, Meter) and item.number in held.foreign_meters:
            return Change(Step.METER_MODIFY, item)
        return change

    return tuple(sorted(map(mended, changes), key=lambda change: change.step))


def _counts(held: Dump, changes: tuple[Change, ...], foreign: int) -> Counts:
    added = modified = deleted = 0
    for change in changes:
        if change.step in (Step.RULE_DELETE, Step.GROUP_DELETE, Step.METER_DELETE):
            deleted += 1
        elif change.step in (Step.GROUP_ADD, Step.METER_ADD) or (
            isinstance(change.item, Rule) and change.item.key not in held.tables.rules
        ):
            added += 1
        else:
            modified += 1
    return Counts(added, modified, deleted, foreign)
