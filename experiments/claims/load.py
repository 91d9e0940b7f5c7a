"""C2 and C3: what user requests and the sync of the edges cost the backbone."""

from __future__ import annotations

from dataclasses import replace

from experiments.claims.model import Claim, Evidence, compared
from experiments.loads import content_bytes, most_loaded, phase_loads
from experiments.records import ScenarioRecords
from experiments.statistics import significant
from topologies.spec import Role

REQUESTS_RATIO = 0.1
CLEAN_LIMIT = 1.15
LOSSY_LIMIT = 1.25


def core_bytes(scenario: ScenarioRecords | None, phase: str = "requests") -> int | None:
    """Bytes on all links of the core layer, both directions, in a phase; None without samples."""
    if scenario is None:
        return None
    loads = phase_loads(scenario.links, phase).values()
    core = [load.bytes for load in loads if load.layer == Role.CORE]
    return sum(core) if core else None


def user_requests(evidence: Evidence) -> list[Claim]:
    """C2: backbone load of user requests, edges against the central cloud."""
    values = {name: core_bytes(evidence.get(name)) for name in ("edge", "central")}
    notes = tuple(
        f"no samples of phase requests in raw/{name}/links.csv"
        for name, value in values.items()
        if value is None
    )
    claim = Claim(
        "C2",
        "bytes on the core links for user requests",
        values["edge"],
        "bytes",
        rule=f"less than {REQUESTS_RATIO:g} of the central cloud's",
        holds=False,
        notes=notes,
        source=("raw/edge/links.csv", "raw/central/links.csv"),
    )
    claim = compared(claim, values["central"], "central")
    return [replace(claim, holds=claim.ratio is not None and claim.ratio < REQUESTS_RATIO)]


def most_loaded_share(scenario: ScenarioRecords | None) -> float | None:
    """Bytes sent over the most-loaded backbone link while content is published, per byte of content."""
    if scenario is None:
        return None
    found = most_loaded(scenario.topology, phase_loads(scenario.links, "publish"))
    size = content_bytes(scenario)
    return None if found is None or size is None else significant(found[1] / size, 9)


def sync_copies(evidence: Evidence) -> list[Claim]:
    """C3: copies of the content on the most-loaded backbone link, one claim for each scenario with edges
    kept in sync by multicast (`edge`, `edge-loss2` …), against unicast push."""
    names = [name for name in evidence.scenarios if name.startswith("edge-")]
    return [_copies(evidence, name) for name in ["edge", *sorted(names)]]


def _copies(evidence: Evidence, name: str) -> Claim:
    scenario, push = evidence.get(name), evidence.get("push")
    share = most_loaded_share(scenario)
    loss = max((link.loss_percent for link in scenario.topology.links), default=0.0) if scenario else 0.0
    limit = LOSSY_LIMIT if loss > 0 else CLEAN_LIMIT
    notes = _incomplete(evidence, scenario)
    if share is None:
        notes.append(f"no content size or no samples of phase publish in raw/{name}")
    if scenario is not None:
        found = most_loaded(scenario.topology, phase_loads(scenario.links, "publish"))
        if found is not None:
            notes.append(
                f"most loaded: {found[0].source} to {found[0].target}, {found[0].drops} packets lost there"
            )
    claim = Claim(
        "C3",
        "most-loaded backbone link" + (f" at {loss:g} % loss" if loss > 0 else ""),
        share,
        "bytes / content size",
        rule=f"at most {limit:g}, every file on every edge bit-identical",
        holds=share is not None and share <= limit and not _incomplete(evidence, scenario),
        notes=tuple(notes),
        source=(f"raw/{name}/links.csv", f"raw/{name}/sync.csv", "raw/push/links.csv", "raw/push/sync.csv"),
    )
    return compared(claim, most_loaded_share(push), "unicast push")


def _incomplete(evidence: Evidence, scenario: ScenarioRecords | None) -> list[str]:
    if scenario is None:
        return []
    wanted = [edge for edge in scenario.topology.of_role(Role.EDGE) if edge not in evidence.off]
    identical = {row.edge for row in scenario.sync if row.identical}
    missing = [edge for edge in wanted if edge not in identical]
    return [f"not bit-identical on {', '.join(missing)}"] if missing else []
