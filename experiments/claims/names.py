"""C5 and C13: how users find the edges, one anycast address against an address for each edge and geo-DNS."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.openflow.snapshot import load_snapshot
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Prefix
from experiments.acts.names import LAST_ADDRESS
from experiments.claims.model import Claim, Evidence, Number, compared
from experiments.claims.service import nearest_claim
from experiments.ipv4_plan import ipv4_plan
from experiments.names_config import NameCount
from experiments.records import ScenarioRecords
from experiments.scenario import MOMENTS
from experiments.statistics import significant
from topologies.addressing import EDGE_PREFIX, plan_addresses
from topologies.graph import nearest_edges
from topologies.spec import Role

BASELINE = "geo-DNS"
LIMIT_MS = 300.0
"""The controller misses the heartbeats of an edge that was killed; a port that is down is seen at once."""
LATE_S = 1.0
"""A SYN that got no answer is sent again after a second: such a request waited, though it was answered."""
_WORDS = {"kill": "its process is killed", "unplug": "its machine is unplugged"}


def at_nearest(scenario: ScenarioRecords | None) -> dict[str, bool]:
    """For every user: whether it asked in calm times and each answer came from its nearest edge."""
    if scenario is None:
        return {}
    nearest = nearest_edges(scenario.topology)
    rows = [row for row in scenario.requests if row.window == "nearest"]
    return {
        user: user in nearest
        and any(row.user == user for row in rows)
        and all(row.ok and row.edge in nearest[user].equally_near for row in rows if row.user == user)
        for user in scenario.topology.of_role(Role.USER)
    }


def longest_waits_s(scenario: ScenarioRecords | None, window: str) -> dict[str, float]:
    """For every user who asked in a window: the longest time from a request that failed, or took a second,
    until the answer to it or to a later one, whichever came first; until the last request of all where none
    came any more. None of these: 0."""
    waits: dict[str, float] = {}
    rows = [row for row in scenario.requests if row.window == window] if scenario else []
    for user in dict.fromkeys(row.user for row in rows):
        own = sorted((row for row in rows if row.user == user), key=lambda row: -row.started_s)
        came_s = own[0].started_s
        waits[user] = 0.0
        for number, row in enumerate(own):
            if row.ok:
                came_s = row.ended_s if number == 0 else min(came_s, row.ended_s)
            if not row.ok or row.total_s >= LATE_S:
                waits[user] = max(waits[user], came_s - row.started_s)
    return waits


def found(evidence: Evidence) -> list[Claim]:
    """C5: users at their nearest edge, and the addresses that they were told."""
    edge, geo = evidence.get("edge"), evidence.get("geo")
    users, other = at_nearest(edge), at_nearest(geo)
    near = nearest_claim(users, ("raw/edge/requests.csv", "raw/geo/requests.csv"))
    told = _addresses(edge)
    resolutions = edge.resolutions if edge else ()
    addresses = Claim(
        "C5",
        "addresses of the service that users were told",
        len(told) if resolutions else None,
        "addresses",
        rule="one, in one record of an authoritative answer, to every user",
        holds=len(told) == 1
        and all(row.records == 1 and row.is_authoritative for row in resolutions)
        and {row.user for row in resolutions} == set(users),
        notes=(f"{len(resolutions)} queries: {', '.join(sorted(told))}",),
        source=("raw/edge/resolutions.csv", "raw/geo/resolutions.csv"),
    )
    return [
        compared(near, sum(other.values()) if other else None, BASELINE),
        compared(addresses, len(_addresses(geo)) or None, BASELINE),
    ]


def _addresses(scenario: ScenarioRecords | None) -> set[str]:
    return {row.address for row in (scenario.resolutions if scenario else ())}


def waited(evidence: Evidence) -> list[Claim]:
    """C5: how long users of an edge that is gone are without an answer."""
    claims = []
    for window, words in _WORDS.items():
        longest, notes = {}, []
        for name, way in (("edge", "anycast"), ("geo", BASELINE)):
            waits = longest_waits_s(evidence.get(name), window)
            if waits:
                longest[name] = significant(max(waits.values()) * 1000, 6)
                notes.append(f"{_failed(evidence.get(name), window)} with {way}")
        value = longest.get("edge")
        claim = Claim(
            "C5",
            f"longest time without an answer when {words}",
            value,
            "ms",
            rule=f"at most {LIMIT_MS:g} ms for every user of that edge, who asks every 20 ms at first, and"
            " less than with geo-DNS",
            holds=value is not None and value <= LIMIT_MS and value < longest.get("geo", 0.0),
            notes=(
                f"failed requests: {', '.join(notes)}",
                "users of geo-DNS have asked half a second before, and the name server knows at once: nearly"
                " one TTL is left, half of one on average; to notice would come on top",
            ),
            source=tuple(f"raw/{name}/requests.csv" for name in longest),
        )
        claims.append(compared(claim, longest.get("geo"), BASELINE))
    return claims


def _failed(scenario: ScenarioRecords | None, window: str) -> str:
    rows = [row for row in (scenario.requests if scenario else ()) if row.window == window]
    return f"{sum(not row.ok for row in rows)} of {len(rows)}"


def counted(evidence: Evidence) -> list[Claim]:
    """C13: what the name server and the switches have to be told."""
    edge, geo = (_here(evidence.get(name)) for name in ("edge", "geo"))
    source = ("raw/edge/names.csv", "raw/geo/names.csv")
    parts: tuple[tuple[str, str, str, int], ...] = (
        ("addresses", "addresses that the service takes", "addresses", 1),
        ("records", "address records of the service", "records", 1),
        ("lines", "lines of the name server's configuration", "lines", 4),
        ("changed_lines", "lines of it that change with one more edge", "lines", 0),
    )
    claims = []
    for name, statement, unit, wanted in parts:
        value, other = (getattr(row, name) if row else None for row in (edge, geo))
        rule = f"{wanted}, whatever the number of edges from 1 to 64"
        is_level = _is_level(evidence.get("edge"), name, wanted)
        claim = Claim("C13", statement, value, unit, rule, value == wanted and is_level, source=source)
        if name == "lines":
            files = ("raw/edge/dns", "raw/geo/dns")
            claim = replace(claim, notes=("the files, for gdnsd 3: " + " and ".join(files),))
        claims.append(compared(claim, other, BASELINE))
    return [*claims, _routes(evidence)]


def _here(scenario: ScenarioRecords | None) -> NameCount | None:
    """The counts for the edges of the topology itself."""
    return scenario.name_counts[0] if scenario and scenario.name_counts else None


def _is_level(scenario: ScenarioRecords | None, name: str, wanted: int) -> bool:
    rows = [row for row in (scenario.name_counts if scenario else ()) if row.way == "anycast"]
    return bool(rows) and all(getattr(row, name) == wanted for row in rows)


@dataclass(frozen=True, slots=True)
class Held:
    """How many rules of all switches are for the addresses by which users find edges: routes, and all."""

    routes: int
    rules: int


def held(scenario: ScenarioRecords | None) -> Held | None:
    """What the switches held before anything was measured; None without a snapshot."""
    path = scenario.folder / MOMENTS["before"] if scenario else None
    if scenario is None or path is None or not path.exists():
        return None
    plan = plan_addresses(scenario.topology)
    own = set(map(int, plan.edge_addresses.values())) or {int(plan.service)}
    rules = [
        rule
        for switch in load_snapshot(path).held.values()
        for rule in switch.tables.rules.values()
        if _names(rule.match.ipv6_src, own) or _names(rule.match.ipv6_dst, own)
    ]
    routes = [rule for rule in rules if rule.table is TableId.UNICAST and rule.origin is not Origin.PIN]
    return Held(len(routes), len(rules))


def _names(prefix: Prefix | None, addresses: set[int]) -> bool:
    """Whether a prefix is for some of these addresses and for nothing else of the network."""
    is_narrow = prefix is not None and prefix.length > EDGE_PREFIX.prefixlen
    return prefix is not None and is_narrow and any(map(prefix.covers, addresses))


def _routes(evidence: Evidence) -> Claim:
    edge, geo = held(evidence.get("edge")), held(evidence.get("geo"))
    switches = len(evidence.topology.switches)
    notes = []
    if edge and geo:
        notes.append(
            f"all rules with these addresses: {edge.rules}, those that keep a connection at its edge among"
            f" them; {geo.rules} with geo-DNS, where nothing has to be kept"
        )
    claim = Claim(
        "C13",
        "routes of all switches to the service's addresses",
        edge.routes if edge else None,
        "routes",
        rule="one for each switch",
        holds=edge is not None and edge.routes == switches,
        notes=tuple(notes),
        source=(f"raw/edge/{MOMENTS['before']}", f"raw/geo/{MOMENTS['before']}"),
    )
    return compared(claim, geo.routes if geo else None, BASELINE)


def numbered(evidence: Evidence) -> list[Claim]:
    """C13: what subnets and routers take, against the IPv4 plan of the same network."""
    edge = evidence.get("edge")
    subnets = edge.ipv4 if edge else ()
    plan, other = plan_addresses(evidence.topology), ipv4_plan(evidence.topology)
    lost: Number | None = sum(subnet.lost for subnet in subnets) if subnets else None
    total = lost and lost + sum(subnet.hosts for subnet in subnets)
    first = Claim(
        "C13",
        "addresses for routers, for subnets themselves and for broadcast, or left over",
        len(plan.router_addresses),
        "addresses",
        rule="none; more in the IPv4 plan of the same network",
        holds=not plan.router_addresses and bool(lost),
        notes=(
            f"IPv4 is a plan and not measured: {lost} of {total} addresses of its subnets; besides"
            f" {len(other.records)} public addresses of edges, or {len(other.port_maps)} port maps, and"
            f" {len(other.pools)} public addresses for users",
            "of each /64 the first address is the routers' anycast address (RFC 4291 section 2.6.1)",
        ),
        source=("raw/edge/ipv4.csv", "raw/edge/ipv4-plan.txt"),
    )
    rows = [row for row in (edge.requests if edge else ()) if row.window == LAST_ADDRESS]
    last = {str(prefix[-1]) for prefix in plan.user_prefixes.values()}
    answered = [row for row in rows if row.ok and row.source in last]
    second = Claim(
        "C13",
        "users answered at the last address of their subnet, which is for broadcast in IPv4",
        len(answered),
        "users",
        rule="the one who tried",
        holds=bool(rows) and len(answered) == len(rows),
        total=len(rows),
        notes=tuple(sorted({row.source for row in answered})),
        source=("raw/edge/requests.csv",),
    )
    return [compared(first, lost, "IPv4 plan"), second]
