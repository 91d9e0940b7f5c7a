"""The demo's table and summary.json, word for word, from one fixed set of raw data.

When a change of them is meant: `python -m tests.golden.experiments.test_demo` writes them anew.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.records import load_run
from experiments.summary import Summary, strip_wall, summarise
from experiments.table import render
from tests.unit.experiments.synthetic import SOUND, Fault, write_demo
from topologies.files import load

HERE = Path(__file__).resolve().parent
CONTEXT: dict[str, Any] = {
    "lab": "guest",
    "clock": "virtual",
    "commit": "0123456789ab",
    "command": "nearcast run demo --topology metro --seed 1",
    "wall": {"labs_s": 41.5},
}
BROKEN = Fault(edge_off="edge3", leak_to_origin=2)


def _summary(run: Path, fault: Fault) -> Summary:
    topology = load("metro")
    write_demo(run, topology, fault)
    context = {**CONTEXT, "off": ["edge3"] if fault.edge_off else []}
    return summarise("demo", topology, load_run(run, topology), seed=1, context=context)


def _table(summary: Summary) -> str:
    out = io.StringIO()
    Console(file=out, width=110, color_system=None).print(render(summary))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _json(summary: Summary) -> str:
    return json.dumps(strip_wall(summary.to_json()), indent=2, ensure_ascii=False) + "\n"


def _expected() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        sound, broken = _summary(Path(one), SOUND), _summary(Path(other), BROKEN)
    return {
        "table.txt": _table(sound),
        "table-broken.txt": _table(broken),
        "summary.json": _json(sound),
    }


def test_table_and_summary_are_as_recorded() -> None:
    for name, text in _expected().items():
        assert text == (HERE / name).read_text(encoding="utf-8"), name


if __name__ == "__main__":
    for name, text in _expected().items():
        (HERE / name).write_text(text, encoding="utf-8")
