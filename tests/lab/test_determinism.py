"""Two runs with one seed are the same, byte for byte, whatever else the machine does meanwhile."""

from __future__ import annotations

from tests.lab.labs import Finished

HOST_TIMED = frozenset({"console.log"})
"""It names the boot folder, which is another in every run."""


def content(finished: Finished) -> dict[str, bytes]:
    """Every file of a run that nothing of the host flows into."""
    files = (path for path in finished.out.rglob("*") if path.is_file() and path.name not in HOST_TIMED)
    return {str(path.relative_to(finished.out)): path.read_bytes() for path in files}


def test_two_runs_with_one_seed_are_identical(edge_lab: Finished, again_lab: Finished) -> None:
    first, second = content(edge_lab), content(again_lab)
    assert first.keys() == second.keys()
    assert {"transfers.csv", "rtt.csv", "links.csv", "sync.csv", "controller.jsonl"} <= first.keys()
    assert [name for name in sorted(first) if first[name] != second[name]] == []


def test_another_seed_gives_another_run(edge_lab: Finished, other_seed_lab: Finished) -> None:
    first, other = content(edge_lab), content(other_seed_lab)
    assert first["controller.jsonl"] != other["controller.jsonl"]
