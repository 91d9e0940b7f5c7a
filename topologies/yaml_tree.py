"""YAML text to plain data that remembers its lines; a safe and small part of YAML 1.1.

Aliases, tags and several documents are refused (a file of a few lines can expand to gigabytes by
aliases), so is a field written twice, which YAML libraries accept in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events

Path = tuple[str | int, ...]
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the text: 1-based `line`, the `path` of the value it spoils, and what is wrong."""

    line: int
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Tree:
    """Plain data and the 1-based line of every value, by its path of keys and indexes.

    A value that could not be read is None and has a problem with its path.
    """

    data: Any
    lines: dict[Path, int]
    problems: tuple[Problem, ...]

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest value around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str, kind: str = "topology") -> Tree:
    """Read one YAML document; `kind` is what problems call it. Every mistake is a problem of the tree; this
    raises nothing."""
    reader = _Reader(kind)
    try:
        data = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reader.report(line, (), f"U+{error.character:04X} is not allowed in YAML; expected a text file")
        data = None
    except yaml.MarkedYAMLError as error:
        where = f" ({error.context})" if error.context else ""
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        reader.report(line, (), f"not YAML: {error.problem}{where}")
        data = None
    except _Stop:
        data = None
    return Tree(data, reader.lines, tuple(reader.problems))


class _Stop(Exception):  # noqa: N818 - ends the reading, its problem is recorded
    pass


def _untagged(event: Any) -> Any:
    event.tag = None
    return event


@dataclass
class _Reader:
    kind: str
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Typed as Any because the stubs leave most of its methods untyped.
        self._scalars: Any = yaml.SafeLoader("")

    def report(self, line: int, path: Path, message: str) -> None:
        self.problems.append(Problem(line, path, message))

    def document(self, stream: Iterator[Any]) -> Any:
        data = None
        documents = 0
        for event in stream:
            line = event.start_mark.line + 1
            if isinstance(event, events.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.report(line, (), f"a second document begins; expected one {self.kind} in a file")
                    raise _Stop
                data = self.value(next(stream), stream, ())
        return data

    def value(self, event: Any, stream: Iterator[Any], path: Path) -> Any:
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            self.report(line, path[:1], f"nested more than {MAX_DEPTH} levels deep; expected a {self.kind}")
            raise _Stop
        if isinstance(event, events.AliasEvent):
            self.report(line, path, f"*{event.anchor} is an alias; expected the value itself (see `layers`)")
            return None
        if event.tag is not None and event.tag != "!":
            self.report(line, path, f"the tag {event.tag} is not supported; expected a plain value")
            self.value(_untagged(event), stream, path)
            return None
        if isinstance(event, events.SequenceStartEvent):
            return self.sequence(stream, path)
        if isinstance(event, events.MappingStartEvent):
            return self.mapping(stream, path)
        return self.scalar(event, path)

    def sequence(self, stream: Iterator[Any], path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(stream), events.SequenceEndEvent):
            items.append(self.value(event, stream, (*path, len(items))))
        return items

    def mapping(self, stream: Iterator[Any], path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(stream), events.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, events.ScalarEvent):
                self.report(line, path, "a field has no name; expected `name: value`")
                raise _Stop
            key = str(event.value)
            if key in items:
                self.report(line, (*path, key), f"written a second time; expected one `{key}`")
                self.value(next(stream), stream, (*path, key))
                continue
            self.lines[(*path, key)] = line
            items[key] = self.value(next(stream), stream, (*path, key))
        return items

    def scalar(self, event: Any, path: Path) -> Any:
        tag = self._scalars.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.rpartition(":")[2]
        if kind not in ("bool", "int", "float", "null"):
            return event.value
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            return self._scalars.construct_object(node)
        except (ValueError, OverflowError):
            self.report(event.start_mark.line + 1, path, f"{event.value[:20]!r} is no usable number")
            return None
