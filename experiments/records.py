"""The raw data of a run as typed records (docs/architecture.md, "Raw data of a run")."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from topologies.spec import Topology, from_json

_R = TypeVar("_R")


class RecordError(ValueError):
    """A raw file does not have the promised columns or values; the text names file, line and column."""


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
        transfers=_read(folder / "transfers.csv", _transfer),
        links=_read(folder / "links.csv", _link_sample),
        round_trips=_read(folder / "rtt.csv", _round_trip),
        sync=_read(folder / "sync.csv", _sync_result),
        captures=_read(folder / "captures.csv", _capture_count),
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


def _read(path: Path, parse: Callable[[Mapping[str, str]], _R]) -> tuple[_R, ...]:
    if not path.exists():
        return ()
    records = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in (reader := csv.DictReader(file)):
            try:
                records.append(parse(row))
            except KeyError as missing:
                raise RecordError(f"{path}: no column {missing}; docs/architecture.md lists them") from None
            except (TypeError, ValueError) as error:
                raise RecordError(f"{path}, line {reader.line_num}: {error}") from None
    return tuple(records)


def _transfer(row: Mapping[str, str]) -> Transfer:
    return Transfer(
        user=row["user"],
        page=row["page"],
        kind=row["kind"],
        url=row["url"],
        started_s=float(row["started_s"]),
        namelookup_s=float(row["namelookup_s"]),
        connect_s=float(row["connect_s"]),
        ttfb_s=float(row["ttfb_s"]),
        total_s=float(row["total_s"]),
        bytes=int(row["bytes"]),
        status=int(row["status"]),
        edge=row["edge"],
        exitcode=int(row["exitcode"]),
    )


def _link_sample(row: Mapping[str, str]) -> LinkSample:
    return LinkSample(
        phase=row["phase"],
        t_s=float(row["t_s"]),
        link=row["link"],
        source=row["from"],
        target=row["to"],
        layer=row["layer"],
        bytes=int(row["bytes"]),
        packets=int(row["packets"]),
        drops=int(row["drops"]),
    )


def _round_trip(row: Mapping[str, str]) -> RoundTrip:
    configured_ms = float(row["configured_ms"])
    if configured_ms <= 0:
        raise ValueError(f"configured_ms {configured_ms}: a round trip is longer than nothing")
    return RoundTrip(row["user"], row["edge"], configured_ms, float(row["measured_ms"]))


def _sync_result(row: Mapping[str, str]) -> SyncResult:
    completed = row["completed_s"]
    return SyncResult(
        edge=row["edge"],
        files=int(row["files"]),
        bytes=int(row["bytes"]),
        identical=row["identical"] == "1",
        completed_s=float(completed) if completed else None,
    )


def _capture_count(row: Mapping[str, str]) -> CaptureCount:
    return CaptureCount(
        row["node"], row["filter"], int(row["seen"]), int(row["written"]), int(row["dropped"])
    )
