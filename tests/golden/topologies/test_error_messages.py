"""Every kind of mistake in a topology file, and the exact text a person gets for it."""

from pathlib import Path

import pytest

from topologies.files import TopologyError, load

ERRORS = Path(__file__).parent / "errors"


@pytest.mark.parametrize("case", sorted(path.stem for path in ERRORS.glob("*.yaml")))
def test_message(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ERRORS)
    with pytest.raises(TopologyError) as raised:
        load(f"{case}.yaml")
    assert f"{raised.value}\n" == (ERRORS / f"{case}.txt").read_text()


def test_every_expectation_has_its_file() -> None:
    assert {path.stem for path in ERRORS.glob("*.txt")} == {path.stem for path in ERRORS.glob("*.yaml")}
