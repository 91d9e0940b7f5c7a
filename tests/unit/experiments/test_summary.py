"""From raw data to summary.json, pictures and report: complete, traceable, the same every time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from experiments.summary import Summary, analyse, strip_wall
from tests.unit.experiments.synthetic import Fault, write_demo
from topologies.files import load

METRO = load("metro")


def _context(wall_s: float) -> dict[str, Any]:
    return {
        "lab": "guest",
        "clock": "virtual",
        "commit": "0123456789ab",
        "command": "nearcast run demo --topology metro --seed 1",
        "wall": {"labs_s": wall_s},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, METRO)
    return folder, analyse(folder, METRO, "demo", seed=1, context=_context(41.0))


def test_the_summary_has_the_promised_fields(run: tuple[Path, Summary]) -> None:
    data = json.loads((run[0] / "summary.json").read_text())
    assert list(data) == ["experiment", "topology", "seed", "claims", "receipt"]
    for claim in data["claims"]:
        assert {"id", "statement", "value", "unit", "baseline", "ratio", "holds", "source"} <= claim.keys()
        for file in claim["source"]:
            assert (run[0] / file).exists(), file
    assert {"lab", "clock", "kernel", "versions", "commit", "seed", "delay", "rate", "drops", "wall"} <= data[
        "receipt"
    ].keys()
    assert data == json.loads(json.dumps(run[1].to_json()))


def test_two_runs_with_the_same_data_differ_in_wall_clock_only(
    run: tuple[Path, Summary], tmp_path: Path
) -> None:
    write_demo(tmp_path, METRO)
    analyse(tmp_path, METRO, "demo", seed=1, context=_context(55.5))
    one, other = (json.loads((folder / "summary.json").read_text()) for folder in (run[0], tmp_path))
    assert one != other
    assert strip_wall(one) == strip_wall(other)
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == sorted(path.name for path in (run[0] / "plots").iterdir())
    for name in pictures:
        assert (tmp_path / "plots" / name).read_bytes() == (run[0] / "plots" / name).read_bytes(), name


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "href" and tag == "a" and value:
                self.links.append(value)
            elif name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.loads.append(value)
            elif name == "id" and value:
                self.ids.append(value)


def test_the_report_needs_no_network_and_every_link_leads_to_a_file(run: tuple[Path, Summary]) -> None:
    text = (run[0] / "report.html").read_text()
    references = _References()
    references.feed(text)
    assert [place for place in references.loads if not place.startswith("data:")] == []
    assert "@import" not in text
    assert "<script" not in text
    assert not [link for link in references.links if "://" in link]
    assert [link for link in references.links if not (run[0] / link).exists()] == []
    raw = {path.relative_to(run[0]).as_posix() for path in (run[0] / "raw").rglob("*") if path.is_file()}
    assert raw <= set(references.links)
    assert len(references.ids) == len(set(references.ids))
    used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', text))
    assert used <= set(references.ids)


def test_the_report_says_what_was_measured(run: tuple[Path, Summary]) -> None:
    text = (run[0] / "report.html").read_text()
    assert "7 of 7 claims hold" in text
    assert "computing takes no time at all" in text
    assert "nearcast run demo --topology metro --seed 1" in text
    assert "487 files, 22.0 MB" in text
    for claim in run[1].claims:
        assert claim.label in text


def test_a_failing_run_says_so_on_top(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO, Fault(leak_to_origin=3))
    analyse(tmp_path, METRO, "demo", seed=1, context=_context(1.0))
    head = (tmp_path / "report.html").read_text().split("<h2>")[0]
    assert "1 of 7 claims do not hold" in head
    assert "C8 packets from users that reached the origin: 3" in head
