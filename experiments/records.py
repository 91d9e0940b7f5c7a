"""The raw data of a run as typed records (docs/architecture.md, "Raw data of a run")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.attack.records import AttackRow, AttackState
from experiments.client_records import (
    BrowserTransfer,
    Death,
    DownloadPart,
    Moment,
    NameLookup,
    PlaybackSample,
)
from experiments.csv_records import RecordError as RecordError
from experiments.csv_records import read_records
from experiments.names_config import NameCount
from experiments.names_records import Ipv4Count, Resolution
from experiments.process_load import LoadSample
from experiments.stream_records import Branch, StreamBytes, StreamPhase, Viewing
from experiments.sync_records import SyncCell, TunnelCount
from experiments.visit_records import EdgeStateChange, Period
from experiments.visitors import Visit
from topologies.spec import Topology, from_json


@dataclass(frozen=True, slots=True)
class Transfer:
    """One HTTP transfer as curl timed it; times in seconds, `started_s` since the scenario began, the
    others since the transfer began."""

    user: str
    page: str
    kind: str
    url: str
    started_s: float
    namelookup_s: float
    connect_s: float
    ttfb_s: float
    total_s: float
    bytes: int
    status: int
    edge: str
    exitcode: int

    @property
    def ok(self) -> bool:
        """Whether the client got the whole answer it asked for."""
        return self.exitcode == 0 and 200 <= self.status < 300

    @property
    def ended_s(self) -> float:
        """When it ended, in seconds since the scenario began."""
        return self.started_s + self.total_s


@dataclass(frozen=True, slots=True)
class LinkSample:
    """Cumulative counters of one direction of a link at one moment."""

    phase: str
    t_s: float
    link: str
    source: str
    target: str
    layer: str
    bytes: int
    packets: int
    drops: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The round trip between a user and an edge, as configured and as measured."""

    user: str
    edge: str
    configured_ms: float
    measured_ms: float

    def __post_init__(self) -> None:
        if self.configured_ms <= 0:
            raise ValueError(f"configured_ms {self.configured_ms}: a round trip is longer than nothing")

    @property
    def deviation(self) -> float:
        """How far the measured round trip is from the configured one, relative to it (signed)."""
        return self.measured_ms / self.configured_ms - 1


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What an edge holds after a publication; `completed_s` is None when it never completed."""

    edge: str
    files: int
    bytes: int
    identical: bool
    completed_s: float | None


@dataclass(frozen=True, slots=True)
class CaptureCount:
    """The kernel's own account of one capture."""

    node: str
    filter: str
    seen: int
    written: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a user: when it was sent, its round trip and who answered, if anyone did."""

    window: str
    user: str
    sent_s: float
    rtt_ms: float | None
    edge: str


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request on a connection of its own; times as in `Transfer`, `source` is the user's address,
    `error` why it failed (`held` when it was not meant to end)."""

    window: str
    user: str
    path: str
    source: str
    started_s: float
    connect_s: float
    ttfb_s: float
    total_s: float
    bytes: int
    status: int
    edge: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether the client got the whole answer it asked for."""
        return not self.error and 200 <= self.status < 300

    @property
    def ended_s(self) -> float:
        """When it ended, in seconds since the scenario began."""
        return self.started_s + self.total_s


@dataclass(frozen=True, slots=True)
class FaultStep:
    """A fault that was carried out, or mended: from `t_s` to `done_s`."""

    window: str
    kind: str
    target: str
    is_break: bool
    t_s: float
    done_s: float


@dataclass(frozen=True, slots=True)
class Knock:
    """One attempt to get in to a host: whether it arrived there, and what came back."""

    gateway: str
    round: str
    protocol: str
    port: int
    has_arrived: bool
    answer: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection through a gateway: its own address and port, and those that the other end saw."""

    gateway: str
    own: str
    seen: str
    handshake_ms: float
    mbps: float
    is_complete: bool


@dataclass(frozen=True, slots=True)
class PathTransfer:
    """A transfer through a narrow link, and the path MTU that the user knows at its end."""

    user: str
    direction: str
    bytes: int
    is_complete: bool
    path_mtu: int


@dataclass(frozen=True, slots=True)
class Hop:
    """What a probe with a small hop limit brought back, and from which address."""

    user: str
    target: str
    hop_limit: int
    answer: str
    answered_by: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Whether an address answered a user's echo request; `kind` says whose it is."""

    user: str
    target: str
    kind: str
    answered: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """How many datagrams of a sender to a group a receiver got that had joined it."""

    group: str
    sender: str
    receiver: str
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class ArpCount:
    """ARP requests that a host sent and heard on its segment."""

    segment: str
    host: str
    requests_sent: int
    requests_heard: int


@dataclass(frozen=True)
class ScenarioRecords:
    """Everything one scenario left. Records of files that it did not write are empty."""

    name: str
    folder: Path
    topology: Topology
    transfers: tuple[Transfer, ...] = ()
    links: tuple[LinkSample, ...] = ()
    round_trips: tuple[RoundTrip, ...] = ()
    sync: tuple[SyncResult, ...] = ()
    captures: tuple[CaptureCount, ...] = ()
    probes: tuple[Probe, ...] = ()
    requests: tuple[Request, ...] = ()
    faults: tuple[FaultStep, ...] = ()
    knocks: tuple[Knock, ...] = ()
    flows: tuple[Flow, ...] = ()
    paths: tuple[PathTransfer, ...] = ()
    hops: tuple[Hop, ...] = ()
    pings: tuple[Ping, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    arps: tuple[ArpCount, ...] = ()
    cells: tuple[SyncCell, ...] = ()
    tunnels: tuple[TunnelCount, ...] = ()
    attacks: tuple[AttackRow, ...] = ()
    attack_states: tuple[AttackState, ...] = ()
    attack_captures: tuple[CaptureCount, ...] = ()
    streams: tuple[StreamBytes, ...] = ()
    phases: tuple[StreamPhase, ...] = ()
    branches: tuple[Branch, ...] = ()
    viewings: tuple[Viewing, ...] = ()
    lookups: tuple[NameLookup, ...] = ()
    downloads: tuple[DownloadPart, ...] = ()
    deaths: tuple[Death, ...] = ()
    moments: tuple[Moment, ...] = ()
    playback: tuple[PlaybackSample, ...] = ()
    browser_transfers: tuple[BrowserTransfer, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    name_counts: tuple[NameCount, ...] = ()
    ipv4: tuple[Ipv4Count, ...] = ()
    visits: tuple[Visit, ...] = ()
    periods: tuple[Period, ...] = ()
    process_loads: tuple[LoadSample, ...] = ()
    edge_states: tuple[EdgeStateChange, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """scenario.json; below `lab` what the lab said of itself (job-result.json); `failed` if it did."""

    def raw(self, file: str) -> str:
        """The path of one of its files, relative to the run's folder."""
        return f"raw/{self.name}/{file}"

    def capture_file(self, node: str) -> Path:
        """Where the capture of `node` lies."""
        return self.folder / "captures" / f"{node}.pcap"


def load_run(run_dir: Path, topology: Topology) -> dict[str, ScenarioRecords]:
    """The scenarios of a run by name. A scenario that names its own topology (with loss, say) gets that.

    Raises RecordError for a damaged file and OSError for an unreadable one.
    """
    folders = sorted(path for path in (run_dir / "raw").iterdir() if path.is_dir())
    return {folder.name: load_scenario(folder, topology) for folder in folders}


def load_scenario(folder: Path, topology: Topology) -> ScenarioRecords:
    """The records in one scenario's folder."""
    lab = _facts(folder / "job-result.json")
    facts = {"lab": lab.get("facts", {})} | _facts(folder / "scenario.json")
    if lab.get("ok") is False:
        facts["failed"] = str(lab.get("error", "the lab did not say why"))
    asked = facts.get("scenario", {}).get("topology")
    return ScenarioRecords(
        name=folder.name,
        folder=folder,
        topology=topology if asked is None else from_json(asked),
        transfers=read_records(folder / "transfers.csv", Transfer),
        links=read_records(folder / "links.csv", LinkSample, {"source": "from", "target": "to"}),
        round_trips=read_records(folder / "rtt.csv", RoundTrip),
        sync=read_records(folder / "sync.csv", SyncResult),
        captures=read_records(folder / "captures.csv", CaptureCount),
        probes=read_records(folder / "probes.csv", Probe),
        requests=read_records(folder / "requests.csv", Request),
        faults=read_records(folder / "faults.csv", FaultStep),
        knocks=read_records(folder / "scans.csv", Knock),
        flows=read_records(folder / "flows.csv", Flow),
        paths=read_records(folder / "paths.csv", PathTransfer),
        hops=read_records(folder / "routes.csv", Hop),
        pings=read_records(folder / "pings.csv", Ping),
        deliveries=read_records(folder / "groups.csv", Delivery),
        arps=read_records(folder / "arps.csv", ArpCount),
        cells=read_records(folder / "cells.csv", SyncCell),
        tunnels=read_records(folder / "tunnels.csv", TunnelCount),
        attacks=read_records(folder / "attacks.csv", AttackRow),
        attack_states=read_records(folder / "attack-state.csv", AttackState),
        attack_captures=read_records(folder / "attack-captures.csv", CaptureCount),
        streams=read_records(folder / "streams.csv", StreamBytes, {"source": "from", "target": "to"}),
        phases=read_records(folder / "phases.csv", StreamPhase),
        branches=read_records(folder / "branches.csv", Branch),
        viewings=read_records(folder / "viewing.csv", Viewing),
        lookups=read_records(folder / "lookups.csv", NameLookup),
        downloads=read_records(folder / "downloads.csv", DownloadPart),
        deaths=read_records(folder / "deaths.csv", Death),
        moments=read_records(folder / "moments.csv", Moment),
        playback=read_records(folder / "playback.csv", PlaybackSample),
        browser_transfers=read_records(folder / "browser-requests.csv", BrowserTransfer),
        resolutions=read_records(folder / "resolutions.csv", Resolution),
        name_counts=read_records(folder / "names.csv", NameCount),
        ipv4=read_records(folder / "ipv4.csv", Ipv4Count),
        visits=read_records(folder / "visits.csv", Visit),
        periods=read_records(folder / "periods.csv", Period),
        process_loads=read_records(folder / "process-load.csv", LoadSample),
        edge_states=read_records(folder / "edge-states.csv", EdgeStateChange),
        facts=facts,
    )


def _facts(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not JSON ({error}); run the experiment again") from None
    if not isinstance(facts, dict):
        raise RecordError(f"{path}: an object was expected; run the experiment again")
    return facts
