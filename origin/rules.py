"""Rules for files: which edges get them, and until when they are served (`--rules FILE`, YAML).

    - match: "video/**"             # `*` and `?` stay within a folder, `**` does not
      class: on-demand              # or everywhere (the default), or region NAME
    - match: "news/*.html"
      expires: 2027-01-01T00:00:00Z # ISO 8601 with a time zone

Every rule that matches counts; where two say something about the same, the later one wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from delivery.manifest import (
    EVERYWHERE,
    ON_DEMAND,
    REGION,
    FileEntry,
    Manifest,
    ManifestError,
    check_manifest,
)
from origin.errors import OriginError
from topologies.yaml_tree import Tree, parse

_FIELDS = ("match", "class", "expires")


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for the files that `pattern` matches; None: nothing is said about it."""

    pattern: re.Pattern[str]
    delivery: str | None = None
    expires_unix_s: int | None = None


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules in a file. Raises OriginError, which names file, line and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OriginError(f"{path}: cannot read the rules: {error.strerror}; check --rules") from None
    except UnicodeDecodeError:
        raise OriginError(f"{path}: not UTF-8; expected a text file of rules") from None
    return parse_rules(text, str(path))


def parse_rules(text: str, file: str) -> tuple[Rule, ...]:
    """The rules in a text that errors call `file`. Raises OriginError."""
    tree = parse(text, "list of rules")
    for problem in tree.problems:
        raise _error(file, problem.line, _field(problem.path), problem.message)
    if tree.data is None:
        return ()
    if not isinstance(tree.data, list):
        raise _error(file, 1, "", "expected a list of rules, each beginning with `- match: PATTERN`")
    return tuple(_rule(tree, index, row, file) for index, row in enumerate(tree.data))


def apply_rules(rules: Sequence[Rule], entry: FileEntry) -> FileEntry:
    """The file as the rules want it."""
    for rule in rules:
        if not rule.pattern.fullmatch(entry.path):
            continue
        if rule.delivery is not None:
            entry = replace(entry, delivery=rule.delivery)
        if rule.expires_unix_s is not None:
            entry = replace(entry, expires_unix_s=rule.expires_unix_s)
    return entry


def _rule(tree: Tree, index: int, row: Any, file: str) -> Rule:
    def wrong(field: str, message: str) -> OriginError:
        return _error(file, tree.line((index, field) if field else (index,)), field, message)

    if not isinstance(row, dict):
        raise wrong("", "expected a rule, `match: PATTERN` with `class` or `expires`")
    for field in row:
        if field not in _FIELDS:
            raise wrong(field, f"unknown; a rule has {', '.join(_FIELDS)}")
    match, kind, expires = (row.get(field) for field in _FIELDS)
    if not isinstance(match, str) or not match:
        raise wrong("match", "expected a pattern, as in `video/**`")
    if "class" not in row and "expires" not in row:
        raise wrong("", "the rule says nothing; add `class` or `expires`")
    delivery = _delivery(kind)
    if "class" in row and delivery is None:
        raise wrong("class", f"{kind!r} is not everywhere, on-demand or region NAME")
    expires_unix_s = _unix_s(expires)
    if "expires" in row and expires_unix_s is None:
        raise wrong("expires", f"{expires!r} is no time with a zone, as in 2027-01-01T00:00:00Z")
    return Rule(_regex(match), delivery, expires_unix_s)


def _delivery(kind: Any) -> str | None:
    if not isinstance(kind, str):
        return None
    word, _, name = kind.partition(" ")
    if word == "region" and _is_sound(REGION + name.strip()):
        return REGION + name.strip()
    return {"everywhere": EVERYWHERE, "on-demand": ON_DEMAND}.get(kind)


def _is_sound(delivery: str) -> bool:
    entry = FileEntry("x", 1, "0" * 64, "", delivery)
    try:
        check_manifest(Manifest("x", 1, (entry,), ()))
    except ManifestError:
        return False
    return True


def _unix_s(expires: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(expires)
    except (TypeError, ValueError):
        return None
    return None if moment.tzinfo is None or moment.timestamp() < 1 else int(moment.timestamp())


def _regex(pattern: str) -> re.Pattern[str]:
    """A glob over whole paths: `**/` is any number of folders, `**` anything, `*` and `?` stop at `/`."""
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(tokens.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _field(path: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in path if isinstance(step, str))


def _error(file: str, line: int, field: str, message: str) -> OriginError:
    return OriginError(": ".join(filter(None, (f"{file}:{line}", field, message))))
