"""C1 and C2 for crowds of users: edges against the central cloud and against caches, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from experiments.claims.load import REQUESTS_RATIO, core_bytes
from experiments.claims.model import Claim, Evidence, Interval, compared
from experiments.crowds import crowd_name, crowd_sizes
from experiments.loads import phase_loads
from experiments.records import Request, ScenarioRecords
from experiments.statistics import (
    RESAMPLES,
    Counts,
    Estimates,
    interval,
    percentile,
    resampled_clusters,
    resampled_percentiles,
    resampled_sums,
    significant,
)
from topologies.graph import path_links, shortest_path_tree
from topologies.spec import Role

CENTRAL, CACHE = "central", "cache"
BASELINES = {CENTRAL: "central", CACHE: "cold caches"}
NEAR = 0.01
"""A cache that has an object is as near as an edge; by how much the medians may differ then."""
_PERCENTILES = ((50.0, "median time to first byte"), (95.0, "95th percentile time to first byte"))


@dataclass(frozen=True)
class Figure:
    """A number, and what it is in each resample."""

    value: float | None
    estimates: Estimates | None = None


def crowds(evidence: Evidence) -> list[Claim]:
    """For each crowd and each baseline: median and 95th percentile of the time to first byte (C1), and bytes
    on the core links (C2)."""
    claims = []
    for size in crowd_sizes(evidence.topology):
        counts = resampled_clusters(size)
        for name in BASELINES:
            claims += [_first_byte(evidence, size, counts, name, *what) for what in _PERCENTILES]
            claims.append(_core_load(evidence, size, counts, name))
    return claims


def by_user(
    records: ScenarioRecords | None, size: int, measure: Callable[[Request], float]
) -> list[list[float]]:
    """A number for each answered request of a crowd, user by user."""
    if records is None:
        return []
    found: dict[str, list[float]] = {user: [] for user in _members(records, size)}
    for row in records.requests:
        if row.window == crowd_name(size) and row.ok and row.user in found:
            found[row.user].append(measure(row))
    return list(found.values())


def first_byte_ms(row: Request) -> float:
    """From the start of a request to the first byte of its answer, connect included."""
    return row.ttfb_s * 1000


def total_ms(row: Request) -> float:
    """From the start of a request to the last byte of its answer."""
    return row.total_s * 1000


def _members(records: ScenarioRecords, size: int) -> tuple[str, ...]:
    return records.topology.of_role(Role.USER)[:size]


def _first_byte(
    evidence: Evidence, size: int, counts: Counts, name: str, percent: float, statement: str
) -> Claim:
    figures = []
    for scenario in ("edge", name):
        groups = by_user(evidence.get(scenario), size, first_byte_ms)
        values = [value for group in groups for value in group]
        figures.append(
            Figure(percentile(values, percent), resampled_percentiles(groups, counts, percent))
            if values
            else Figure(None)
        )
    claim = Claim(
        "C1",
        _titled(statement, size, name),
        None,
        "ms",
        rule=f"the interval of the ratio ends {_limit(percent, name)[1]}, every request answered",
        holds=False,
        notes=(*_troubles(evidence, size, name), _method(size)),
        source=tuple(f"raw/{scenario}/requests.csv" for scenario in ("edge", name)),
    )
    claim = with_intervals(claim, figures[0], figures[1], BASELINES[name])
    is_below = claim.ratio_interval is not None and claim.ratio_interval[1] < _limit(percent, name)[0]
    return replace(claim, holds=is_below and not _troubles(evidence, size, name))


def _limit(percent: float, name: str) -> tuple[float, str]:
    """What the ratio has to be below, and in words. Half of what users ask for may be in a cache already."""
    return (1 + NEAR, f"below {1 + NEAR:g}") if name == CACHE and percent == 50 else (1.0, "below 1")


def _core_load(evidence: Evidence, size: int, counts: Counts, name: str) -> Claim:
    """The intervals are those of the users' share in the bytes that were counted."""
    figures = [_core_figure(evidence.get(scenario), size, counts) for scenario in ("edge", name)]
    missing = [
        f"no samples of phase {crowd_name(size)} in raw/{scenario}/links.csv"
        for scenario, figure in zip(("edge", name), figures, strict=True)
        if figure.value is None
    ]
    claim = Claim(
        "C2",
        _titled("bytes on the core links for user requests", size, name),
        None,
        "bytes",
        rule=f"less than {REQUESTS_RATIO:g} of the baseline's, every request answered",
        holds=False,
        notes=(*missing, *_troubles(evidence, size, name), _method(size)),
        source=tuple(f"raw/{scenario}/links.csv" for scenario in ("edge", name)),
    )
    claim = with_intervals(claim, figures[0], figures[1], BASELINES[name])
    is_less = claim.ratio is not None and claim.ratio < REQUESTS_RATIO
    return replace(claim, holds=is_less and not _troubles(evidence, size, name))


def with_intervals(claim: Claim, own: Figure, other: Figure, name: str) -> Claim:
    """The claim with both numbers, their ratio, and the interval of each."""
    value = _tidy(own.value)
    claim = compared(replace(claim, value=value), _tidy(other.value), name)
    ratios = None
    if own.estimates is not None and other.estimates is not None and other.estimates.all():
        ratios = own.estimates / other.estimates
    return replace(
        claim,
        interval=_interval(own.estimates),
        baseline_interval=_interval(other.estimates),
        ratio_interval=_interval(ratios),
    )


def _tidy(value: float | None) -> float | int | None:
    return value if value is None or isinstance(value, int) else significant(value, 9)


def _interval(estimates: Estimates | None) -> Interval | None:
    found = None if estimates is None else interval(estimates)
    return None if found is None else (significant(found[0], 9), significant(found[1], 9))


def _core_figure(records: ScenarioRecords | None, size: int, counts: Counts) -> Figure:
    """What was counted on the core links; in a resample what its users account for, and what nobody does.

    A user accounts for the bytes on its own link, once for each core link between it and who answers it.
    Behind a cache nobody can tell: there are no estimates.
    """
    total = core_bytes(records, crowd_name(size))
    if records is None or total is None or records.name == CACHE:
        return Figure(total)
    loads = phase_loads(records.links, crowd_name(size))
    crossings = _core_crossings(records, size)
    shares = []
    for user, crossed in crossings.items():
        port = records.topology.ports[user][0]
        both = ((user, port.peer), (port.peer, user))
        shares.append(crossed * sum(loads[way].bytes for way in both if way in loads))
    return Figure(total, resampled_sums(shares, counts) + (total - sum(shares)))


def _core_crossings(records: ScenarioRecords, size: int) -> dict[str, int]:
    """How many core links lie between each user of a crowd and the host that answered it first."""
    answering: dict[str, str] = {}
    for row in records.requests:
        if row.window == crowd_name(size) and row.ok:
            answering.setdefault(row.user, row.edge)
    topology = records.topology
    trees = {host: shortest_path_tree(topology, host) for host in set(answering.values())}
    found = {}
    for user in _members(records, size):
        host = answering.get(user)
        links = path_links(topology, trees[host].path(user)) if host else ()
        found[user] = sum(topology.link_layer(link) == Role.CORE for link in links)
    return found


def _titled(statement: str, size: int, name: str) -> str:
    against = "" if name == CENTRAL else f" against {BASELINES[name]}"
    return f"{statement}{against}, {size} users"


def _method(size: int) -> str:
    return f"intervals: bootstrap over {size} users, {RESAMPLES:,} resamples"


def _troubles(evidence: Evidence, size: int, name: str) -> list[str]:
    """Why the two cannot be compared."""
    notes = []
    asked = []
    for scenario in ("edge", name):
        records = evidence.get(scenario)
        rows: Sequence[Request] = [
            row for row in (records.requests if records else ()) if row.window == crowd_name(size)
        ]
        if not rows:
            notes.append(f"no requests of {size} users in raw/{scenario}/requests.csv")
        failed = sum(not row.ok for row in rows)
        if failed:
            notes.append(f"{failed} of {len(rows)} requests failed in {scenario}")
        asked.append(sorted((row.user, row.path) for row in rows))
    if asked[0] != asked[1]:
        notes.append(f"users did not ask for the same in edge and {name}")
    return notes
