"""Topology files: YAML for people, read into a `Topology` with errors that name file, line and field.

`load` takes the name of a topology of the catalogue or the path of a file, and either returns a valid
topology or raises `TopologyError` with every mistake of the file. `docs/topologies.md` describes the
format, `topologies.format` defines it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from topologies import catalogue
from topologies.check import check
from topologies.draft import read_draft
from topologies.spec import Topology
from topologies.yaml_tree import Path, Tree, parse

MAX_FILE_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, order=True)
class FileFinding:
    """One mistake in a file; `line` counts from 1 and is 0 when the file could not be read at all."""

    line: int
    field: str
    message: str


class TopologyError(ValueError):
    """A topology file that cannot be used: `findings` has every mistake, `str()` a line for each."""

    def __init__(self, file: str, findings: Iterable[FileFinding]) -> None:
        self.file = file
        self.findings = tuple(findings)
        super().__init__(file, self.findings)

    def __str__(self) -> str:
        return "\n".join(
            ": ".join(filter(None, (f"{self.file}:{f.line}" if f.line else self.file, f.field, f.message)))
            for f in self.findings
        )


@dataclass(frozen=True, slots=True)
class TopologyDocument:
    """What a file says: a valid topology, and a line for people."""

    topology: Topology
    description: str


def load(path_or_name: str | os.PathLike[str]) -> Topology:
    """The topology of a catalogue name (`metro`) or a file. Raises TopologyError when it cannot be used.

    A name of the catalogue wins over a file of that name (write `./metro` for the file).
    """
    return load_document(path_or_name).topology


def load_document(path_or_name: str | os.PathLike[str]) -> TopologyDocument:
    """As `load`, with the description."""
    given = os.fspath(path_or_name)
    return read_document(_read(catalogue.path_of(given) or FilePath(given), given), given)


def read_document(text: str, file: str) -> TopologyDocument:
    """The topology in the text of a file; `file` is what errors call it. Raises TopologyError."""
    tree = parse(text)
    mistakes = [(problem.line, problem.path, problem.message) for problem in tree.problems]
    if tree.data is None:
        empty = FileFinding(1, "", "the file is empty; expected a topology")
        raise TopologyError(file, [_finding(tree, *mistake) for mistake in mistakes] or [empty])
    draft, wrong = read_draft(tree.data, frozenset(problem.path for problem in tree.problems))
    mistakes += [(tree.line(path), path, message) for path, message in wrong]
    if draft is not None:
        for found in check(draft.topology):
            if not found.needs & draft.lost:
                path = draft.path(found)
                mistakes.append((tree.line(path), path, found.message))
    if draft is None or mistakes:
        raise TopologyError(file, sorted({_finding(tree, *mistake) for mistake in mistakes}))
    return TopologyDocument(draft.topology, draft.description)


def _finding(tree: Tree, line: int, path: Path, message: str) -> FileFinding:
    return FileFinding(line, _field(tree.data, path), message)


def _field(data: Any, path: Path) -> str:
    """The path of a field for people: a link is called by its nodes, a node by its group."""
    if path[:1] == ("links",) and len(path) > 1 and isinstance(path[1], int):
        rest = [str(step) for step in path[2:3] if step and step != "ends" and isinstance(step, str)]
        return ".".join([f"links[{_link_name(data, path[1])}]", *rest])
    return ".".join(str(step) for step in path if isinstance(step, str))


def _link_name(data: Any, index: int) -> str:
    links = data.get("links") if isinstance(data, dict) else None
    entry = links[index] if isinstance(links, list) else None
    ends = entry.get("ends") if isinstance(entry, dict) else entry
    if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, str) for end in ends):
        return "-".join(ends)
    return str(index)


def _read(path: FilePath, given: str) -> str:
    """The text of a file. Raises TopologyError when it is no readable text file of a sane size."""
    try:
        status = path.stat()
        unfit = _unfit(status)
        content = b"" if unfit else path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(given, "does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _unreadable(given, f"cannot be read: {reason}") from None
    if unfit:
        raise _unreadable(given, unfit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"byte {content[error.start]:#04x} is not UTF-8; expected a text file"
        raise TopologyError(given, [FileFinding(line, "", text)]) from None


def _unfit(status: os.stat_result) -> str:
    """Why no text can be read from what has this status; empty when it can."""
    if stat.S_ISDIR(status.st_mode):
        return "is a directory"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if status.st_size > MAX_FILE_BYTES:
        return f"has {status.st_size} bytes, more than {MAX_FILE_BYTES}"
    return ""


def _unreadable(given: str, what: str) -> TopologyError:
    names = catalogue.names()
    close = get_close_matches(given, names, n=1)
    expected = f"expected a topology file or one of: {', '.join(names)}"
    hint = f"did you mean `{close[0]}`?" if close else expected
    return TopologyError(given, [FileFinding(0, "", f"{what}; {hint}")])
