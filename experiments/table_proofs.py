"""What the switches of a run held, proved: before anything was measured, after everything, and, where it was
recorded, at every moment between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controller.openflow.recorder import load_recording, states
from controller.openflow.snapshot import load_snapshot
from controller.verify.history import History, history_of
from experiments.proofs import expected_from_json, proof_to_json, prove_snapshot
from experiments.records import ScenarioRecords
from experiments.scenario import MOMENTS, RECORDING, Mode
from topologies.spec import EdgeAddressing, OriginMode, RouterAddressing


@dataclass(frozen=True)
class TableProof:
    """A proof of what the switches of a scenario held at a moment, as `proof_to_json` writes it. Of a
    baseline it need not hold. `wall_s` is how long it took."""

    scenario: str
    moment: str
    proof: Mapping[str, Any]
    is_baseline: bool
    wall_s: float

    @property
    def broken(self) -> tuple[str, ...]:
        """The invariants that do not hold."""
        return tuple(entry["name"] for entry in self.proof["invariants"] if not entry["holds"])


@dataclass(frozen=True)
class TableHistory:
    """What held at every moment of a scenario that was recorded."""

    scenario: str
    history: History
    is_baseline: bool


@dataclass(frozen=True)
class Proved:
    """All proofs of a run."""

    proofs: tuple[TableProof, ...] = ()
    histories: tuple[TableHistory, ...] = ()


def prove_run(scenarios: Mapping[str, ScenarioRecords]) -> Proved:
    """Prove whatever tables were kept. Raises SnapshotError for damaged files, UndecidableError for tables
    that are not modelled."""
    return Proved(tuple(_proofs(scenarios)), tuple(_histories(scenarios)))


def _proofs(scenarios: Mapping[str, ScenarioRecords]) -> Iterator[TableProof]:
    for name, records in scenarios.items():
        for moment, file in MOMENTS.items():
            path = records.folder / file
            if path.exists():
                began_s = time.perf_counter()
                controller = json.loads(path.read_bytes()).get("controller") or {}
                taken = load_snapshot(path)
                proof, _ = prove_snapshot(taken, expected_from_json(controller.get("expected")))
                data = proof_to_json(proof, taken.topology)
                yield TableProof(name, moment, data, _is_baseline(records), time.perf_counter() - began_s)


def _histories(scenarios: Mapping[str, ScenarioRecords]) -> Iterator[TableHistory]:
    for name, records in scenarios.items():
        path = records.folder / RECORDING
        if path.exists():
            began, events = load_recording(path)
            history = history_of(began.topology, states(began, events))
            yield TableHistory(name, history, _is_baseline(records))


def _is_baseline(records: ScenarioRecords) -> bool:
    """Whether the network is one that breaks invariants on purpose, for comparison."""
    asked = records.facts.get("scenario", {})
    topology = records.topology
    return (
        asked.get("mode") == Mode.CENTRAL
        or topology.routers is not RouterAddressing.LINK_LOCAL
        or topology.edges is not EdgeAddressing.ANYCAST
        or topology.origin is not OriginMode.HIDDEN
    )
