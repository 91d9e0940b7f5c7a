"""Reading raw data: missing files are empty, damaged ones are named with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.records import RecordError, load_run, load_scenario
from tests.unit.experiments.synthetic import write_demo
from topologies.files import load

METRO = load("metro")


def test_a_run_is_read_with_all_its_records(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    scenarios = load_run(tmp_path, METRO)
    assert list(scenarios) == ["central", "edge", "push"]
    edge = scenarios["edge"]
    assert {row.user for row in edge.transfers} == {f"user{number}" for number in range(1, 17)}
    assert {row.kind for row in edge.transfers} == {"page", "image", "video"}
    assert len(edge.round_trips) == 16
    assert len(edge.sync) == 8
    assert len(edge.captures) == 17
    assert {sample.phase for sample in edge.links} == {"publish", "requests"}
    assert edge.topology == METRO
    assert scenarios["push"].transfers == ()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "rtt.csv").write_text("user,edge,configured_ms\nuser1,edge1,3.5\n")
    with pytest.raises(RecordError, match=r"rtt\.csv: no column 'measured_ms'"):
        load_scenario(tmp_path, METRO)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("captures.csv", "node,filter,seen,written,dropped\nuser1,multicast,3,x,0\n", "line 2: .*'x'"),
        ("rtt.csv", "user,edge,configured_ms,measured_ms\nu,e,1,1\nu,e,0,1\n", "line 3: configured_ms"),
        ("captures.csv", "node,filter,seen,written,dropped\nuser1,multicast,3\n", "line 2"),
        ("scenario.json", "{", "not JSON"),
        ("scenario.json", "[]", "an object was expected"),
    ],
)
def test_a_damaged_value_is_named_with_its_place(tmp_path: Path, file: str, text: str, message: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(RecordError, match=message):
        load_scenario(tmp_path, METRO)


def test_an_edge_that_never_completed_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "sync.csv").write_text("edge,files,bytes,identical,completed_s\nedge1,3,100,0,\n")
    (row,) = load_scenario(tmp_path, METRO).sync
    assert row.completed_s is None
    assert not row.identical
