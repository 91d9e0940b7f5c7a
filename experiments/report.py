"""report.html: one file that needs no network, with every number traced to a raw file beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from experiments.attack.records import AttackRow
from experiments.figure import Figure
from experiments.loads import content_bytes
from experiments.pages import TEMPLATES, page_environment
from experiments.proof_view import figure_lines, violation_lines
from experiments.records import ScenarioRecords
from experiments.screens import screens
from experiments.style import scenario_name
from experiments.summary import Summary
from experiments.table import baseline, intervals, measured, number, ratio, verdict
from experiments.table_proofs import TableProof
from topologies.spec import Topology

QUESTIONS = {
    "demo": "Do edges in the access layer serve users better than a central cloud, what does keeping them in"
    " sync cost the backbone, and does anything leak?",
    "latency": "Is the network as fast as it was configured to be, and what do more and more users wait for"
    " at edges, at caches and at a central cloud?",
    "backbone": "How often does content cross the most-loaded backbone link on its way to all edges?",
    "failover": "Links, edges, a switch and the controller fail while users ask: what do they notice?",
    "drain": "An edge is drained and another overloaded: does any user notice?",
    "gateway": "Is a user with a global address as closed as behind NAT, unchanged and no slower?",
    "private-routing": "What can users learn of the routers that carry their packets?",
    "neighbours": "Whom does neighbour discovery wake, and what does a sweep of a /64 do to others?",
    "scope": "Does multicast stay within its zone, and content and users where policy puts them?",
    "attacks": "What comes of a user who tries everything: does anything leak, does anyone notice?",
    "overload": "Far more visitors come than an edge can serve, some of them to do harm: what do those notice"
    " who are being served?",
    "channels": "What does a live channel cost while nobody, one edge or several watch it, and how soon"
    " does a viewer see it?",
    "locality": "Where does what users upload go, how soon can others read it, and does regional content stay"
    " in its region?",
    "sync": "What does the origin send to keep all edges in sync, and how soon does the last one have it?",
    "vpn": "What does one more edge cost an origin that multicasts, and one with a tunnel to each edge?",
    "clients": "A browser, curl and dig use the service while edges die: what do their users notice?",
    "names": "What does the name server have to know so that every user finds the nearest edge, and how long"
    " does it take users to leave an edge that is gone?",
    "privacy": "Do temporary addresses work through requests, downloads and changes of address?",
}


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file for the list at the end of the report."""

    path: str
    size: str


def write_report(
    run_dir: Path,
    summary: Summary,
    topology: Topology,
    scenarios: Mapping[str, ScenarioRecords],
    figures: Sequence[Figure],
) -> Path:
    """Write report.html into the run's folder and return its path. Raises OSError."""
    environment = page_environment()
    environment.filters |= {"measured": measured, "baseline": baseline, "number": number, "verdict": verdict}
    environment.filters |= {"ratio": ratio, "intervals": intervals}
    html = environment.get_template("report.html.j2").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        run=run_dir.name,
        summary=summary,
        receipt=summary.receipt,
        facts=summary.receipt.facts,
        wall=_flat(summary.receipt.wall),
        question=QUESTIONS[summary.experiment],
        topology=topology,
        content=_content(scenarios),
        scenarios=[(name, scenario_name(name)) for name in scenarios],
        figures=[
            (figure, inline_svg(run_dir / "plots" / f"{figure.name}.svg", figure)) for figure in figures
        ],
        screens=screens(scenarios),
        attacks=attack_families(scenarios),
        proofs=invariant_rows(summary),
        moments=[(proof.scenario, proof.moment) for proof in summary.proved.proofs],
        proof_sizes=[
            (proof, tuple(figure_lines(proof.proof)), violation_texts(proof))
            for proof in summary.proved.proofs
        ],
        histories=summary.proved.histories,
        raw_files=raw_files(run_dir),
    )
    path = run_dir / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class InvariantRow:
    """An invariant, what became of it in each proof (the number of violations), and what was measured of the
    same claim."""

    claim: str
    name: str
    statement: str
    counts: tuple[int, ...]
    measured: tuple[str, ...]


def invariant_rows(summary: Summary) -> list[InvariantRow]:
    """The proofs of a run side by side: a row for each invariant, a column for each proof."""
    proofs = summary.proved.proofs
    rows = []
    for place, entry in enumerate(proofs[0].proof["invariants"] if proofs else ()):
        told = tuple(
            f"{claim.statement}: {measured(claim)}"
            for claim in summary.claims
            if entry["claim"] and claim.id == entry["claim"]
        )
        counts = tuple(proof.proof["invariants"][place]["count"] for proof in proofs)
        rows.append(InvariantRow(entry["claim"], entry["name"], entry["statement"], counts, told))
    return rows


def violation_texts(proof: TableProof) -> list[str]:
    """The violations of a proof, each as the lines of `nearcast verify`."""
    return [
        "\n".join(Text.from_markup(line).plain for line in violation_lines(entry["name"], violation))
        for entry in proof.proof["invariants"]
        for violation in entry["violations"]
    ]


def attack_families(scenarios: Mapping[str, ScenarioRecords]) -> list[tuple[str, list[AttackRow]]]:
    """The attacks of a run by family, in the order in which they were carried out."""
    families: dict[str, list[AttackRow]] = {}
    for row in scenarios["edge"].attacks if "edge" in scenarios else ():
        families.setdefault(row.family, []).append(row)
    return list(families.items())


def inline_svg(path: Path, figure: Figure) -> str:
    """A picture's SVG element, scaling with the page, with identifiers of its own and a spoken title."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = re.sub(r"\W", "-", figure.name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", text)
    head, _, rest = text.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(figure.title)}">{rest}'


def raw_files(run_dir: Path) -> list[RawFile]:
    """Every raw file of the run, by its path relative to the report."""
    files = sorted(path for path in (run_dir / "raw").rglob("*") if path.is_file())
    return [RawFile(path.relative_to(run_dir).as_posix(), _size(path.stat().st_size)) for path in files]


def _content(scenarios: Mapping[str, ScenarioRecords]) -> str:
    """The published content in words, empty when nothing was published."""
    for records in scenarios.values():
        size = content_bytes(records)
        if size is not None:
            files = max(row.files for row in records.sync if row.identical)
            return f"{files:,} files, {_size(size)}"
    return ""


def _size(size: int) -> str:
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size} bytes"


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested wall-clock facts as one list of names and values."""
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}: ")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
