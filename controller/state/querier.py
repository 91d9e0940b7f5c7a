"""Who asks the hosts behind a port what they listen to, and when: the querier of RFC 9777 sections 7.1 and
7.6.2, with the timers of section 9."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from controller.wire.mld import Query

QUICK_RESPONSE_S = 0.1
"""Asked of a port that has just come up: it has one host, whose answer need not be spread over 10 s."""

_INTERFACE_ID = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Timing:
    """The variables of RFC 9777 section 9 with their default values; the properties follow from them."""

    robustness: int = 2
    query_interval_s: float = 125.0
    response_interval_s: float = 10.0
    last_listener_query_interval_s: float = 1.0

    @property
    def listening_interval_s(self) -> float:
        """MALI (section 9.4): a listener that has not been heard for so long is gone."""
        return self.robustness * self.query_interval_s + 2 * self.response_interval_s

    @property
    def other_querier_present_interval_s(self) -> float:
        """Section 9.5: another querier that has been silent for so long is gone."""
        return self.robustness * self.query_interval_s + self.response_interval_s / 2

    @property
    def startup_query_interval_s(self) -> float:
        """Section 9.6."""
        return self.query_interval_s / 4

    @property
    def startup_query_count(self) -> int:
        """Section 9.7."""
        return self.robustness

    @property
    def last_listener_query_count(self) -> int:
        """Section 9.9."""
        return self.robustness

    @property
    def last_listener_query_time_s(self) -> float:
        """LLQT (section 9.10): how long somebody else has to say that it still listens."""
        return self.last_listener_query_interval_s * self.last_listener_query_count

    @property
    def older_host_present_interval_s(self) -> float:
        """Section 9.13: for so long after a report of version 1 a group is in version 1 mode."""
        return self.robustness * self.query_interval_s + self.response_interval_s


DEFAULT_TIMING = Timing()


class Querier:
    """The querier election of one port. It starts as the querier; `deadline_s` says when to `tick`, None
    before `start` and after `stop`. `timing` is that of the querier of the link."""

    def __init__(self, own: IPv6Address, timing: Timing = DEFAULT_TIMING) -> None:
        self.timing = timing
        self.is_querier = True
        self.deadline_s: float | None = None
        self._own = own
        self._configured = timing
        self._startup_queries = 0

    def start(self, now_s: float, response_s: float) -> Query:
        """The port is in use from now on: its first general query, to be answered within `response_s`."""
        self.is_querier, self.timing = True, self._configured
        self._startup_queries = self.timing.startup_query_count
        return self._general_query(now_s, response_s)

    def stop(self) -> None:
        """The port is out of use."""
        self.deadline_s = None

    def heard(self, now_s: float, sender: IPv6Address, query: Query) -> bool:
        """A router has sent a query. Returns whether it is the querier now: its address is lower.

        Its robustness and query interval are adopted, the configured ones where it tells none (sections
        5.1.8 and 5.1.9), until this router is the querier again.
        """
        if int(sender) & _INTERFACE_ID >= int(self._own) & _INTERFACE_ID:
            return False
        self.is_querier = False
        self.timing = replace(
            self._configured,
            robustness=query.robustness or self._configured.robustness,
            query_interval_s=float(query.interval_s) or self._configured.query_interval_s,
        )
        self.deadline_s = now_s + self.timing.other_querier_present_interval_s
        return True

    def tick(self, now_s: float) -> Query | None:
        """The general query that is due, if one is; a querier that is silent for too long is replaced."""
        if self.deadline_s is None or self.deadline_s > now_s:
            return None
        self.is_querier, self.timing = True, self._configured
        return self._general_query(now_s, self.timing.response_interval_s)

    def _general_query(self, now_s: float, response_s: float) -> Query:
        self._startup_queries = max(0, self._startup_queries - 1)
        timing = self.timing
        wait_s = timing.startup_query_interval_s if self._startup_queries else timing.query_interval_s
        self.deadline_s = now_s + wait_s
        return Query(
            round(response_s * 1000), robustness=timing.robustness, interval_s=round(timing.query_interval_s)
        )
