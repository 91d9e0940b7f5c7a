"""C5 and C15 as programs that people use see them: dig, curl and a browser, while edges die."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from experiments.claims.model import Claim, Evidence
from experiments.client_records import BrowserTransfer, Moment
from experiments.playback import advanced_s, longest_still_s, playing
from experiments.records import ScenarioRecords
from topologies.graph import nearest_edges
from topologies.spec import Role

LEAST_PLAYED_S = 30.0
MOST_STILL_S = 1.0
"""Half a segment. The player has one or more in hand, so the picture should not stop at all while the network
finds another edge; the rest is for the real clock of the native lab."""
DEATHS = 2
SOURCE = "raw/edge/"


def real_clients(evidence: Evidence) -> list[Claim]:
    """Where the name led, who answered, how the channel played, what went wrong, what came whole."""
    records = evidence.get("edge") or ScenarioRecords("edge", Path(), evidence.topology)
    return [
        _names(evidence, records),
        _nearest(evidence, records),
        _played(records),
        _still(records),
        _failures(records),
        _segments(records),
        _resumed(records),
        _uploaded(records),
    ]


def _names(evidence: Evidence, records: ScenarioRecords) -> Claim:
    wanted = evidence.topology.service.address
    good = [row for row in records.lookups if row.status == "NOERROR" and row.addresses == str(wanted)]
    return Claim(
        "C5",
        "names that dig resolved to the service's one address",
        len(good),
        "names",
        rule="all, at least one",
        holds=bool(records.lookups) and len(good) == len(records.lookups),
        total=len(records.lookups),
        source=(SOURCE + "lookups.csv",),
    )


def _nearest(evidence: Evidence, records: ScenarioRecords) -> Claim:
    """The first answer of curl and of the browser's page."""
    nearest = nearest_edges(evidence.topology, _edges(evidence, records))
    first = {("curl", row.user): row.edge for row in reversed(records.downloads) if row.attempt == 1}
    first = {key: edge for key, edge in first.items() if key[1] in nearest}
    watcher = _watcher(records)
    if records.browser_transfers and watcher:
        first["browser", watcher] = records.browser_transfers[0].edge
    good = [key for key, edge in first.items() if edge in nearest[key[1]].equally_near]
    return Claim(
        "C5",
        "programs whose first answer came from the nearest edge",
        len(good),
        "programs",
        rule="curl and the browser",
        holds=len(good) == len(first) == 2,
        total=len(first),
        notes=tuple(f"{program} of {user}: {edge}" for (program, user), edge in first.items()),
        source=(SOURCE + "downloads.csv", SOURCE + "browser-requests.csv"),
    )


def _edges(evidence: Evidence, records: ScenarioRecords) -> list[str]:
    off = set(records.facts.get("scenario", {}).get("off", ()))
    return [edge for edge in evidence.topology.of_role(Role.EDGE) if edge not in off]


def _watcher(records: ScenarioRecords) -> str:
    acts = records.facts.get("scenario", {}).get("acts", ())
    return next((str(act["arguments"]["user"]) for act in acts if act["kind"] == "browse"), "")


def _played(records: ScenarioRecords) -> Claim:
    samples = playing(records.playback)
    edges = serving_edges(records.browser_transfers)
    deaths = [death for death in records.deaths if death.act == "browse"]
    return Claim(
        "C15",
        "of a live channel played by a browser while two edges died",
        round(advanced_s(samples), 3),
        "s",
        rule=f"at least {LEAST_PLAYED_S:g} s, with segments from each edge that died and from the next",
        holds=advanced_s(samples) >= LEAST_PLAYED_S
        and len(deaths) == DEATHS
        and is_moved_on(edges, [death.edge for death in deaths]),
        notes=(
            f"segments from {', then '.join(edges)}",
            *(f"{death.edge} {death.kind} at {death.t_s:.1f} s" for death in deaths),
        ),
        source=(SOURCE + "playback.csv", SOURCE + "browser-requests.csv", SOURCE + "deaths.csv"),
    )


def serving_edges(transfers: Sequence[BrowserTransfer]) -> list[str]:
    """The edges that segments came from, in that order; one that comes twice in a row counts once."""
    edges = [row.edge for row in transfers if row.is_segment]
    return [*edges[:1], *(after for before, after in pairwise(edges) if after != before)]


def is_moved_on(serving: Sequence[str], died: Sequence[str]) -> bool:
    """Whether each edge that died had been serving, in this order, and another one served after it."""
    rest = list(serving)
    for edge in died:
        if edge not in rest[:-1]:
            return False
        rest = rest[rest.index(edge) + 1 :]
    return True


def _still(records: ScenarioRecords) -> Claim:
    samples = playing(records.playback)
    gaps_s = [after.t_s - before.t_s for before, after in pairwise(samples)]
    return Claim(
        "C15",
        "longest time for which the picture stood still",
        round(longest_still_s(samples), 3),
        "s",
        rule=f"at most {MOST_STILL_S:g} s",
        holds=bool(samples) and longest_still_s(samples) <= MOST_STILL_S,
        notes=(f"{len(samples)} samples, at most {max(gaps_s, default=0.0):.2f} s apart",),
        source=(SOURCE + "playback.csv",),
    )


def _failures(records: ScenarioRecords) -> Claim:
    transfers = records.browser_transfers
    shown = [moment for moment in records.moments if moment.moment == "wrong"]
    failed = [row for row in transfers if row.has_failed]
    reasons = [f"tried again after {row.error or row.status}: {row.path}" for row in failed[:5]]
    return Claim(
        "C15",
        "failures that the browser's user was told of",
        len(shown),
        "failures",
        rule="none",
        holds=bool(transfers) and not shown and _is_uploaded(records.moments),
        notes=(
            f"{len(transfers)} requests, {len(failed)} of them failed and were made again by the page",
            *reasons,
            *(moment.text for moment in shown[:3]),
        ),
        source=(SOURCE + "moments.csv", SOURCE + "browser-requests.csv"),
    )


def _is_uploaded(moments: Sequence[Moment]) -> bool:
    return any(moment.moment == "uploaded" for moment in moments)


def _segments(records: ScenarioRecords) -> Claim:
    segments = [row for row in records.browser_transfers if row.is_segment]
    good = [row for row in segments if row.identical == "1"]
    return Claim(
        "C15",
        "segments whose bytes in the browser are those of their entity tag",
        len(good),
        "segments",
        rule="all (the tag is the SHA-256 of the content)",
        holds=bool(segments) and len(good) == len(segments),
        total=len(segments),
        source=(SOURCE + "browser-requests.csv",),
    )


def _resumed(records: ScenarioRecords) -> Claim:
    """A download that one edge began and another ended."""
    deaths = [death for death in records.deaths if death.act == "resume"]
    attempts = [row for row in records.downloads if not row.path.startswith("/local/")]
    broken, ended = attempts[:1], [row for row in attempts if row.is_whole]
    is_resumed = bool(broken and ended and deaths) and (
        broken[0].exitcode != 0
        and broken[0].edge == deaths[0].edge != ended[0].edge
        and ended[0].status == 206
        and 0 < ended[0].from_byte == broken[0].bytes
    )
    return Claim(
        "C15",
        "downloads by curl that broke off with their edge and were whole after going on at the next",
        int(is_resumed),
        "downloads",
        rule="the one, its bytes identical (SHA-256, entity tag)",
        holds=is_resumed,
        total=1,
        notes=tuple(
            f"{row.bytes:,} bytes from byte {row.from_byte:,} on from {row.edge or 'nobody'},"
            f" curl's exit status {row.exitcode}"
            for row in attempts[:5]
        ),
        source=(SOURCE + "downloads.csv", SOURCE + "deaths.csv"),
    )


def _uploaded(records: ScenarioRecords) -> Claim:
    reads = [row for row in records.downloads if row.path.startswith("/local/")]
    picture = next((m.screenshot for m in records.moments if m.moment == "portal"), "")
    file = records.folder / "screenshots" / picture
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if picture and file.exists() else ""
    good = [row for row in reads if row.is_whole and row.sha256 == digest]
    return Claim(
        "C15",
        "uploads through the browser that another user read unchanged",
        len(good),
        "uploads",
        rule="the one, after all edges are back",
        holds=len(good) == len(reads) == 1,
        total=len(reads),
        notes=tuple(f"{row.path} read by {row.user} at {row.edge}, {row.bytes:,} bytes" for row in reads),
        source=(SOURCE + "downloads.csv", SOURCE + "moments.csv"),
    )
