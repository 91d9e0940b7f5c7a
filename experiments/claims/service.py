"""C5: the nearest edge answers. C15: what users see when it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiments.claims.model import Claim, Evidence
from experiments.loads import phase_loads
from experiments.records import ScenarioRecords, Transfer
from experiments.statistics import significant
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

GAP_LIMIT_MS = 1500.0
"""One lost SYN and its repetition after a second (RFC 6298), and some."""


def answered_by_nearest(topology: Topology, transfers: tuple[Transfer, ...]) -> dict[str, bool]:
    """For every user of the topology: whether it asked and each answer came from its nearest edge.

    Nearest is by delay among all edges of the topology, running or not; of equally near ones any will do.
    """
    nearest = nearest_edges(topology)
    answers: dict[str, list[Transfer]] = {user: [] for user in topology.of_role(Role.USER)}
    for transfer in transfers:
        answers.setdefault(transfer.user, []).append(transfer)
    return {
        user: bool(rows)
        and user in nearest
        and all(row.ok and row.edge in nearest[user].equally_near for row in rows)
        for user, rows in answers.items()
    }


def nearest_edge(evidence: Evidence) -> list[Claim]:
    """C5: users whose every answer came from their nearest edge."""
    scenario = evidence.get("edge")
    users = answered_by_nearest(evidence.topology, scenario.transfers if scenario else ())
    others = [user for user, nearest in users.items() if not nearest]
    notes = [f"not {', '.join(others)}"] if others else []
    return [
        Claim(
            "C5",
            "users answered by their nearest edge",
            len(users) - len(others),
            "users",
            rule="every answer of every user; nearest by delay among all edges of the topology",
            holds=bool(users) and not others,
            total=len(users),
            notes=tuple(notes),
            source=("raw/edge/transfers.csv",),
        )
    ]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which a user got no answer, in seconds since the scenario began."""

    user: str
    begin_s: float
    end_s: float

    @property
    def milliseconds(self) -> float:
        """Its length."""
        return (self.end_s - self.begin_s) * 1000


def longest_gaps(transfers: tuple[Transfer, ...]) -> list[Gap]:
    """Each user's longest time between the ends of two successive answers, in the order of the users."""
    ends: dict[str, list[float]] = {}
    for row in transfers:
        ends.setdefault(row.user, [])
        if row.ok:
            ends[row.user].append(row.ended_s)
    gaps = []
    for user, times in ends.items():
        steps = [Gap(user, a, b) for a, b in pairwise(sorted(times))]
        if steps:
            gaps.append(max(steps, key=lambda gap: gap.milliseconds))
    return gaps


def cuts(scenario: ScenarioRecords) -> list[dict[str, Any]]:
    """The link cuts that were asked for, their times in seconds since the scenario began."""
    loads = phase_loads(scenario.links, "requests")
    samples = [sample.t_s for sample in scenario.links if sample.phase == "requests"] if loads else []
    began = samples[0] if samples else 0.0
    asked = scenario.facts.get("scenario", {}).get("cuts", [])
    return [
        cut | {name: began + cut[name] for name in ("at_s", "mend_s") if cut.get(name) is not None}
        for cut in asked
    ]


def failover(evidence: Evidence) -> list[Claim]:
    """C15: the longest gap any user saw, and the requests that were lost, when a link broke."""
    scenario = evidence.get("edge")
    transfers = scenario.transfers if scenario else ()
    source = ("raw/edge/transfers.csv", "raw/edge/scenario.json")
    gaps = longest_gaps(transfers)
    longest = max(gaps, key=lambda gap: gap.milliseconds, default=None)
    lost = sum(not row.ok for row in transfers)
    changes = sum(1 + (cut.get("mend_s") is not None) for cut in (cuts(scenario) if scenario else []))
    users = {row.user for row in transfers}
    allowed = changes * len(users)
    notes: tuple[str, ...] = () if transfers else ("no transfers in raw/edge/transfers.csv",)
    if changes == 0:
        notes += ("no link was cut",)
    gap_notes = notes + (() if longest is None else (f"{longest.user}, from {longest.begin_s:.3f} s on",))
    gap_ms = None if longest is None else significant(longest.milliseconds, 9)
    answered_again = {gap.user for gap in gaps} == users
    return [
        Claim(
            "C15",
            "longest time without an answer",
            gap_ms,
            "ms",
            rule=f"at most {GAP_LIMIT_MS:g} ms (one repeated SYN), every user answered again",
            holds=gap_ms is not None and gap_ms <= GAP_LIMIT_MS and answered_again and changes > 0,
            notes=gap_notes,
            source=source,
        ),
        Claim(
            "C15",
            "requests lost",
            lost,
            "requests",
            rule="at most one for each user and each time a link breaks or comes back",
            holds=bool(transfers) and changes > 0 and lost <= allowed,
            total=len(transfers),
            notes=notes,
            source=source,
        ),
    ]
