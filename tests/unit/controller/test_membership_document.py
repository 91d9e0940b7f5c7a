"""`docs/rfc-mld.md` names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
DOCUMENT = CHECKOUT / "docs" / "rfc-mld.md"
ROWS = re.findall(
    r"^\| (?P<rfc>[^|]*\d[^|]*) \| (?P<statement>[^|]+) \| `(?P<test>[^`|]+)` \|$", DOCUMENT.read_text(), re.M
)


def names_in(path: Path) -> Iterator[str]:
    """The names of a file's tests, those of a class as `Class::test`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)
            )


def test_every_row_of_the_document_is_seen() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and "§" in line]
    assert len(ROWS) == len(rows) > 70


@pytest.mark.parametrize("test", sorted({test for _, _, test in ROWS}))
def test_every_test_that_the_document_names_exists(test: str) -> None:
    path, name = test.split("::", 1)
    assert name.split("::")[-1].startswith("test_")
    assert name in set(names_in(CHECKOUT / "tests" / path))


def test_the_rfcs_in_question_are_all_there() -> None:
    named = set(re.findall(r"\b(\d{4}) §", " ".join(rfc for rfc, _, _ in ROWS)))
    assert named == {"9777", "2710", "4604", "4607", "7346", "4007"}
