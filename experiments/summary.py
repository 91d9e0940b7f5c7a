"""summary.json, and the one call that turns a run's raw data into it, the pictures and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.claims.catalogue import claims_of
from experiments.claims.model import Claim, Evidence
from experiments.claims.tables import proved
from experiments.receipt import Receipt, make_receipt
from experiments.records import ScenarioRecords, load_run
from experiments.table_proofs import Proved, prove_run
from topologies.spec import Topology

FILE_NAME = "summary.json"


@dataclass(frozen=True)
class Summary:
    """The result of a run (docs/results.md). What was `proved` is in its claims, and in the report."""

    experiment: str
    topology: str
    seed: int
    claims: tuple[Claim, ...]
    receipt: Receipt
    proved: Proved = field(default_factory=Proved)

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(claim.holds for claim in self.claims)

    def to_json(self) -> dict[str, Any]:
        """The content of summary.json; the order of its fields is fixed."""
        return {
            "experiment": self.experiment,
            "topology": self.topology,
            "seed": self.seed,
            "claims": [claim.to_json() for claim in self.claims],
            "receipt": self.receipt.to_json(),
        }

    def write(self, path: Path) -> None:
        """Write it as JSON. Raises OSError."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


def strip_wall(summary: Mapping[str, Any]) -> dict[str, Any]:
    """summary.json without its wall-clock fields: equal for two runs with one seed."""
    receipt = {name: value for name, value in summary["receipt"].items() if name != "wall"}
    return {**summary, "receipt": receipt}


def summarise(
    experiment: str,
    topology: Topology,
    scenarios: Mapping[str, ScenarioRecords],
    *,
    seed: int,
    context: Mapping[str, Any],
) -> Summary:
    """The claims and the receipt of a run; claims of a suspect run do not hold."""
    receipt = make_receipt(scenarios, context, seed=seed)
    found = prove_run(scenarios)
    evidence = Evidence(topology, scenarios, tuple(context.get("off", ())))
    claims = [*claims_of(experiment, evidence), *proved(found)]
    if receipt.suspect:
        note = "the run is suspect, see its receipt"
        claims = [replace(claim, holds=False, notes=(*claim.notes, note)) for claim in claims]
    return Summary(experiment, topology.name, seed, tuple(claims), receipt, found)


def analyse(
    run_dir: Path, topology: Topology, experiment: str, *, seed: int, context: Mapping[str, Any]
) -> Summary:
    """Read `run_dir`/raw and write summary.json, plots/ and report.html beside it.

    `context` holds what only the runner knows: `lab`, `clock`, `commit`, `command`, `off` (edges switched
    off) and, if known, `kernel`, `versions` and `wall`. Raises RecordError for damaged raw data and
    OSError for files that cannot be read or written.
    """
    # Late: matplotlib takes a second to import, and the summary must be there whatever the pictures do.
    scenarios = load_run(run_dir, topology)
    summary = summarise(experiment, topology, scenarios, seed=seed, context=context)
    summary.write(run_dir / FILE_NAME)
    from experiments.plots import draw_all
    from experiments.report import write_report

    figures = draw_all(experiment, topology, scenarios, run_dir / "plots")
    write_report(run_dir, summary, topology, scenarios, figures)
    return summary
