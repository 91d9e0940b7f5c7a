"""What the controller counts while it runs, and a moment of it all for `controller.metrics`.

Standard library only: counting must cost nothing and need no package.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from controller.plan.facts import Facts
from controller.plan.rules import Change, Tables
from controller.views import edge_state
from topologies.spec import Role

SECONDS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the classes of durations."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations in seconds: how many there were up to each bound and in all, and their sum."""

    up_to: tuple[tuple[float, int], ...] = ()
    count: int = 0
    sum_s: float = 0.0


class Durations:
    """Collects durations; the caller keeps threads apart."""

    def __init__(self, bounds_s: Sequence[float] = SECONDS_BOUNDS) -> None:
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Take in one duration."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def distribution(self) -> Distribution:
        """What has been collected so far."""
        totals = tuple(accumulate(self._counts))
        return Distribution(tuple(zip(self._bounds_s, totals, strict=False)), totals[-1], self._sum_s)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is measured, at one moment. Keys of `edges` are names, values `accepting`, `keeping` or
    `dead`; `guards` counts refused packets by (guard, reason), `packet_ins` by the origin of their rule."""

    connected: Mapping[str, bool] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    meters: Mapping[str, int] = field(default_factory=dict)
    bindings: Mapping[str, int] = field(default_factory=dict)
    memberships: Mapping[str, int] = field(default_factory=dict)
    edges: Mapping[str, str] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    load_percent: Mapping[str, int] = field(default_factory=dict)
    pins: int = 0
    openings: int = 0
    down_ports: int = 0
    synced: bool = False
    modifications: Mapping[str, int] = field(default_factory=dict)
    packet_ins: Mapping[str, int] = field(default_factory=dict)
    punts_dropped: Mapping[str, int] = field(default_factory=dict)
    guards: Mapping[tuple[str, str], int] = field(default_factory=dict)
    foreign_rules: int = 0
    failovers: int = 0
    plans: Distribution = Distribution()
    installs: Distribution = Distribution()


class Measures:
    """Counts what passes by; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans, self._installs = Durations(), Durations()
        self._modifications: Counter[str] = Counter()
        self._packet_ins: Counter[str] = Counter()
        self._punts_dropped: Counter[str] = Counter()
        self._foreign_rules = 0
        self._failovers = 0

    def planned(self, seconds: float) -> None:
        """A plan was computed in so much time."""
        with self._lock:
            self._plans.add(seconds)

    def installed(self, seconds: float, changes: Sequence[Change] = ()) -> None:
        """A switch has confirmed these changes, so long after it was asked for them."""
        with self._lock:
            self._installs.add(seconds)
            for change in changes:
                self._modifications[change.step.name.lower().replace("_", "-")] += 1

    def packet_in(self, origin: str) -> None:
        """A switch has handed over a packet because of a rule of this origin."""
        with self._lock:
            self._packet_ins[origin] += 1

    def punt_dropped(self, reason: str) -> None:
        """A packet that was handed over was ignored."""
        with self._lock:
            self._punts_dropped[reason] += 1

    def foreign(self, count: int) -> None:
        """So many rules of somebody else were found in a switch."""
        with self._lock:
            self._foreign_rules += count

    def failover(self) -> None:
        """A port or an edge went down, so that packets went another way."""
        with self._lock:
            self._failovers += 1

    def snapshot(
        self,
        facts: Facts,
        tables: Mapping[str, Tables],
        connected: frozenset[str],
        *,
        synced: bool,
        drained: frozenset[str] = frozenset(),
        load_percent: Mapping[str, int] | None = None,
        guards: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Snapshot:
        """What has been counted so far, with what is known now. `guards` has the refusals of each machine
        by reason."""
        topology = facts.topology
        bindings = Counter(binding.port.switch for binding in facts.bindings)
        memberships = Counter(member.port.switch for member in facts.members)
        with self._lock:
            return Snapshot(
                connected={switch: switch in connected for switch in topology.switches},
                rules={switch: len(content.rules) for switch, content in tables.items()},
                groups={switch: len(content.groups) for switch, content in tables.items()},
                meters={switch: len(content.meters) for switch, content in tables.items()},
                bindings={switch: bindings[switch] for switch in topology.of_role(Role.ACCESS)},
                memberships={switch: memberships[switch] for switch in topology.switches},
                edges={edge: edge_state(facts, edge) for edge in topology.of_role(Role.EDGE)},
                drained=drained,
                load_percent=dict(load_percent or {}),
                pins=len(facts.pins),
                openings=len(facts.openings),
                down_ports=len(facts.down_ports),
                synced=synced,
                modifications=dict(sorted(self._modifications.items())),
                packet_ins=dict(sorted(self._packet_ins.items())),
                punts_dropped=dict(sorted(self._punts_dropped.items())),
                guards={
                    (guard, reason): count
                    for guard, counts in sorted((guards or {}).items())
                    for reason, count in sorted(counts.items())
                },
                foreign_rules=self._foreign_rules,
                failovers=self._failovers,
                plans=self._plans.distribution(),
                installs=self._installs.distribution(),
            )
