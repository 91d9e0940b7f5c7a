"""C7: a live channel takes the paths to the edges where somebody watches it, and no others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from experiments.claims.model import Claim, Evidence, compared
from experiments.offering import SEGMENT_S
from experiments.records import ScenarioRecords
from experiments.statistics import significant
from experiments.stream_loads import (
    bytes_by_direction,
    chosen,
    phases_of,
    tree,
    watching,
    zap_ms,
)
from experiments.stream_records import Branch
from experiments.streams import MULTICAST
from topologies.spec import Role

NOBODY, ONE, SEVERAL = ("nobody", "nobody-again"), ("one", "one-again"), ("several",)
COLD, WARM = ("cold", "graft"), ("warm",)
ZAP_RATIO = 1.25
JOIN_LIMIT_MS = 100.0
PRUNE_LIMIT_MS = 2100.0
"""Two last listener queries, a second apart (RFC 9777 sections 9.8 and 9.9), and the way there."""
POLL_S = 0.1
"""How often the origin looks for a new segment."""
STREAMS, VIEWING, BRANCHES = "streams.csv", "viewing.csv", "branches.csv"


def channels(evidence: Evidence) -> list[Claim]:
    """All claims about channels, in the order of the table."""
    return [
        _unwatched(evidence),
        _one_path(evidence),
        _union(evidence),
        _zap(evidence, "first viewer of an edge", COLD, ZAP_RATIO),
        _zap(evidence, "later viewer of an edge", WARM, 1.0),
        _stalls(evidence),
        *_joining(evidence),
        _pruning(evidence),
    ]


def _sources(evidence: Evidence, file: str) -> tuple[str, ...]:
    return tuple(f"raw/{name}/{file}" for name in sorted(evidence.scenarios))


def _total(records: ScenarioRecords | None, phases: Collection[str]) -> int | None:
    """The channel's bytes on all links; None when nobody looked or frames were lost."""
    spans = [span for name, span in phases_of(records).items() if name in phases]
    if not spans or any(span.lost for span in spans):
        return None
    return sum(row.bytes for row in chosen(records, phases))


def _unwatched(evidence: Evidence) -> Claim:
    value = _total(evidence.get("edge"), NOBODY)
    always = _total(evidence.get("always-on"), NOBODY)
    claim = Claim(
        "C7",
        "bytes of a channel that nobody watches, all links",
        value,
        "bytes",
        rule="none, before the first viewer and after the last; and edges that are always joined get it",
        holds=value == 0 and bool(always),
        source=_sources(evidence, STREAMS),
    )
    return compared(claim, always, "always-on multicast")


def off_tree(records: ScenarioRecords, phase: str) -> list[str]:
    """What is wrong with the links of a phase, one line each: content where no path to a watching edge leads,
    and links of the tree that did not carry exactly what the source sent."""
    topology = records.topology
    origin = topology.of_role(Role.ORIGIN)[0]
    wanted = tree(topology, origin, watching(records, phase))
    found = bytes_by_direction(chosen(records, (phase,), (MULTICAST,)))
    sent = found.get((origin, topology.ports[origin][0].peer), 0)
    wrong = [
        f"{phase}: {source} to {target} carried {found.get((source, target), 0)} bytes, {sent} were sent"
        for source, target in sorted(wanted)
        if found.get((source, target), 0) != sent or not sent
    ]
    both = wanted | {(target, source) for source, target in wanted}
    every = bytes_by_direction(chosen(records, (phase,)))
    strays = sorted((way, size) for way, size in every.items() if way not in both)
    return wrong + [f"{phase}: {source} to {target}: {size} bytes" for (source, target), size in strays]


def _one_path(evidence: Evidence) -> Claim:
    records = evidence.get("edge")
    value, always = _total(records, ONE), _total(evidence.get("always-on"), ONE)
    wrong = [line for phase in ONE for line in off_tree(records, phase)] if records else []
    edges = {edge for phase in ONE for edge in watching(records, phase)} if records else set()
    unicast = _total(evidence.get("unicast"), ONE)
    claim = Claim(
        "C7",
        "bytes of a channel that one edge watches, all links",
        value,
        "bytes",
        rule="only on the path from the origin to that edge, once on each of its links",
        holds=bool(value) and len(edges) == 1 and not wrong,
        notes=(*wrong[:5], *(f"unicast stream: {size:,} bytes" for size in [unicast] if size is not None)),
        source=_sources(evidence, STREAMS),
    )
    return compared(claim, always, "always-on multicast")


def _source_link(records: ScenarioRecords | None, phases: Collection[str]) -> int | None:
    """What the origin sent of the channel, repair and API included."""
    if _total(records, phases) is None or records is None:
        return None
    origin = records.topology.of_role(Role.ORIGIN)[0]
    way = (origin, records.topology.ports[origin][0].peer)
    return bytes_by_direction(chosen(records, phases)).get(way, 0)


def _union(evidence: Evidence) -> Claim:
    records = evidence.get("edge")
    value, unicast = _source_link(records, SEVERAL), _source_link(evidence.get("unicast"), SEVERAL)
    wrong = [line for phase in SEVERAL for line in off_tree(records, phase)] if records else []
    edges = watching(records, SEVERAL[0]) if records else ()
    claim = Claim(
        "C7",
        f"bytes of a channel that {len(edges)} edges watch, origin's link",
        value,
        "bytes",
        rule="every link of the union of their paths carries the stream once, no other link does; less than"
        " by unicast",
        holds=bool(value)
        and len(edges) > 1
        and not wrong
        and bool(unicast)
        and (value or 0) < (unicast or 0),
        notes=(f"watching: {', '.join(edges)}", *wrong[:5]),
        source=_sources(evidence, STREAMS),
    )
    return compared(claim, unicast, "unicast stream")


def _slowest(found: dict[str, float]) -> float | None:
    return significant(max(found.values()), 6) if found else None


def _zap(evidence: Evidence, who: str, kinds: Collection[str], most: float) -> Claim:
    found, unicast, always = (zap_ms(evidence.get(name), kinds) for name in ("edge", "unicast", "always-on"))
    users = (
        {row.user for row in evidence.scenarios["edge"].viewings if row.viewing in kinds}
        if (evidence.get("edge"))
        else set()
    )
    claim = Claim(
        "C7",
        f"zap time, {who}, slowest",
        _slowest(found),
        "ms",
        rule="from the request of the playlist to the last byte of the first segment:"
        f" at most {most:g} of the unicast stream's, and everybody got one",
        holds=False,
        notes=(
            *(f"{user}: {value:.1f} ms" for user, value in found.items()),
            *(f"always-on multicast: {value:.1f} ms" for value in [_slowest(always)] if value is not None),
        ),
        source=_sources(evidence, VIEWING),
    )
    claim = compared(claim, _slowest(unicast), "unicast stream")
    is_whole = bool(users) and users == found.keys()
    return replace(claim, holds=is_whole and claim.ratio is not None and claim.ratio <= most)


def _still_s(records: ScenarioRecords | None) -> float | None:
    rows = records.viewings if records else ()
    return significant(sum(row.still_s for row in rows), 6) if rows else None


def _stalls(evidence: Evidence) -> Claim:
    records = evidence.get("edge")
    rows = records.viewings if records else ()
    failed = [row for row in rows if not row.ok]
    value = _still_s(records)
    claim = Claim(
        "C7",
        "time that pictures stood still",
        value,
        "s",
        rule="none, and no request of a viewer failed",
        holds=value == 0 and not failed,
        notes=(
            f"{len(rows)} requests of {len({row.user for row in rows})} viewers, {len(failed)} failed",
            *(
                f"{row.user} at {row.started_s:.3f} s: {row.path}: {row.error or row.status}"
                for row in failed[:5]
            ),
        ),
        source=_sources(evidence, VIEWING),
    )
    return compared(claim, _still_s(evidence.get("unicast")), "unicast stream")


def _joining(evidence: Evidence) -> list[Claim]:
    records = evidence.get("edge")
    joins = [branch for branch in records.branches if branch.is_join] if records else []
    asked = {join.edge: _first_request_s(records, join.edge) for join in joins} if records else {}
    stand = {
        join.edge: (join.synced_s - begin_s) * 1000
        for join in joins
        if (begin_s := asked.get(join.edge)) is not None
    }
    heard = {
        edge: first_s - begin_s
        for edge, begin_s in asked.items()
        if records and begin_s is not None and (first_s := _first_byte_s(records, edge)) is not None
    }
    value = _slowest(stand)
    late = _slowest(heard)
    wanted = {row.edge for row in records.viewings if row.edge} if records else set()
    limit_s = SEGMENT_S + POLL_S + JOIN_LIMIT_MS / 1000
    source = ("raw/edge/branches.csv", "raw/edge/viewing.csv", "raw/edge/streams.csv")
    return [
        Claim(
            "C7",
            "join, slowest edge",
            value,
            "ms",
            rule="from the first request until the edge's branch of the tree stands:"
            f" at most {JOIN_LIMIT_MS:g} ms, on every edge whose users watch",
            holds=value is not None and value <= JOIN_LIMIT_MS and stand.keys() == wanted,
            notes=tuple(f"{edge}: {found:.1f} ms" for edge, found in stand.items()),
            source=source,
        ),
        Claim(
            "C7",
            "first byte by multicast after the first request, slowest edge",
            late,
            "s",
            rule=f"on the edge's link, at most {limit_s:g} s: the join, and the next segment's recording",
            holds=late is not None and late <= limit_s and heard.keys() == wanted,
            notes=tuple(f"{edge}: {found:.3f} s" for edge, found in heard.items()),
            source=source,
        ),
    ]


def _first_request_s(records: ScenarioRecords, edge: str) -> float | None:
    return min((row.started_s for row in records.viewings if row.edge == edge), default=None)


def _first_byte_s(records: ScenarioRecords, edge: str) -> float | None:
    rows = (row for row in records.streams if row.way == MULTICAST and row.target == edge)
    return min((row.first_s for row in rows), default=None)


def _pruning(evidence: Evidence) -> Claim:
    records = evidence.get("edge")
    leaves = [branch for branch in records.branches if not branch.is_join] if records else []
    gone = {leave.edge: (leave.synced_s - leave.edge_s) * 1000 for leave in leaves}
    notes = [_leave_note(records, leave) for leave in leaves] if records else []
    after = [leave.edge for leave in leaves if records and _last_byte_s(records, leave) > leave.synced_s]
    wanted = {row.edge for row in records.viewings if row.edge} if records else set()
    value = _slowest(gone)
    return Claim(
        "C7",
        "prune, slowest edge",
        value,
        "ms",
        rule="from the edge's leaving until its branch is gone, and no byte comes after that: at most"
        f" {PRUNE_LIMIT_MS:g} ms, for the switch asks twice, a second apart, whether anybody still listens",
        holds=value is not None and value <= PRUNE_LIMIT_MS and not after and gone.keys() == wanted,
        notes=(*notes, *(f"{edge} got something after that" for edge in after)),
        source=("raw/edge/branches.csv", "raw/edge/streams.csv", "raw/edge/viewing.csv"),
    )


def _last_byte_s(records: ScenarioRecords, leave: Branch) -> float:
    """When the last byte came to the edge by multicast."""
    rows = (row for row in records.streams if row.way == MULTICAST and row.target == leave.edge)
    return max((row.last_s for row in rows), default=0.0)


def _leave_note(records: ScenarioRecords, leave: Branch) -> str:
    asked_s = max((row.started_s for row in records.viewings if row.edge == leave.edge), default=0.0)
    idle_s = leave.edge_s - asked_s
    wanted_s = records.facts.get("scenario", {}).get("offering", {}).get("idle_s", 0.0)
    tail_ms = max(0.0, _last_byte_s(records, leave) - leave.edge_s) * 1000
    return (
        f"{leave.edge} left {idle_s:.2f} s after the last request (told to: after {wanted_s:g} s"
        f" without one); the last byte came {tail_ms:.0f} ms later"
    )
