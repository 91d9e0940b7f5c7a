"""`docs/rfc-nd.md` names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.unit.controller.test_membership_document import CHECKOUT, names_in

DOCUMENT = (CHECKOUT / "docs" / "rfc-nd.md").read_text()
ROWS = re.findall(r"^\| ([^|]*§[^|]*) \| ([^|]+) \| `([^`|]+)` \|$", DOCUMENT, re.M)


def test_every_row_is_seen() -> None:
    assert len(ROWS) == sum("§" in line for line in DOCUMENT.splitlines() if line.startswith("|")) > 70


@pytest.mark.parametrize("test", sorted({test for _, _, test in ROWS}))
def test_every_test_that_the_document_names_exists(test: str) -> None:
    path, name = test.split("::", 1)
    assert name in set(names_in(CHECKOUT / "tests" / path))


def test_the_rfcs_in_question_are_all_there() -> None:
    named = set(re.findall(r"\b(\d{4}) §", " ".join(rfc for rfc, _, _ in ROWS)))
    assert named >= {"4861", "4862", "4443", "4890", "6105", "6583", "6620", "8981", "7404"}
