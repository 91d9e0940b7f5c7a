"""The suite of cache tests: how results are read, and that each failure is explained, in the docs too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from experiments.cache_suite import CacheTest, Suite, counts, failures, passed, read_tests
from experiments.cache_tests import EXPLANATIONS, unexplained
from experiments.http_servers import BenchError

DOCS = Path(__file__).resolve().parents[3] / "docs/edge.md"


def case(
    name: str, result: object, kind: str = "required", *depends_on: str, browser: bool = False
) -> CacheTest:
    return CacheTest(name, name, kind, depends_on, browser, result)


TESTS = [
    case("fresh", True),
    case("stale", ["Assertion", "Response 2 comes from cache"]),
    case("on-fresh", True, "optimal", "fresh"),
    case("on-stale", True, "optimal", "stale"),
    case("far-on-stale", True, "optimal", "on-stale"),
    case("private", None, "required", browser=True),
    case("behaviour", ["Assertion", "no"], "check"),
]


def test_who_depends_on_a_failure_has_not_passed() -> None:
    assert passed(TESTS) == {"fresh", "on-fresh"}
    assert counts(TESTS) == {"required": (1, 3), "optimal": (1, 3)}


def test_failures_say_why() -> None:
    assert failures(TESTS) == {
        "stale": "Assertion: Response 2 comes from cache",
        "on-stale": "depends on stale",
        "far-on-stale": "depends on on-stale",
        "private": "for browsers, not run",
    }


def test_the_driver_prints_one_line_of_tests() -> None:
    fields = {
        "id": "a",
        "name": "b",
        "kind": "optimal",
        "depends_on": ["c"],
        "is_for_browsers": False,
        "result": True,
    }
    assert read_tests(f"noise\ntests {json.dumps([fields])}\n") == [
        CacheTest("a", "b", "optimal", ("c",), False, True)
    ]
    with pytest.raises(BenchError, match="without results: Error: no such file"):
        read_tests("Error: no such file")


def test_a_folder_that_is_no_suite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.cache_suite.folder_of", lambda package: tmp_path / package.name)
    (tmp_path / "other").mkdir()
    (tmp_path / "work").mkdir()
    with pytest.raises(BenchError, match="is no checkout of http-tests/cache-tests"):
        Suite(tmp_path / "work", tmp_path / "other")


def test_only_what_is_not_known_is_unexplained() -> None:
    known = EXPLANATIONS[0].tests[0]
    assert unexplained({known: "for browsers", "new": "Assertion"}) == {"new": "Assertion"}


def test_no_test_is_explained_twice() -> None:
    tests = [test for explanation in EXPLANATIONS for test in explanation.tests]
    assert len(tests) == len(set(tests))


def test_the_docs_explain_the_same() -> None:
    _, _, section = DOCS.read_text().partition("### What cache-tests says")
    rows = [
        (tuple(re.findall(r"`([^`]+)`", cells[0])), cells[2].strip(), cells[1].strip() == "release")
        for line in section.partition("\n## ")[0].splitlines()
        if line.startswith("| `")
        for cells in [line.strip("|").split("|")]
    ]
    assert rows == [(one.tests, one.reason, one.is_of_release) for one in EXPLANATIONS]
