"""C8 to C11 under attack: what came where it must not, who else noticed, whether proof and captures agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from experiments.attack.records import AttackRow
from experiments.claims.isolation import origin_census
from experiments.claims.model import Claim, Evidence, Number, compared
from experiments.loads import phase_loads
from experiments.records import Request, ScenarioRecords
from experiments.statistics import median, percentile, significant
from topologies.spec import Role, Topology

WINDOW = "attacks"
SAME = 0.01
"""Times of the two runs that differ by less are taken to be the same."""
SAME_ONCE = 0.05
"""For a single request: one or two frames of others that happened to be on the line before its own."""
STAYS = 0.01
ROWS = "raw/edge/attacks.csv"
STATE = "raw/edge/attack-state.csv"
CAPTURES = ("raw/edge/captures/attacks/", "raw/edge/attack-captures.csv")
REQUESTS = ("raw/edge/requests.csv", "raw/calm/requests.csv")
_SHOWN = 5


def _troubles(scenario: ScenarioRecords | None) -> list[str]:
    """Why the captures prove nothing."""
    if scenario is None or not scenario.attacks:
        return ["no attack was carried out"]
    counts = {row.node: row for row in scenario.attack_captures}
    found = [f"no capture of {host}" for host in scenario.topology.hosts if host not in counts]
    for host, row in counts.items():
        if row.dropped or row.written != row.seen:
            found.append(f"the capture of {host} lost frames")
        elif not row.seen:
            found.append(f"the capture of {host} saw nothing at all")
    return found


def _leaks(rows: Iterable[AttackRow], topology: Topology, *roles: Role) -> dict[str, int]:
    """Frames that came to hosts of these roles, by attack and host, of attacks that leak at all."""
    found = {}
    for row in rows:
        for item in row.arrived.split() if row.leaked else ():
            host, _, frames = item.partition(":")
            if topology.role(host) in roles:
                found[f"{row.attack} at {host}"] = int(frames)
    return found


def _leak_claim(
    evidence: Evidence, claim_id: str, statement: str, leaks: Mapping[str, int], rule: str
) -> Claim:
    scenario = evidence.get("edge")
    troubles = _troubles(scenario)
    rows = scenario.attacks if scenario else ()
    return Claim(
        claim_id,
        statement,
        sum(leaks.values()) if rows else None,
        "frames",
        rule=rule,
        holds=not leaks and not troubles,
        total=sum(row.sent for row in rows),
        notes=(*troubles, *(f"{where}: {frames}" for where, frames in list(leaks.items())[:_SHOWN])),
        source=(ROWS, *CAPTURES),
    )


def hidden_under_attack(evidence: Evidence) -> list[Claim]:
    """C8: frames at the origin, the edges' own addresses and the name server's network."""
    scenario, central = evidence.get("edge"), evidence.get("central")
    topology = evidence.topology
    rows = scenario.attacks if scenario else ()
    leaks = _leaks(rows, topology, Role.ORIGIN, Role.EDGE, Role.DNS)
    claim = _leak_claim(
        evidence,
        "C8",
        "frames of attacks at the origin or at own addresses of edges",
        leaks,
        "none of any attack, in captures at all hosts that lost nothing; floods do reach a central cloud",
    )
    baseline = origin_census(central, topology).forbidden if central else None
    if not baseline:
        claim = _broken(claim, "nothing reached the central cloud either")
    wrong = [row for row in rows if row.contradictions]
    agreement = Claim(
        "C8",
        "attacks of which tables and captures tell different stories",
        len(wrong) if rows else None,
        "attacks",
        rule="none: the hosts that got frames are those that the tables of the switches let them come to",
        holds=bool(rows) and not wrong and not _troubles(scenario),
        total=len(rows),
        notes=tuple(f"{row.attack}: {', '.join(sorted(row.contradictions))}" for row in wrong[:_SHOWN]),
        source=(ROWS, "raw/edge/snapshot-before.json", "raw/edge/snapshot-after.json", *CAPTURES),
    )
    return [compared(claim, baseline, "central"), agreement]


def _broken(claim: Claim, note: str) -> Claim:
    return replace(claim, holds=False, notes=(*claim.notes, note))


def unnoticed(evidence: Evidence) -> list[Claim]:
    """C9: what other users get, how their requests fare, and what the network knows of them."""
    scenario = evidence.get("edge")
    leaks = _leaks(scenario.attacks if scenario else (), evidence.topology, Role.USER)
    leaks = {
        where: frames for where, frames in leaks.items() if not where.endswith(f" {_attacker(scenario)}")
    }
    delivered = _leak_claim(
        evidence,
        "C9",
        "frames of attacks at other users",
        leaks,
        "none of any attack, in captures at all hosts that lost nothing",
    )
    return [
        delivered,
        *_requests(evidence),
        _large(evidence),
        _backbone(evidence),
        _state(evidence, "C9", "things the network knows of others that attacks changed"),
    ]


def _attacker(scenario: ScenarioRecords | None) -> str:
    acts = scenario.facts.get("scenario", {}).get("acts", []) if scenario else []
    return next((str(act["arguments"]["user"]) for act in acts if act["kind"] == "attack"), "")


def _of_window(scenario: ScenarioRecords | None) -> list[Request]:
    return [row for row in scenario.requests if row.window == WINDOW] if scenario else []


def _requests(evidence: Evidence) -> list[Claim]:
    scenario, calm = evidence.get("edge"), evidence.get("calm")
    rows, before = _of_window(scenario), _of_window(calm)
    failed = [row for row in rows if not row.ok]
    edges = {row.user: row.edge for row in before if row.ok}
    moved = [row for row in rows if row.ok and row.edge != edges.get(row.user)]
    notes = [f"{row.user} at {row.started_s:.3f} s: {row.error or row.status}" for row in failed[:_SHOWN]]
    notes += [f"{row.user} at {row.started_s:.3f} s: answered by {row.edge}" for row in moved[:_SHOWN]]
    losses = Claim(
        "C9",
        "requests of other users that failed during the attacks",
        len(failed) if rows else None,
        "requests",
        rule="none, and each was answered by the edge that answers without attacks",
        holds=bool(rows) and bool(before) and not failed and not moved,
        total=len(rows),
        notes=tuple(notes),
        source=REQUESTS,
    )
    calm_failed = len([row for row in before if not row.ok]) if before else None
    topology, attacker = evidence.topology, _attacker(scenario)
    own = topology.ports[attacker][0].peer if attacker else ""
    near = {user for user in topology.of_role(Role.USER) if topology.ports[user][0].peer == own} - {attacker}

    def times(requests: Sequence[Request], users: set[str] | None = None) -> list[float]:
        return [row.total_s * 1000 for row in requests if row.ok and (users is None or row.user in users)]

    claims = [
        compared(losses, calm_failed, "calm"),
        _time("median time of other users' requests", times(rows), times(before), 50),
        _time("95th percentile of other users' requests", times(rows), times(before), 95),
    ]
    if near:
        statement = "slowest request of users on the attacker's own switch"
        slowest = _time(statement, times(rows, near), times(before, near), 100, SAME_ONCE)
        claims.append(
            slowest
            if slowest.holds
            else replace(
                slowest, notes=_slow(scenario, [row for row in rows if row.user in near], slowest.baseline)
            )
        )
    return claims


def _slow(
    scenario: ScenarioRecords | None, rows: Sequence[Request], usual_ms: Number | None
) -> tuple[str, ...]:
    """The first requests that took longer than usual, and the attacks that had begun."""
    late = [row for row in rows if usual_ms is not None and row.total_s * 1000 > usual_ms * (1 + SAME)]
    begun = sorted((row.begin_s, row.attack) for row in (scenario.attacks if scenario else ()))

    def after(request: Request) -> str:
        return next((name for begin_s, name in reversed(begun) if begin_s <= request.started_s), "no attack")

    return tuple(
        f"{row.user} at {row.started_s:.3f} s, after the begin of {after(row)}" for row in late[:_SHOWN]
    )


def _large(evidence: Evidence) -> Claim:
    """Datagrams that need fragments."""
    scenario = evidence.get("edge")
    rows = scenario.attacks if scenario else ()
    lost = [row for row in rows if row.large_received < row.large_sent]
    sent = sum(row.large_sent for row in rows)
    return Claim(
        "C9",
        "datagrams of several fragments that other users lost during the attacks",
        sum(row.large_sent - row.large_received for row in lost) if sent else None,
        "datagrams",
        rule="none, one sent after each attack",
        holds=sent > 0 and not lost,
        total=sent,
        notes=tuple(f"after {row.attack}" for row in lost[:_SHOWN]),
        source=(ROWS,),
    )


def _time(
    statement: str, times_ms: Sequence[float], calm_ms: Sequence[float], percent: int, same: float = SAME
) -> Claim:
    pick = median if percent == 50 else lambda values: percentile(values, percent)
    value = significant(pick(times_ms), 6) if times_ms else None
    baseline = significant(pick(calm_ms), 6) if calm_ms else None
    claim = Claim(
        "C9",
        statement,
        value,
        "ms",
        rule=f"at most {same:.0%} more than without attacks",
        holds=value is not None and baseline is not None and value <= baseline * (1 + same),
        source=REQUESTS,
    )
    return compared(claim, baseline, "calm")


def _backbone(evidence: Evidence) -> Claim:
    """Bytes between switches while the service is flooded."""
    scenario, central = evidence.get("edge"), evidence.get("central")
    value, baseline = _between_switches(scenario), _between_switches(central)
    claim = Claim(
        "C9",
        "bytes between switches while the service is flooded",
        value,
        "bytes",
        rule=f"less than {STAYS:.0%} of what the same floods of a central cloud put there",
        holds=value is not None and bool(baseline) and value < STAYS * (baseline or 0),
        source=("raw/edge/links.csv", "raw/central/links.csv"),
    )
    return compared(claim, baseline, "central")


def _between_switches(scenario: ScenarioRecords | None) -> Number | None:
    acts = scenario.facts.get("scenario", {}).get("acts", []) if scenario else []
    phases = [phase for act in acts for phase in act["arguments"].get("measured", ())]
    loads = [
        load
        for phase in phases
        for load in (phase_loads(scenario.links, phase).values() if scenario else ())
        if load.layer in (Role.CORE, Role.DISTRIBUTION)
    ]
    return sum(load.bytes for load in loads) if loads else None


def _state(evidence: Evidence, claim_id: str, statement: str) -> Claim:
    scenario = evidence.get("edge")
    states = [row for row in (scenario.attack_states if scenario else ()) if row.claim == claim_id]
    harmed = [row for row in states if not row.is_unharmed]
    return Claim(
        claim_id,
        statement,
        len(harmed) if states else None,
        "things",
        rule="none: " + ", ".join(row.what for row in states),
        holds=bool(states) and not harmed,
        total=len(states),
        notes=tuple(
            f"{row.what}: {row.before or 'none'} before, {row.after or 'none'} after" for row in harmed
        ),
        source=(STATE,),
    )


def no_injection(evidence: Evidence) -> list[Claim]:
    """C10: what the attacker sends to groups, and what it hears of groups that it joins."""
    scenario = evidence.get("edge")
    rows = scenario.attacks if scenario else ()
    topology, attacker = evidence.topology, _attacker(scenario)
    sent = [row for row in rows if row.claim == "C10"]
    everywhere = _leaks(sent, topology, *Role)
    heard = {
        where: frames
        for where, frames in _leaks(rows, topology, Role.USER).items()
        if where.endswith(f" {attacker}")
    }
    joined = any(row.allowed for row in sent)
    leaks = everywhere | heard
    claim = _leak_claim(
        evidence,
        "C10",
        "frames sent to groups that came anywhere, or of groups of limited scope that the attacker heard",
        leaks,
        "none, although its kernel joins the groups while the origin sends to them and the edges hear it",
    )
    if not joined:
        claim = _broken(claim, "the edges heard nothing of the groups either")
    return [claim, _state(evidence, "C10", "memberships that attacks changed")]


def hidden_routers_under_attack(evidence: Evidence) -> list[Claim]:
    """C11: routers that answer, besides the own gateway."""
    return [_state(evidence, "C11", "signs of routers other than the own gateway")]
