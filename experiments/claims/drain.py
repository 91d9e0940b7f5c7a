"""C15 and C5 when edges are drained and overloaded on purpose: nothing fails, and users come back."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.claims.failover import steps_of
from experiments.claims.model import Claim, Evidence
from experiments.records import FaultStep, Request, ScenarioRecords
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

WINDOW = "drain"
LONG_PATH = "/long.bin"
SHED_S = 1.0
"""An overloaded edge says so within a heartbeat; until then it may get new connections."""
RETURN_S = 6.0
"""So long after the last fault the controller has forgiven: 5 s without overload, and some."""
SOURCE = ("raw/edge/requests.csv", "raw/edge/faults.csv")


def drained(evidence: Evidence) -> list[Claim]:
    """Requests failed, requests an edge got while it should not, downloads that stayed, users that came
    back."""
    scenario = evidence.get("edge")
    requests = [row for row in scenario.requests if row.window == WINDOW] if scenario else []
    steps = steps_of(scenario, WINDOW)
    is_complete = {(step.kind, step.is_break) for step in steps} >= {
        (kind, is_break) for kind in ("Drain", "Overload") for is_break in (True, False)
    }
    short = [row for row in requests if row.path != LONG_PATH]
    long = [row for row in requests if row.path == LONG_PATH]
    failed = [row for row in short if not row.ok]
    unwanted = _unwanted(short, steps)
    stayed = [row for row in long if row.ok]
    reasons = sorted({f"{row.user}: {row.error or row.status}" for row in failed})
    return [
        Claim(
            "C15",
            "requests failed while an edge is drained and another overloaded",
            len(failed),
            "requests",
            rule="none",
            holds=bool(short) and not failed and is_complete,
            total=len(short),
            notes=(*_times(steps), *reasons[:5]),
            source=SOURCE,
        ),
        Claim(
            "C15",
            "new connections of a drained or overloaded edge",
            len(unwanted),
            "requests",
            rule=f"none once the drain was confirmed, or {SHED_S:g} s after the overload began",
            holds=bool(short) and not unwanted and is_complete,
            total=len(short),
            source=SOURCE,
        ),
        Claim(
            "C15",
            "long downloads that ended whole where they began",
            len(stayed),
            "downloads",
            rule="all of them, through drain and return",
            holds=bool(long) and len(stayed) == len(long) and is_complete,
            total=len(long),
            notes=tuple(f"{row.user} at {row.started_s:.3f} s: {row.error}" for row in long if not row.ok),
            source=SOURCE,
        ),
        *_nearest(evidence.topology, scenario, short, steps),
    ]


def _times(steps: Sequence[FaultStep]) -> tuple[str, ...]:
    return tuple(
        f"{step.kind} {step.target} {'from' if step.is_break else 'until'} {step.done_s:.3f} s"
        for step in steps
    )


def _span(steps: Sequence[FaultStep], kind: str) -> tuple[str, float, float] | None:
    """The edge of a fault, when it was in force and when it was lifted."""
    breaks = [step for step in steps if step.kind == kind and step.is_break]
    mends = [step for step in steps if step.kind == kind and not step.is_break]
    if not breaks or not mends:
        return None
    return breaks[0].target.split()[0], breaks[0].done_s, mends[0].t_s


def _unwanted(requests: Sequence[Request], steps: Sequence[FaultStep]) -> list[Request]:
    """Requests answered by an edge that should not have got them."""
    found: list[Request] = []
    for kind, delay_s in (("Drain", 0.0), ("Overload", SHED_S)):
        span = _span(steps, kind)
        if span is not None:
            edge, begin_s, end_s = span
            found += [
                row for row in requests if row.edge == edge and begin_s + delay_s <= row.started_s < end_s
            ]
    return found


def _nearest(
    topology: Topology,
    scenario: ScenarioRecords | None,
    requests: Sequence[Request],
    steps: Sequence[FaultStep],
) -> list[Claim]:
    """C5 before the first fault and after the last one."""
    begin_s = min((step.t_s for step in steps), default=0.0)
    lifted_s = max((step.done_s for step in steps), default=0.0) + RETURN_S
    rounds = (
        ("before", [row for row in requests if row.ended_s < begin_s]),
        ("after", [row for row in requests if row.started_s > lifted_s]),
    )
    asked = scenario.facts.get("scenario", {}) if scenario else {}
    off = set(asked.get("off", ()))
    nearest = nearest_edges(topology, [edge for edge in topology.of_role(Role.EDGE) if edge not in off])
    claims = []
    for name, rows in rounds:
        users = {row.user for row in rows}
        strays = {row.user for row in rows if not row.ok or row.edge not in nearest[row.user].equally_near}
        claims.append(
            Claim(
                "C5",
                f"users answered by their nearest edge, {name} drain and overload",
                len(users) - len(strays),
                "users",
                rule="all; nearest by delay among the edges that run",
                holds=bool(users) and not strays and bool(steps),
                total=len(users),
                notes=(f"not {', '.join(sorted(strays))}",) if strays else (),
                source=SOURCE,
            )
        )
    return claims
