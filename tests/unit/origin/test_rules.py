"""Rules: which files go where and until when, and what is said about a wrong file of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.manifest import FileEntry
from origin.errors import OriginError
from origin.rules import apply_rules, load_rules, parse_rules

RULES = """\
- match: "video/**"
  class: on-demand
- match: "video/*/trailer.mp4"
  class: everywhere
- match: "**/*.map"
  class: region north side
- match: "news/*.html"
  expires: 2027-01-01T01:00:00+01:00
- match: "news/?.html"
  expires: 2027-01-01T00:00:01Z
"""


def applied(path: str) -> tuple[str, int]:
    entry = apply_rules(parse_rules(RULES, "r"), FileEntry(path, 1, "a" * 64, ""))
    return entry.delivery, entry.expires_unix_s


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("index.html", ("", 0)),
        ("video", ("", 0)),
        ("video/a/b.mp4", ("on-demand", 0)),
        ("video/a/trailer.mp4", ("", 0)),
        ("video/trailer.mp4", ("on-demand", 0)),
        ("old/video/a", ("", 0)),
        ("x.map", ("region/north side", 0)),
        ("js/deep/x.map", ("region/north side", 0)),
        ("news/today.html", ("", 1798761600)),
        ("news/1.html", ("", 1798761601)),
        ("news/old/today.html", ("", 0)),
    ],
)
def test_what_matches(path: str, wanted: tuple[str, int]) -> None:
    assert applied(path) == wanted


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]"])
def test_no_rules(text: str) -> None:
    assert parse_rules(text, "r") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("match: x", "r:1: expected a list of rules"),
        ("- match: x\n  class: [", "r:2: not YAML"),
        ("- x", "r:1: expected a rule"),
        (
            "- match: x\n  class: everywhere\n- match: y\n  kind: z",
            "r:4: kind: unknown; a rule has match",
        ),
        ("- class: everywhere", "r:1: match: expected a pattern"),
        ("- match: 7\n  class: everywhere", "r:1: match: expected a pattern"),
        ("- match: x", "r:1: the rule says nothing"),
        ("- match: x\n\n  class: near", "r:3: class: 'near' is not everywhere, on-demand or region NAME"),
        ("- match: x\n  class: region", "r:2: class: 'region' is not"),
        ("- match: x\n  class: region a/b", "r:2: class: 'region a/b' is not"),
        ("- match: x\n  class:", "r:2: class: None is not"),
        ("- match: x\n  expires: soon", "r:2: expires: 'soon' is no time with a zone"),
        ("- match: x\n  expires: 2027-01-01T00:00:00", "r:2: expires: '2027-01-01T00:00:00' is no time"),
        ("- match: x\n  expires: 2027-01-01", "r:2: expires: '2027-01-01' is no time"),
        ("- match: x\n  expires: 1960-01-01T00:00:00Z", "r:2: expires: '1960-01-01T00:00:00Z' is no time"),
        ("- match: x\n  match: y\n  class: everywhere", "r:2: match: written a second time"),
    ],
)
def test_mistakes_are_told_with_file_line_and_field(text: str, message: str) -> None:
    with pytest.raises(OriginError) as caught:
        parse_rules(text, "r")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_files_of_rules(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(RULES)
    assert len(load_rules(tmp_path / "rules")) == 5
    with pytest.raises(OriginError, match="cannot read the rules: No such file"):
        load_rules(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(OriginError, match="not UTF-8"):
        load_rules(tmp_path / "binary")
