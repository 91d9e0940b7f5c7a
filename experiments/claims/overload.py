"""C9 under overload: who is being served stays served, the others are refused at once, nothing grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.claims.model import Claim, Evidence, compared
from experiments.process_load import LoadSample
from experiments.records import ScenarioRecords
from experiments.statistics import median, percentile, significant
from experiments.visitors import Kind, Visit

REFUSAL = 1.5
"""Handshakes that a refusal may take: a round trip, and others on the line."""
BEAT_S = 0.2
"""An overloaded edge says so with its next heartbeat, after 0.1 s at most; then the tables change."""
RESERVE = 1.25
"""A quarter more than the limit of requests is kept for who has been served on the same connection."""
BASELINES = {"crowd": "crowd-open", "loris": "loris-open", "loris-many": "loris-open", "readers": ""}
"""The scenarios with limits, and the same attack with limits that nothing reaches."""
WORDS = {
    "crowd": "a flash crowd",
    "loris": "a slow loris from one /64",
    "loris-many": "a slow loris, no limit of a /64",
    "readers": "readers that do not read",
}
NO_LIMITS = "no limits"


def served(evidence: Evidence) -> list[Claim]:
    """Requests on connections that were served before: those that failed, and how long they took."""
    return [
        claim
        for name, open_name in BASELINES.items()
        for claim in (_failed(evidence, name, open_name), _slower(evidence, name, open_name))
    ]


def refused(evidence: Evidence) -> list[Claim]:
    """How soon the crowd is refused, and whether it is told when to come again."""
    scenario = evidence.get("crowd")
    rows = [row for row in _of(scenario, Kind.CROWD) if row.status == 503]
    calm = [row.connect_s * 1000 for row in _within(scenario, "calm", Kind.NEWCOMER) if row.ok]
    times = [(row.ttfb_s - row.connect_s) * 1000 for row in rows]
    value = significant(median(times), 6) if times else None
    baseline = significant(percentile(calm, 95), 6) if calm else None
    late_ms = f"{percentile(times, 95):.4g} ms" if times else "none"
    silent = [row for row in rows if row.retry_after_s is None]
    claim = Claim(
        "C9",
        "median time from a request to its refusal, a flash crowd",
        value,
        "ms",
        rule=f"at most {REFUSAL:g} times the 95th percentile of handshakes in calm, and all with Retry-After",
        holds=value is not None and baseline is not None and value <= REFUSAL * baseline and not silent,
        notes=(f"{len(rows)} refusals, {len(silent)} without Retry-After; 95th percentile {late_ms}",),
        source=("raw/crowd/visits.csv",),
    )
    return [compared(claim, baseline, "handshake")]


def bounded(evidence: Evidence) -> list[Claim]:
    """The most requests and connections at once, and by how much memory grew."""
    capacity = _asked_capacity(evidence.get("crowd"))
    most_requests, most_connections = int(2 * capacity * RESERVE), 256 + _calm_connections(evidence)
    what, heads = "requests being answered at once", "connections at once, unfinished heads included"
    return [
        _most(evidence, "crowd", what, "requests", lambda row: row.requests, most_requests),
        _most(evidence, "loris", heads, "connections", lambda row: row.connections, most_connections),
        _most(
            evidence, "loris-many", heads, "connections", lambda row: row.connections, _connections(evidence)
        ),
        *(_memory(evidence, name) for name in ("crowd", "loris", "loris-many")),
    ]


def shed(evidence: Evidence) -> list[Claim]:
    """Where new users go while an edge is overloaded, and afterwards; and that no edge counts as dead."""
    scenario = evidence.get("readers")
    spans = _overloaded(scenario)
    during = [
        (row, edge)
        for edge, begin_s, end_s in spans
        for row in _of(scenario, Kind.NEWCOMER)
        if begin_s + BEAT_S <= row.started_s < end_s
    ]
    stayed = [row for row, edge in during if row.edge == edge or not row.ok]
    before = {row.user: row.edge for row in _within(scenario, "calm", Kind.NEWCOMER)}
    after = _within(scenario, "after", Kind.NEWCOMER)
    back = [row for row in after if row.ok and row.edge == before.get(row.user)]
    deaths = [
        (name, change.edge)
        for name in BASELINES
        if (found := evidence.get(name)) is not None
        for change in found.edge_states
        if change.state == "dead" and change.t_s >= _period(found, "calm")[0]
    ]
    source = ("raw/readers/visits.csv", "raw/readers/edge-states.csv")
    return [
        Claim(
            "C9",
            "new users an overloaded edge still got, or that failed",
            len(stayed) if during else None,
            "requests",
            rule=f"none from {BEAT_S:g} s after it is overloaded on, while another edge has room",
            holds=bool(during) and not stayed,
            total=len(during),
            notes=tuple(f"{edge} from {begin:.2f} to {end:.2f} s" for edge, begin, end in spans),
            source=source,
        ),
        Claim(
            "C9",
            "new users that are back at their edge after the overload",
            len(back) if after else None,
            "requests",
            rule="all of them",
            holds=bool(after) and len(back) == len(after),
            total=len(after),
            source=source,
        ),
        Claim(
            "C9",
            "edges that the controller took for dead under attack",
            len(deaths) if any(evidence.get(name) for name in BASELINES) else None,
            "edges",
            rule="none",
            holds=all(evidence.get(name) for name in BASELINES) and not deaths,
            notes=tuple(f"{edge} in {name}" for name, edge in deaths),
            source=tuple(f"raw/{name}/edge-states.csv" for name in BASELINES),
        ),
    ]


def _failed(evidence: Evidence, name: str, open_name: str) -> Claim:
    rows = _last_attempts(_attacked(evidence.get(name)))
    failed = [row for row in rows if not row.ok]
    again = sum(row.attempt > 1 for row in rows)
    claim = Claim(
        "C9",
        f"requests of served users that failed, {WORDS[name]}",
        len(failed) if rows else None,
        "requests",
        rule="none; a request on a connection that was closed while idle is made once more",
        holds=bool(rows) and not failed,
        total=len(rows),
        notes=(
            *((f"{again} were made once more",) if again else ()),
            *(f"{row.user} at {row.started_s:.3f} s: {row.error or row.status}" for row in failed[:5]),
        ),
        source=(f"raw/{name}/visits.csv",),
    )
    others = _last_attempts(_attacked(evidence.get(open_name)))
    return compared(claim, sum(not row.ok for row in others), NO_LIMITS) if others else claim


def _slower(evidence: Evidence, name: str, open_name: str) -> Claim:
    scenario, other = evidence.get(name), evidence.get(open_name)
    value = _p95_ms(_attacked(scenario))
    calm = _p95_ms(_within(scenario, "calm", Kind.REGULAR))
    handshakes = [row.connect_s * 1000 for row in _within(scenario, "calm", Kind.NEWCOMER) if row.ok]
    free = _p95_ms(_attacked(other))
    claim = Claim(
        "C9",
        f"95th percentile of served users' requests, {WORDS[name]}",
        value,
        "ms",
        rule="at most a handshake more than in calm (95th percentile): who shares the /64 may need a new one",
        holds=value is not None
        and calm is not None
        and bool(handshakes)
        and value <= calm + percentile(handshakes, 95),
        notes=(f"without limits {free:g} ms",) if free is not None else (),
        source=(f"raw/{name}/visits.csv",),
    )
    return compared(claim, calm, "calm")


def _most(
    evidence: Evidence,
    name: str,
    what: str,
    unit: str,
    of: Callable[[LoadSample], int],
    limit: int,
) -> Claim:
    value, baseline = _peak(evidence.get(name), of), _peak(evidence.get(BASELINES[name]), of)
    claim = Claim(
        "C9",
        f"most {what}, {WORDS[name]}",
        value,
        unit,
        rule=f"at most {limit}, and more without limits",
        holds=value is not None and baseline is not None and value <= limit < baseline,
        source=(f"raw/{name}/process-load.csv",),
    )
    return compared(claim, baseline, NO_LIMITS)


def _memory(evidence: Evidence, name: str) -> Claim:
    value, baseline = _growth_mb(evidence.get(name)), _growth_mb(evidence.get(BASELINES[name]))
    claim = Claim(
        "C9",
        f"memory an edge's process grows by, {WORDS[name]}",
        value,
        "MB",
        rule="less than without limits",
        holds=value is not None and baseline is not None and value < baseline,
        source=(f"raw/{name}/process-load.csv",),
    )
    return compared(claim, baseline, NO_LIMITS)


def _growth_mb(scenario: ScenarioRecords | None) -> float | None:
    """The most that one edge's resident memory grew by since the first sample."""
    first: dict[str, int] = {}
    most = 0
    for row in scenario.process_loads if scenario else ():
        most = max(most, row.rss_bytes - first.setdefault(row.edge, row.rss_bytes))
    return significant(most / 1e6, 6) if first else None


def _peak(scenario: ScenarioRecords | None, of: Callable[[LoadSample], int]) -> int | None:
    return max((of(row) for row in scenario.process_loads), default=None) if scenario else None


def _overloaded(scenario: ScenarioRecords | None) -> list[tuple[str, float, float]]:
    """Edges that got nothing new while another one did, from when until when."""
    changes = scenario.edge_states if scenario else ()
    spans = []
    for number, change in enumerate(changes):
        if change.state == "keeping":
            ends = (later.t_s for later in changes[number + 1 :] if later.edge == change.edge)
            spans.append((change.edge, change.t_s, next(ends, float("inf"))))
    return spans


def _asked_capacity(scenario: ScenarioRecords | None) -> int:
    return int(scenario.facts.get("scenario", {}).get("capacity", 0)) if scenario else 0


def _connections(evidence: Evidence) -> int:
    """The limit that the scenario gave its edges."""
    scenario = evidence.get("loris-many")
    words = list(scenario.facts.get("scenario", {}).get("edge_words", ())) if scenario else []
    return int(words[words.index("--max-connections") + 1]) if "--max-connections" in words else 0


def _calm_connections(evidence: Evidence) -> int:
    """How many connections those who mean no harm have at most."""
    rows = _of(evidence.get("loris"), Kind.REGULAR, Kind.NEWCOMER)
    return len({(row.kind, row.user, row.visitor) for row in rows})


def _period(scenario: ScenarioRecords, name: str) -> tuple[float, float]:
    found = [(row.begin_s, row.end_s) for row in scenario.periods if row.period == name]
    return found[0] if found else (0.0, 0.0)


def _of(scenario: ScenarioRecords | None, *kinds: Kind) -> list[Visit]:
    return [row for row in scenario.visits if row.kind in kinds] if scenario else []


def _within(scenario: ScenarioRecords | None, period: str, kind: Kind) -> list[Visit]:
    if scenario is None:
        return []
    begin_s, end_s = _period(scenario, period)
    return [row for row in _of(scenario, kind) if begin_s <= row.started_s < end_s]


def _attacked(scenario: ScenarioRecords | None) -> list[Visit]:
    """Requests of users who were being served, during the attack."""
    return _within(scenario, "attack", Kind.REGULAR)


def _last_attempts(rows: Sequence[Visit]) -> list[Visit]:
    """What came of each request in the end."""
    last: dict[tuple[str, int, int], Visit] = {}
    for row in rows:
        last[row.user, row.visitor, row.request] = row
    return list(last.values())


def _p95_ms(rows: Sequence[Visit]) -> float | None:
    times = [row.total_s * 1000 for row in rows if row.ok]
    return significant(percentile(times, 95), 6) if times else None
