"""CSV files as typed records: a column for each field of a dataclass, its type from the annotation."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

_R = TypeVar("_R")


class RecordError(ValueError):
    """A raw file does not have the promised columns or values; the text names file, line and column."""


def read_records(path: Path, kind: type[_R], columns: Mapping[str, str] | None = None) -> tuple[_R, ...]:
    """The rows of a CSV file as records of dataclass `kind`; none when there is no such file.

    `columns` names the columns of fields that are called otherwise. An empty cell of an optional field is
    None. Raises RecordError.
    """
    if not path.exists():
        return ()
    names = columns or {}
    parsers = [
        (item.name, names.get(item.name, item.name), _PARSERS[str(item.type)])
        for item in fields(kind)  # type: ignore[arg-type]
    ]
    records = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in (reader := csv.DictReader(file)):
            try:
                records.append(kind(**{name: parse(row[column]) for name, column, parse in parsers}))
            except KeyError as missing:
                raise RecordError(f"{path}: no column {missing}; docs/architecture.md lists them") from None
            except (TypeError, ValueError) as error:
                raise RecordError(f"{path}, line {reader.line_num}: {error}") from None
    return tuple(records)


def _text(cell: str | None) -> str:
    if cell is None:
        raise TypeError("a cell is missing")
    return cell


def _flag(cell: str | None) -> bool:
    if cell not in ("0", "1"):
        raise ValueError(f"{cell!r} is neither 0 nor 1")
    return cell == "1"


def _optional(cell: str | None) -> float | None:
    return float(_text(cell)) if cell else None


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": lambda cell: int(_text(cell)),
    "float": lambda cell: float(_text(cell)),
    "bool": _flag,
    "float | None": _optional,
}
"""By annotation, as `from __future__ import annotations` keeps it."""
