"""C10: where multicast of each scope arrives. C4: regional content, and users bound to an edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address

from experiments.claims.failover import steps_of
from experiments.claims.model import Claim, Evidence, compared
from experiments.loads import phase_loads
from experiments.records import Delivery, ScenarioRecords
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

REALM, ADMIN, WORLD = 3, 4, 14
WINDOW = "bind"
GROUPS = ("raw/edge/groups.csv",)


def scope_of(group: str) -> int:
    """The scope of a multicast address (RFC 4291 section 2.7)."""
    return IPv6Address(group).packed[1] & 0x0F


def area(topology: Topology, host: str) -> frozenset[str]:
    """The switches that hang together with a host's own without the core: its distribution area."""
    found: set[str] = set()
    waiting = [topology.ports[host][0].peer]
    while waiting:
        switch = waiting.pop()
        if switch in found:
            continue
        found.add(switch)
        if topology.role(switch) is not Role.CORE:
            peers = (port.peer for port in topology.ports[switch])
            waiting += [peer for peer in peers if topology.role(peer) in (Role.DISTRIBUTION, Role.ACCESS)]
    return frozenset(found)


def is_allowed(topology: Topology, group: str, sender: str, receiver: str) -> bool:
    """Whether what a sender of the infrastructure sends to a group may arrive at a receiver that joined."""
    scope = scope_of(group)
    if topology.role(receiver) is Role.USER:
        return scope == WORLD
    if scope == REALM:
        return topology.ports[sender][0].peer == topology.ports[receiver][0].peer
    return scope != ADMIN or area(topology, sender) == area(topology, receiver)


def _split(topology: Topology, rows: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """Deliveries that crossed a zone's end, and those that should have come whole and did not."""
    allowed = [is_allowed(topology, row.group, row.sender, row.receiver) for row in rows]
    strays = [row for row, may in zip(rows, allowed, strict=True) if row.received and not may]
    missing = [row for row, may in zip(rows, allowed, strict=True) if may and row.received != row.sent]
    return strays, missing


def zones(evidence: Evidence) -> list[Claim]:
    """Deliveries beyond the zone of a scope, deliveries that are missing within it, and users that joined."""
    scenario = evidence.get("edge")
    rows = scenario.deliveries if scenario else ()
    topology = scenario.topology if scenario else evidence.topology
    strays, missing = _split(topology, rows)
    scopes = Counter(scope_of(row.group) for row in rows if row.received)
    users = [row for row in rows if topology.role(row.receiver) is Role.USER]
    limited = [row for row in users if scope_of(row.group) != WORLD]
    reached = {row.receiver for row in limited if row.received}
    unscoped = {row.receiver for row in users if scope_of(row.group) == WORLD and row.received}
    first = Claim(
        "C10",
        "deliveries beyond the zone of their scope",
        len(strays) if rows else None,
        "deliveries",
        rule="none, of every sender, group and host that joined it",
        holds=bool(rows) and not strays,
        total=len(rows),
        notes=tuple(f"{row.group} from {row.sender} at {row.receiver}" for row in strays[:5]),
        source=GROUPS,
    )
    second = Claim(
        "C10",
        "deliveries missing within the zone of their scope",
        len(missing) if rows else None,
        "deliveries",
        rule="none",
        holds=bool(rows) and not missing,
        total=len(rows),
        notes=(
            *(f"{row.group} from {row.sender} at {row.receiver}" for row in missing[:5]),
            *(f"scope {scope:x}: {count} deliveries" for scope, count in sorted(scopes.items())),
        ),
        source=GROUPS,
    )
    third = Claim(
        "C10",
        "users who hear a group of limited scope after joining it",
        len(reached) if limited else None,
        "users",
        rule="none, although all of them join; and they do hear the global groups",
        holds=bool(limited) and not reached and bool(unscoped),
        total=len({row.receiver for row in users}),
        source=GROUPS,
    )
    return [first, second, compared(third, len(unscoped) if users else None, "global scope")]


def _core_bytes(scenario: ScenarioRecords | None, phase: str) -> int | None:
    loads = phase_loads(scenario.links, phase).values() if scenario else ()
    core = [load.bytes for load in loads if load.layer == Role.CORE]
    return sum(core) if core else None


def regional_content(evidence: Evidence) -> list[Claim]:
    """Bytes on the core links while content of one region is sent, and who got it. No claim for a network
    that is one region as a whole."""
    scenario = evidence.get("edge")
    value, baseline = _core_bytes(scenario, "regional"), _core_bytes(scenario, "site-wide")
    topology = scenario.topology if scenario else evidence.topology
    if len({area(topology, edge) for edge in topology.of_role(Role.EDGE)}) == 1:
        return []
    asked = scenario.facts.get("scenario", {}).get("acts", []) if scenario else []
    groups = [act["arguments"]["groups"][0] for act in asked if act["arguments"].get("phase") == "regional"]
    rows = [row for row in (scenario.deliveries if scenario else ()) if row.group in groups]
    wanted = [row for row in rows if is_allowed(topology, row.group, row.sender, row.receiver)]
    whole = [row for row in wanted if row.received == row.sent]
    claim = Claim(
        "C4",
        "bytes on the core links for content of one region",
        value,
        "bytes",
        rule="none, and every edge of the region that joined has all of it",
        holds=value == 0 and bool(wanted) and len(whole) == len(wanted) and bool(baseline),
        notes=(f"{len(whole)} of {len(wanted)} other edges of the region have all of it",),
        source=("raw/edge/links.csv", *GROUPS),
    )
    return [compared(claim, baseline, "site-wide")]


def bound_user(evidence: Evidence) -> list[Claim]:
    """Answers from the edge that a user is bound to, and from the nearest before and after."""
    scenario = evidence.get("edge")
    rows = [row for row in scenario.requests if row.window == WINDOW] if scenario else []
    steps = steps_of(scenario, WINDOW)
    begin, end = (next((step for step in steps if step.is_break is kind), None) for kind in (True, False))
    topology = scenario.topology if scenario else evidence.topology
    off = scenario.facts.get("scenario", {}).get("off", ()) if scenario else ()
    nearest = nearest_edges(topology, [edge for edge in topology.of_role(Role.EDGE) if edge not in off])
    right = judged = 0
    wrong = []
    for row in rows if begin and end else ():
        assert begin is not None
        assert end is not None
        wanted: tuple[str, ...] = ()
        if row.started_s < begin.t_s or row.started_s > end.done_s:
            wanted = nearest[row.user].equally_near
        elif begin.done_s < row.started_s < end.t_s:
            wanted = (begin.target.split()[1],)
        if wanted:
            judged += 1
            right += row.ok and row.edge in wanted
            if not (row.ok and row.edge in wanted):
                wrong.append(f"{row.user} at {row.started_s:.3f} s: {row.edge or row.error}")
    return [
        Claim(
            "C4",
            "answers from the edge that a policy names, and from the nearest without one",
            right,
            "answers",
            rule="all requests but those made while the policy changes",
            holds=judged > 0 and right == judged,
            total=judged,
            notes=(
                *(
                    f"bound: {begin.target}, {begin.done_s:.3f} s to {end.t_s:.3f} s"
                    for _ in (0,)
                    if begin and end
                ),
                *wrong[:5],
            ),
            source=("raw/edge/requests.csv", "raw/edge/faults.csv"),
        )
    ]
