"""The router side of MLD (RFC 9777 section 7): who listens to what behind every port.

`Filter` has the state of one group behind one port, `Querier` the querier election of one port; here they
come together, bounded and counted. Groups of link-local scope are not forwarded and not kept, but those of
solicited nodes (RFC 4291 section 2.7.1): they tell behind which ports a neighbour may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from controller.plan.facts import Membership, PortId
from controller.plan.zones import is_forwarded, is_source_specific
from controller.state.deadlines import Deadlines
from controller.state.filters import Filter
from controller.state.querier import QUICK_RESPONSE_S, Querier
from controller.wire.frames import Frame
from controller.wire.mld import ANY_GROUP, MldError, Query, Record, RecordType, Report, decode_mld
from topologies.addressing import GATEWAY

MAX_GROUPS_PER_PORT = 64
MAX_SOLICITED_NODES_PER_PORT = 32
"""A host has at most 16 bound addresses, and some link-local ones."""
SOLICITED_NODES = IPv6Network("ff02::1:ff00:0/104")

_EXCLUDES = (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE)

Source = IPv6Address | None
"""None stands for any source."""


@dataclass(slots=True)
class Outcome:
    """What a message or the passing of time changed in the end, and the queries to send in consequence."""

    joined: list[Membership] = field(default_factory=list)
    left: list[Membership] = field(default_factory=list)
    queries: list[tuple[PortId, Query]] = field(default_factory=list)

    def change(self, joined: Iterable[Membership], left: Iterable[Membership]) -> None:
        """Somebody joins and leaves; who does both has changed nothing."""
        for members, gains, losses in ((joined, self.joined, self.left), (left, self.left, self.joined)):
            for member in members:
                if member in losses:
                    losses.remove(member)
                else:
                    gains.append(member)


class Listeners:
    """The listeners behind all host ports of a network, and the queriers of these ports.

    `own` is the address of the router on every link. No host behind one of the `user_ports` becomes the
    querier (RFC 9777 section 10.1); `permits` says whether a port may have a group at all. `counters`
    counts what was ignored, by reason.
    """

    def __init__(
        self,
        own: IPv6Address = GATEWAY,
        user_ports: Collection[PortId] = frozenset(),
        permits: Callable[[PortId, IPv6Address], bool] = lambda port, group: True,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._own = own
        self._user_ports = frozenset(user_ports)
        self._permits = permits
        self._filters: dict[PortId, dict[IPv6Address, Filter]] = {}
        self._queriers: dict[PortId, Querier] = {}
        self._deadlines: Deadlines[tuple[PortId, IPv6Address]] = Deadlines()
        self._listened: dict[tuple[PortId, IPv6Address], frozenset[Source]] = {}
        self._members: frozenset[Membership] | None = frozenset()
        self._solicited: dict[IPv6Address, set[PortId]] = {}

    @property
    def members(self) -> frozenset[Membership]:
        """All listeners to groups that routers forward; a filter in EXCLUDE mode is one to any source."""
        if self._members is None:
            self._members = frozenset(
                Membership(port, group, source)
                for (port, group), sources in self._listened.items()
                if is_forwarded(group)
                for source in sources
            )
        return self._members

    @property
    def blocked(self) -> frozenset[Membership]:
        """The sources that nobody behind a port wants although somebody there listens to any source."""
        return frozenset(
            Membership(port, group, source)
            for port, filters in self._filters.items()
            for group, state in filters.items()
            if is_forwarded(group)
            for source in state.excluded
        )

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        return self._deadlines.next_s

    def solicited_node_listeners(self, group: IPv6Address) -> tuple[PortId, ...]:
        """The ports behind which somebody listens to a solicited-node group, in order."""
        return tuple(sorted(self._solicited.get(group, ())))

    def is_querier(self, port: PortId) -> bool:
        """Whether this router asks behind the port."""
        return self._querier(port).is_querier

    def message(self, now_s: float, port: PortId, frame: Frame) -> Outcome:
        """An MLD message came in by a port; what is not valid is counted and ignored."""
        try:
            message = decode_mld(frame)
        except MldError as error:
            self._count(error.fault)
            return Outcome()
        if isinstance(message, Query):
            return self.query(now_s, port, frame.src, message)
        return self.report(now_s, port, message)

    def report(self, now_s: float, port: PortId, report: Report) -> Outcome:
        """A listener's report came in by a port (RFC 9777 section 7.4)."""
        outcome = Outcome()
        for record in report.records:
            self._record(now_s, port, record, report.version, outcome)
        return outcome

    def query(self, now_s: float, port: PortId, sender: IPv6Address, query: Query) -> Outcome:
        """Another router's query came in by a port (RFC 9777 section 7.6)."""
        outcome = Outcome()
        if port in self._user_ports:
            self._count("query-from-user")
            return outcome
        if sender == self._own:
            self._count("query-from-own-address")
            return outcome
        if query.version == 1:
            self._count("query-of-version-1")
        querier = self._querier(port)
        if querier.heard(now_s, sender, query):
            self._schedule(port, querier)
            for state in self._filters.get(port, {}).values():
                state.cancel_queries()
        asked = self._filter(port, query.group)
        if asked is not None and not query.suppress:
            asked.lower(now_s, query.sources, querier.timing)
            self._settle(now_s, port, asked, outcome)
        return outcome

    def port_up(self, now_s: float, port: PortId, response_s: float = QUICK_RESPONSE_S) -> Outcome:
        """Hosts behind the port can be asked from now on, and are, to answer within `response_s`. Those that
        were known before (`restore`, `pause`) count as just heard."""
        outcome = Outcome()
        querier = self._querier(port)
        outcome.queries.append((port, querier.start(now_s, response_s)))
        self._schedule(port, querier)
        for state in self._filters.get(port, {}).values():
            state.restart(now_s, querier.timing)
            self._settle(now_s, port, state, outcome)
        return outcome

    def port_down(self, port: PortId) -> Outcome:
        """A port went down: nobody listens behind it any more."""
        outcome = Outcome()
        self.pause(port)
        for group in self._filters.pop(port, {}):
            self._tell(port, group, frozenset(), outcome)
        self._queriers.pop(port, None)
        return outcome

    def pause(self, port: PortId) -> None:
        """The port's switch is out of reach: its hosts can neither be asked nor heard, so nothing ages
        there until `port_up`."""
        for group in (ANY_GROUP, *self._filters.get(port, ())):
            self._deadlines.cancel((port, group))
        if port in self._queriers:
            self._queriers[port].stop()

    def restore(self, now_s: float, memberships: Iterable[Membership]) -> Outcome:
        """What a restarted controller found in the tables of the switches counts as just reported."""
        found: dict[tuple[PortId, IPv6Address], list[IPv6Address | None]] = {}
        for port, group, source in memberships:
            found.setdefault((port, group), []).append(source)
        outcome = Outcome()
        for (port, group), sources in sorted(found.items()):
            if None in sources:
                self._record(now_s, port, Record(RecordType.MODE_IS_EXCLUDE, group), 2, outcome)
            named = tuple(sorted(source for source in sources if source is not None))
            if named:
                self._record(now_s, port, Record(RecordType.MODE_IS_INCLUDE, group, named), 2, outcome)
        return outcome

    def tick(self, now_s: float) -> Outcome:
        """Forget listeners that have not been heard for too long and send the queries that are due."""
        outcome = Outcome()
        for port, group in self._deadlines.pop_due(now_s):
            if group == ANY_GROUP:
                querier = self._queriers[port]
                query = querier.tick(now_s)
                if query is not None:
                    outcome.queries.append((port, query))
                self._schedule(port, querier)
            elif (state := self._filter(port, group)) is not None:
                self._settle(now_s, port, state, outcome)
        return outcome

    def _record(self, now_s: float, port: PortId, record: Record, version: int, outcome: Outcome) -> None:
        group, kind = record.group, record.kind
        if not self._is_kept(port, record, version):
            return
        state = self._filter(port, group)
        if state is not None:
            # What has run out by now is gone before the record counts.
            self._settle(now_s, port, state, outcome)
            state = self._filter(port, group)
        if state is None:
            is_joined = kind in _EXCLUDES or (kind is not RecordType.BLOCK_OLD_SOURCES and record.sources)
            if not is_joined or not self._has_room(port, group):
                return
            state = self._filters.setdefault(port, {})[group] = Filter(group)
        querier = self._querier(port)
        if version == 1 and kind in _EXCLUDES:
            state.version_1_report(now_s, querier.timing)
        sources = [source for source in record.sources if not (source.is_multicast or source.is_unspecified)]
        left_out = state.record(now_s, kind, sources, querier.timing, querier.is_querier)
        self._count("source-not-unicast", len(record.sources) - len(sources))
        self._count("too-many-sources", left_out)
        self._settle(now_s, port, state, outcome)

    def _is_kept(self, port: PortId, record: Record, version: int) -> bool:
        """Whether a record is about a group that a router keeps state for."""
        group = record.group
        if not is_forwarded(group):
            return group in SOLICITED_NODES
        reason = None
        if is_source_specific(group) and version == 1:
            reason = "version-1-in-source-specific-range"
        elif is_source_specific(group) and record.kind in _EXCLUDES:
            reason = "exclude-in-source-specific-range"
        elif not self._permits(port, group):
            reason = "not-permitted"
        if reason is not None:
            self._count(reason)
        return reason is None

    def _has_room(self, port: PortId, group: IPv6Address) -> bool:
        is_forwarded_too = is_forwarded(group)
        alike = sum(is_forwarded(known) == is_forwarded_too for known in self._filters.get(port, ()))
        has_room = alike < (MAX_GROUPS_PER_PORT if is_forwarded_too else MAX_SOLICITED_NODES_PER_PORT)
        if not has_room:
            self._count("too-many-groups")
        return has_room

    def _settle(self, now_s: float, port: PortId, state: Filter, outcome: Outcome) -> None:
        """A filter may have changed, or time has passed: let timers run out, send what is due, tell what is
        different, and forget a filter that is empty."""
        querier = self._querier(port)
        state.expire(now_s)
        if querier.is_querier:
            outcome.queries += [(port, query) for query in state.queries(now_s, querier.timing)]
        self._tell(port, state.group, _listened(state), outcome)
        if state.is_empty:
            self._deadlines.cancel((port, state.group))
            del self._filters[port][state.group]
        else:
            self._deadlines.set((port, state.group), state.deadline_s)

    def _tell(self, port: PortId, group: IPv6Address, listened: frozenset[Source], outcome: Outcome) -> None:
        before = self._listened.get((port, group), frozenset())
        if listened == before:
            return
        if listened:
            self._listened[port, group] = listened
        else:
            del self._listened[port, group]
        if not is_forwarded(group):
            ports = self._solicited.setdefault(group, set())
            if listened:
                ports.add(port)
            else:
                ports.discard(port)
            if not ports:
                del self._solicited[group]
            return
        self._members = None
        outcome.change(
            [Membership(port, group, source) for source in _ordered(listened - before)],
            [Membership(port, group, source) for source in _ordered(before - listened)],
        )

    def _filter(self, port: PortId, group: IPv6Address) -> Filter | None:
        return self._filters.get(port, {}).get(group)

    def _querier(self, port: PortId) -> Querier:
        querier = self._queriers.get(port)
        if querier is None:
            querier = self._queriers[port] = Querier(self._own)
        return querier

    def _schedule(self, port: PortId, querier: Querier) -> None:
        if querier.deadline_s is not None:
            self._deadlines.set((port, ANY_GROUP), querier.deadline_s)

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self.counters[reason] += number


def _listened(state: Filter) -> frozenset[Source]:
    return frozenset({None}) if state.is_exclude else state.sources


def _ordered(sources: Iterable[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: (source is not None, int(source or 0)))
