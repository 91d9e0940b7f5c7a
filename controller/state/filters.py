"""What a router knows about one group behind one port: the filter mode, the sources with their timers, and
the queries to repeat (RFC 9777 sections 7.2 to 7.6).

In INCLUDE mode the sources with a running timer are the Include List. In EXCLUDE mode they are the
Requested List, those without a timer the Exclude List, and everything that is not on the latter is
forwarded.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from controller.state.querier import Timing
from controller.wire.mld import Query, RecordType

MAX_SOURCES_PER_GROUP = 64
"""So that a query about all of them fits into 1280 bytes."""

_EXCLUDES = (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE)


class Filter:
    """The state of one multicast address record. What has run out counts until `expire` is called."""

    def __init__(self, group: IPv6Address) -> None:
        self.group = group
        self._expiry_s: dict[IPv6Address, float] = {}
        self._excluded: set[IPv6Address] = set()
        self._filter_expiry_s: float | None = None
        self._version_1_until_s = 0.0
        self._group_queries = 0
        self._group_query_due_s = 0.0
        self._source_queries: dict[IPv6Address, int] = {}
        self._source_query_due_s = 0.0

    @property
    def is_exclude(self) -> bool:
        """Whether the filter mode is EXCLUDE: somebody listens to all sources but some."""
        return self._filter_expiry_s is not None

    @property
    def is_empty(self) -> bool:
        """Whether nobody listens to anything."""
        return not self.is_exclude and not self._expiry_s

    @property
    def sources(self) -> frozenset[IPv6Address]:
        """The Include List, or in EXCLUDE mode the Requested List."""
        return frozenset(self._expiry_s)

    @property
    def excluded(self) -> frozenset[IPv6Address]:
        """The Exclude List; empty in INCLUDE mode."""
        return frozenset(self._excluded)

    @property
    def deadline_s(self) -> float:
        """When something runs out or a query is due; infinite when the filter is empty."""
        moments = [*self._expiry_s.values()]
        if self._filter_expiry_s is not None:
            moments.append(self._filter_expiry_s)
        if self._group_queries:
            moments.append(self._group_query_due_s)
        if self._source_queries:
            moments.append(self._source_query_due_s)
        return min(moments, default=float("inf"))

    def is_version_1(self, now_s: float) -> bool:
        """Whether the group is in version 1 compatibility mode (section 8.3.2)."""
        return now_s < self._version_1_until_s

    def version_1_report(self, now_s: float, timing: Timing) -> None:
        """A host that knows version 1 only has reported the group."""
        self._version_1_until_s = now_s + timing.older_host_present_interval_s

    def record(
        self, now_s: float, kind: RecordType, sources: Iterable[IPv6Address], timing: Timing, asks: bool
    ) -> int:
        """Apply a record by tables 7 and 8 (section 7.4); `asks` says whether this router is the querier.

        Returns how many sources were left out because there are too many.
        """
        if self.is_version_1(now_s):
            if kind is RecordType.BLOCK_OLD_SOURCES:
                return 0
            if kind is RecordType.CHANGE_TO_EXCLUDE:
                sources = ()
        wanted = list(dict.fromkeys(sources))
        reported = self._within_limit(kind, wanted)
        doubted: set[IPv6Address] = set()
        if kind in _EXCLUDES:
            self._exclude(now_s, kind, reported, timing)
            if kind is RecordType.CHANGE_TO_EXCLUDE:
                doubted = set(self._expiry_s)
        elif kind is RecordType.BLOCK_OLD_SOURCES:
            doubted = self._block(reported)
        else:
            if kind is RecordType.CHANGE_TO_INCLUDE:
                doubted = self._expiry_s.keys() - set(reported)
            for source in reported:
                self._expiry_s[source] = now_s + timing.listening_interval_s
            self._excluded.difference_update(reported)
        # Timers are lowered when a query is sent or received (section 7.6.1), so a router that is not the
        # querier leaves them alone until the querier asks.
        if asks:
            self._ask_for_sources(now_s, doubted, timing)
            if kind is RecordType.CHANGE_TO_INCLUDE and self.is_exclude:
                self._ask_for_group(now_s, timing)
        return len(wanted) - len(reported)

    def lower(self, now_s: float, sources: Iterable[IPv6Address], timing: Timing) -> None:
        """Another router has asked for the group, or for these sources of it (section 7.6.1)."""
        limit_s = now_s + timing.last_listener_query_time_s
        asked = tuple(sources)
        for source in asked:
            if source in self._expiry_s:
                self._expiry_s[source] = min(self._expiry_s[source], limit_s)
        if not asked and self._filter_expiry_s is not None:
            self._filter_expiry_s = min(self._filter_expiry_s, limit_s)

    def expire(self, now_s: float) -> None:
        """Let timers run out (tables 5 and 6, section 7.5)."""
        silent = [source for source, expiry_s in self._expiry_s.items() if expiry_s <= now_s]
        for source in silent:
            del self._expiry_s[source]
            self._source_queries.pop(source, None)
        if self._filter_expiry_s is None:
            return
        self._excluded.update(silent)
        if self._filter_expiry_s <= now_s:
            self._filter_expiry_s = None
            self._group_queries = 0
            self._excluded.clear()

    def restart(self, now_s: float, timing: Timing) -> None:
        """Everything counts as just reported, and nothing is doubted any more."""
        expiry_s = now_s + timing.listening_interval_s
        self._expiry_s = dict.fromkeys(self._expiry_s, expiry_s)
        if self._filter_expiry_s is not None:
            self._filter_expiry_s = expiry_s
        self.cancel_queries()

    def cancel_queries(self) -> None:
        """Another router asks."""
        self._group_queries = 0
        self._source_queries.clear()

    def queries(self, now_s: float, timing: Timing) -> list[Query]:
        """The specific queries that are due, as sections 7.6.3.1 and 7.6.3.2 build them."""
        limit_s = now_s + timing.last_listener_query_time_s
        again_s = now_s + timing.last_listener_query_interval_s
        queries: list[Query] = []
        if self._group_queries and self._group_query_due_s <= now_s and self._filter_expiry_s is not None:
            self._group_queries -= 1
            self._group_query_due_s = again_s
            queries.append(self._query(timing, (), self._filter_expiry_s > limit_s))
        if self._source_queries and self._source_query_due_s <= now_s:
            confirmed = tuple(source for source in self._source_queries if self._expiry_s[source] > limit_s)
            doubted = tuple(source for source in self._source_queries if self._expiry_s[source] <= limit_s)
            # What a query for the whole group asks need not be repeated for sources that are confirmed.
            if confirmed and not queries:
                queries.append(self._query(timing, confirmed, True))
            if doubted:
                queries.append(self._query(timing, doubted, False))
            self._source_queries = {
                source: left - 1 for source, left in self._source_queries.items() if left > 1
            }
            self._source_query_due_s = again_s
        return queries

    def _query(self, timing: Timing, sources: tuple[IPv6Address, ...], suppress: bool) -> Query:
        return Query(
            round(timing.last_listener_query_interval_s * 1000),
            self.group,
            sources,
            timing.robustness,
            round(timing.query_interval_s),
            suppress,
        )

    def _within_limit(self, kind: RecordType, wanted: list[IPv6Address]) -> list[IPv6Address]:
        if kind in _EXCLUDES:
            # Only reported sources stay on the lists.
            return wanted[:MAX_SOURCES_PER_GROUP]
        if kind is RecordType.BLOCK_OLD_SOURCES and not self.is_exclude:
            return wanted
        known = self._expiry_s.keys() | self._excluded
        room = MAX_SOURCES_PER_GROUP - len(known)
        reported = []
        for source in wanted:
            if source not in known:
                if room <= 0:
                    continue
                room -= 1
            reported.append(source)
        return reported

    def _exclude(self, now_s: float, kind: RecordType, reported: list[IPv6Address], timing: Timing) -> None:
        """To (or still in) EXCLUDE mode: what is not reported is deleted from both lists."""
        until_s = now_s + timing.listening_interval_s
        fresh = [
            source for source in reported if source not in self._expiry_s and source not in self._excluded
        ]
        self._expiry_s = {source: self._expiry_s[source] for source in reported if source in self._expiry_s}
        self._excluded.intersection_update(reported)
        if self._filter_expiry_s is None:
            self._excluded.update(fresh)
        else:
            fresh_until_s = until_s if kind is RecordType.MODE_IS_EXCLUDE else self._filter_expiry_s
            self._expiry_s.update(dict.fromkeys(fresh, fresh_until_s))
        self._filter_expiry_s = until_s
        self._source_queries = {
            source: left for source, left in self._source_queries.items() if source in self._expiry_s
        }

    def _block(self, reported: list[IPv6Address]) -> set[IPv6Address]:
        if self._filter_expiry_s is None:
            return self._expiry_s.keys() & set(reported)
        blocked = set(reported) - self._excluded
        for source in reported:
            if source in blocked:
                self._expiry_s.setdefault(source, self._filter_expiry_s)
        return blocked

    def _ask_for_sources(self, now_s: float, sources: set[IPv6Address], timing: Timing) -> None:
        limit_s = now_s + timing.last_listener_query_time_s
        for source in sorted(sources):
            if self._expiry_s[source] > limit_s:
                self._expiry_s[source] = limit_s
                self._source_queries[source] = timing.last_listener_query_count
                self._source_query_due_s = now_s

    def _ask_for_group(self, now_s: float, timing: Timing) -> None:
        assert self._filter_expiry_s is not None
        limit_s = now_s + timing.last_listener_query_time_s
        # A host says that it leaves more than once; queries that are pending are not begun again.
        if self._group_queries and self._filter_expiry_s <= limit_s:
            return
        self._filter_expiry_s = min(self._filter_expiry_s, limit_s)
        self._group_queries = timing.last_listener_query_count
        self._group_query_due_s = now_s
