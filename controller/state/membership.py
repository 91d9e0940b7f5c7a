"""The router side of MLD (RFC 9777 section 7): who listens to what behind every port.

For source-specific groups only INCLUDE counts (RFC 4604 section 2.2). For other groups an EXCLUDE
report is kept as a listener to any source, whatever sources it excludes. Listeners to link-local
groups need no router and are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from controller.plan.facts import Membership, PortId
from controller.wire.mld import Query, Record, RecordType, Report

ROBUSTNESS = 2
QUERY_INTERVAL_S = 125.0
QUERY_RESPONSE_INTERVAL_S = 10.0
QUICK_RESPONSE_S = 0.1
"""Asked of a port that has just come up: it has one host, whose answer need not be spread over 10 s."""
STARTUP_QUERY_INTERVAL_S = QUERY_INTERVAL_S / 4
STARTUP_QUERY_COUNT = ROBUSTNESS
LISTENING_INTERVAL_S = ROBUSTNESS * QUERY_INTERVAL_S + 2 * QUERY_RESPONSE_INTERVAL_S
LAST_LISTENER_QUERY_INTERVAL_S = 1.0
LAST_LISTENER_QUERY_COUNT = ROBUSTNESS
LAST_LISTENER_QUERY_TIME_S = LAST_LISTENER_QUERY_INTERVAL_S * LAST_LISTENER_QUERY_COUNT
"""Timers and defaults of RFC 9777 section 9."""

MAX_GROUPS_PER_PORT = 64
MAX_SOURCES_PER_GROUP = 64

_JOINS = (RecordType.MODE_IS_INCLUDE, RecordType.CHANGE_TO_INCLUDE, RecordType.ALLOW_NEW_SOURCES)
_EXCLUDES = (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE)

Source = IPv6Address | None


@dataclass(slots=True)
class Outcome:
    """What a report or the passing of time changed, and the queries to send in consequence."""

    joined: list[Membership] = field(default_factory=list)
    left: list[Membership] = field(default_factory=list)
    queries: list[tuple[PortId, Query]] = field(default_factory=list)


@dataclass(slots=True)
class _Retransmission:
    due_s: float
    remaining: int
    sources: tuple[Source, ...]


@dataclass(slots=True)
class _Listened:
    """One group on one port: when each source expires (None: any source)."""

    expiry_s: dict[Source, float] = field(default_factory=dict)
    retransmissions: list[_Retransmission] = field(default_factory=list)


class Listeners:
    """The listeners behind all ports."""

    def __init__(self) -> None:
        self._ports: dict[PortId, dict[IPv6Address, _Listened]] = {}

    @property
    def members(self) -> frozenset[Membership]:
        """All listeners now."""
        return frozenset(
            Membership(port, group, source)
            for port, groups in self._ports.items()
            for group, listened in groups.items()
            for source in listened.expiry_s
        )

    def report(self, now_s: float, port: PortId, report: Report) -> Outcome:
        """A listener's report came in by a port."""
        outcome = Outcome()
        for record in report.records:
            if is_routable(record.group):
                self._record(now_s, port, record, outcome)
        return outcome

    def port_down(self, port: PortId) -> Outcome:
        """A port went down: nobody listens behind it any more."""
        groups = self._ports.pop(port, {})
        left = [
            Membership(port, group, source) for group, state in groups.items() for source in state.expiry_s
        ]
        return Outcome(left=left)

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        moments = [
            moment
            for groups in self._ports.values()
            for listened in groups.values()
            for moment in (
                *listened.expiry_s.values(),
                *(retransmission.due_s for retransmission in listened.retransmissions),
            )
        ]
        return min(moments, default=None)

    def tick(self, now_s: float) -> Outcome:
        """Forget listeners that have not been heard for too long and repeat queries that are due."""
        outcome = Outcome()
        for port, groups in list(self._ports.items()):
            for group, listened in list(groups.items()):
                self._repeat_queries(now_s, port, group, listened, outcome)
                for source, expiry_s in list(listened.expiry_s.items()):
                    if expiry_s <= now_s:
                        del listened.expiry_s[source]
                        outcome.left.append(Membership(port, group, source))
                if not listened.expiry_s:
                    del groups[group]
        return outcome

    def _record(self, now_s: float, port: PortId, record: Record, outcome: Outcome) -> None:
        groups = self._ports.setdefault(port, {})
        listened = groups.get(record.group)
        if record.kind in _EXCLUDES:
            wanted: tuple[Source, ...] = () if is_source_specific(record.group) else (None,)
        else:
            wanted = record.sources if record.kind in _JOINS else ()
        if listened is None:
            if not wanted or len(groups) >= MAX_GROUPS_PER_PORT:
                return
            listened = groups[record.group] = _Listened()
        for source in wanted:
            if source not in listened.expiry_s:
                if len(listened.expiry_s) >= MAX_SOURCES_PER_GROUP:
                    continue
                outcome.joined.append(Membership(port, record.group, source))
            listened.expiry_s[source] = now_s + LISTENING_INTERVAL_S
        self._query_leavers(now_s, port, record, listened, outcome)

    def _query_leavers(
        self, now_s: float, port: PortId, record: Record, listened: _Listened, outcome: Outcome
    ) -> None:
        """Ask whether anybody else still listens (RFC 9777 sections 7.4.2 and 7.6.3)."""
        if record.kind is RecordType.CHANGE_TO_INCLUDE:
            leaving = [source for source in listened.expiry_s if source not in record.sources]
        elif record.kind is RecordType.BLOCK_OLD_SOURCES:
            leaving = [source for source in record.sources if source in listened.expiry_s]
        else:
            return
        limit_s = now_s + LAST_LISTENER_QUERY_TIME_S
        leaving = [source for source in leaving if listened.expiry_s[source] > limit_s]
        for source in leaving:
            listened.expiry_s[source] = limit_s
        if leaving:
            retransmission = _Retransmission(now_s, LAST_LISTENER_QUERY_COUNT, tuple(leaving))
            listened.retransmissions.append(retransmission)
            self._repeat_queries(now_s, port, record.group, listened, outcome)

    def _repeat_queries(
        self, now_s: float, port: PortId, group: IPv6Address, listened: _Listened, outcome: Outcome
    ) -> None:
        for retransmission in listened.retransmissions:
            if retransmission.due_s > now_s:
                continue
            latest_s = now_s + LAST_LISTENER_QUERY_TIME_S
            doubted = [
                source
                for source in retransmission.sources
                if now_s < listened.expiry_s.get(source, 0.0) <= latest_s
            ]
            response_ms = int(LAST_LISTENER_QUERY_INTERVAL_S * 1000)
            if None in doubted:
                outcome.queries.append((port, Query(response_ms, group)))
            specific = tuple(source for source in doubted if source is not None)
            if specific:
                outcome.queries.append((port, Query(response_ms, group, specific)))
            retransmission.remaining -= 1
            retransmission.due_s += LAST_LISTENER_QUERY_INTERVAL_S
        listened.retransmissions = [entry for entry in listened.retransmissions if entry.remaining > 0]


def is_source_specific(group: IPv6Address) -> bool:
    """Whether a group is in the range of source-specific multicast, ff3x::/32 (RFC 4607 section 1)."""
    return group.packed[0] == 0xFF and group.packed[1] >> 4 == 3 and group.packed[2:4] == b"\0\0"


def is_routable(group: IPv6Address) -> bool:
    """Whether routers forward a group: its scope is larger than the link (RFC 7346 section 2)."""
    return group.packed[1] & 15 > 2
