"""C15: what users see when links, edges, switches and the controller fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiments.claims.model import Claim, Evidence, compared
from experiments.records import FaultStep, Probe, Request, ScenarioRecords, Transfer
from experiments.scenario import DNS_TTL_S
from experiments.statistics import significant
from topologies.graph import shortest_path_tree
from topologies.spec import Topology

GAP_LIMIT_MS = 1500.0
"""One lost SYN and its repetition after a second (RFC 6298), and some."""
KILL_LIMIT_MS = 300.0
DNS_BASELINE_MS = DNS_TTL_S * 1000
"""Resolvers may hand out the old address for one TTL after the record was changed. The time to notice and to
change it would come on top; leaving it out favours the baseline."""
CENTRAL_NOTE = "a central cloud has no other server: killed, it answers never again"


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """A window whose probes make a claim: the longest gap allowed; `is_repaired` adds a round trip to the
    controller, which has to act."""

    scenario: str
    window: str
    statement: str
    limit_ms: float
    is_repaired: bool = False


PROBE_ROWS = (
    ProbeRow("links", "alternate", "gap when a link with a loop-free alternate fails", 10),
    ProbeRow("links", "repair", "gap when a link without an alternate fails", 50, is_repaired=True),
    ProbeRow("edge", "unplug", "gap when an edge is unplugged", 50),
    ProbeRow("links", "switch", "gap when a switch fails", 50, is_repaired=True),
)


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
    return _longest(ends)


def probe_gaps(probes: Iterable[Probe]) -> list[Gap]:
    """Each user's longest time between two successive probes that were answered, by when they were sent. A
    gap at the beginning or the end counts up to the first or last probe."""
    sent: dict[str, list[float]] = {}
    answered: dict[str, list[float]] = {}
    for probe in probes:
        sent.setdefault(probe.user, []).append(probe.sent_s)
        if probe.rtt_ms is not None:
            answered.setdefault(probe.user, []).append(probe.sent_s)
    return _longest({user: [min(all_), *answered.get(user, ()), max(all_)] for user, all_ in sent.items()})


def _longest(times: dict[str, list[float]]) -> list[Gap]:
    gaps = []
    for user, moments in times.items():
        steps = [Gap(user, a, b) for a, b in pairwise(sorted(moments))]
        if steps:
            gaps.append(max(steps, key=lambda gap: gap.milliseconds))
    return gaps


def steps_of(scenario: ScenarioRecords | None, window: str) -> tuple[FaultStep, ...]:
    """What was broken and mended in a window."""
    return tuple(step for step in scenario.faults if step.window == window) if scenario else ()


def asked_windows(scenario: ScenarioRecords | None) -> tuple[str, ...]:
    """The names of the windows a scenario was to have."""
    asked: list[dict[str, Any]] = (
        scenario.facts.get("scenario", {}).get("windows", []) if scenario is not None else []
    )
    return tuple(window["name"] for window in asked)


def control_round_trip_ms(topology: Topology) -> float:
    """How long the farthest switch waits for a word of the controller's."""
    place = topology.control
    distances = {} if place.at is None else shortest_path_tree(topology, place.at).distance_ms
    farthest = max((distances.get(switch, 0.0) for switch in topology.switches), default=0.0)
    return 2 * (place.delay_ms + farthest)


def link_to_edge(evidence: Evidence) -> list[Claim]:
    """The longest gap any user saw, and the requests that were lost, when the link to its edge broke."""
    scenario = evidence.get("edge")
    transfers = scenario.transfers if scenario else ()
    source = ("raw/edge/transfers.csv", "raw/edge/faults.csv")
    gaps = longest_gaps(transfers)
    longest = max(gaps, key=lambda gap: gap.milliseconds, default=None)
    lost = sum(not row.ok for row in transfers)
    changes = len(steps_of(scenario, "requests"))
    users = {row.user for row in transfers}
    notes: tuple[str, ...] = () if transfers else ("no transfers in raw/edge/transfers.csv",)
    if changes == 0:
        notes += ("no link was cut",)
    gap_notes = notes + (() if longest is None else (f"{longest.user}, from {longest.begin_s:.3f} s on",))
    gap_ms = None if longest is None else significant(longest.milliseconds, 9)
    answered_again = {gap.user for gap in gaps} == users
    gap = Claim(
        "C15",
        "longest time without an answer, link to an edge",
        gap_ms,
        "ms",
        rule=f"at most {GAP_LIMIT_MS:g} ms (one repeated SYN), every user answered again",
        holds=gap_ms is not None and gap_ms <= GAP_LIMIT_MS and answered_again and changes > 0,
        notes=gap_notes,
        source=source,
    )
    requests = Claim(
        "C15",
        "requests lost, link to an edge",
        lost,
        "requests",
        rule="at most one for each user and each time a link breaks or comes back",
        holds=bool(transfers) and changes > 0 and lost <= changes * len(users),
        total=len(transfers),
        notes=notes,
        source=source,
    )
    return [compared(gap, DNS_BASELINE_MS, "DNS fail-over"), requests]


def probed(evidence: Evidence) -> list[Claim]:
    """The longest gap in the probes of each window; windows the topology has no link for are left out."""
    claims = []
    for row in PROBE_ROWS:
        scenario = evidence.get(row.scenario)
        if scenario is None or row.window in asked_windows(scenario):
            claims.append(_probe_claim(row, scenario))
    return claims


def _probe_claim(row: ProbeRow, scenario: ScenarioRecords | None) -> Claim:
    probes = [probe for probe in scenario.probes if probe.window == row.window] if scenario else []
    gaps = probe_gaps(probes)
    longest = max(gaps, key=lambda gap: gap.milliseconds, default=None)
    steps = steps_of(scenario, row.window)
    last = {probe.user: probe for probe in probes}
    limit_ms = row.limit_ms
    rule = f"at most {row.limit_ms:g} ms between two answered probes, one sent every millisecond"
    if row.is_repaired and scenario is not None:
        control_ms = control_round_trip_ms(scenario.topology)
        limit_ms += control_ms
        rule += f"; {control_ms:g} ms of it for the control links" if control_ms else ""
    notes = _what_happened(steps)
    lost = sum(probe.rtt_ms is None for probe in probes)
    if longest is not None:
        notes += (f"{lost} of {len(probes)} probes lost, {longest.user} from {longest.begin_s:.3f} s on",)
    value = None if longest is None else significant(longest.milliseconds, 9)
    claim = Claim(
        "C15",
        row.statement,
        value,
        "ms",
        rule=rule,
        holds=value is not None
        and value <= limit_ms
        and any(step.is_break for step in steps)
        and all(probe.rtt_ms is not None for probe in last.values()),
        notes=notes,
        source=(f"raw/{row.scenario}/probes.csv", f"raw/{row.scenario}/faults.csv"),
    )
    return compared(claim, DNS_BASELINE_MS, "DNS fail-over")


def _what_happened(steps: Sequence[FaultStep]) -> tuple[str, ...]:
    if not steps:
        return ("nothing was broken",)
    return tuple(
        f"{step.kind} {step.target} {'at' if step.is_break else 'mended at'} {step.t_s:.3f} s"
        for step in steps
    )


def next_answers(requests: Iterable[Request], moment_s: float) -> dict[str, float | None]:
    """For each user, how long after a moment the first request ended that was made and answered after it."""
    found: dict[str, float | None] = {}
    for row in requests:
        before = found.setdefault(row.user, None)
        if row.ok and row.started_s >= moment_s and (before is None or row.ended_s - moment_s < before):
            found[row.user] = row.ended_s - moment_s
    return found


def killed_edge(evidence: Evidence) -> list[Claim]:
    """From SIGKILL to the next request that was answered, for the user who waited longest."""
    scenario = evidence.get("edge")
    requests = [row for row in scenario.requests if row.window == "kill"] if scenario else []
    kills = [step for step in steps_of(scenario, "kill") if step.is_break]
    waits = next_answers(requests, kills[0].done_s) if kills else {}
    answered = [wait for wait in waits.values() if wait is not None]
    value = significant(max(answered) * 1000, 9) if answered else None
    failed = sum(not row.ok for row in requests)
    claim = Claim(
        "C15",
        "until the next answer after an edge's process is killed",
        value,
        "ms",
        rule=f"at most {KILL_LIMIT_MS:g} ms for every user of that edge",
        holds=value is not None and value <= KILL_LIMIT_MS and len(answered) == len(waits),
        notes=(*_what_happened(kills), f"{failed} of {len(requests)} requests failed", CENTRAL_NOTE),
        source=("raw/edge/requests.csv", "raw/edge/faults.csv"),
    )
    return [compared(claim, DNS_BASELINE_MS, "DNS fail-over")]


def restarted_controller(evidence: Evidence) -> list[Claim]:
    """Probes lost, and modifications sent, when the controller is killed and comes back."""
    scenario = evidence.get("edge")
    probes = [probe for probe in scenario.probes if probe.window == "controller"] if scenario else []
    steps = steps_of(scenario, "controller")
    has_happened = {step.is_break for step in steps} == {True, False}
    lost = sum(probe.rtt_ms is None for probe in probes)
    windows = scenario.facts.get("windows", []) if scenario else []
    after: dict[str, Any] = next((entry["after"] for entry in windows if entry["name"] == "controller"), {})
    modifications = after.get("modifications")
    return [
        Claim(
            "C15",
            "probes lost while the controller is killed and started again",
            lost if probes else None,
            "probes",
            rule="none, one sent every millisecond",
            holds=bool(probes) and lost == 0 and has_happened,
            total=len(probes),
            notes=_what_happened(steps),
            source=("raw/edge/probes.csv", "raw/edge/faults.csv"),
        ),
        Claim(
            "C15",
            "modifications a restarted controller sends",
            modifications,
            "messages",
            rule="none, once it agrees with every switch",
            holds=modifications == 0 and has_happened,
            notes=() if after else ("the controller did not say",),
            source=("raw/edge/scenario.json",),
        ),
    ]
