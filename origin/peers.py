"""Sessions of others that the site's manifest describes (`--peer FILE`): edges' local content, regions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from delivery.sessions import Session, SessionError, check_sessions
from origin.errors import OriginError
from origin.state import read_given

_TYPES = {field.name: int if field.name in ("port", "tsi") else str for field in fields(Session)}
_REQUIRED = {field.name for field in fields(Session) if field.default is MISSING}


def load_peers(paths: Iterable[Path]) -> tuple[Session, ...]:
    """The sessions in JSON files, each a list of objects. Raises OriginError."""
    return tuple(session for path in paths for session in _load(path))


def check_all(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """The sessions, when an edge can be told of all of them. Raises OriginError."""
    try:
        check_sessions(sessions)
    except SessionError as error:
        raise OriginError(f"{error}; check --peer and --channel") from None
    return sessions


def _load(path: Path) -> tuple[Session, ...]:
    document = read_given(path, "it", "--peer")
    if not isinstance(document, list):
        raise OriginError(f"{path}: expected a list of sessions")
    return tuple(_session(row, f"{path}: session {number}") for number, row in enumerate(document, 1))


def _session(row: Any, where: str) -> Session:
    if not isinstance(row, dict):
        raise OriginError(f"{where}: expected an object")
    for name, value in row.items():
        if name not in _TYPES:
            raise OriginError(f"{where}: {name[:80]} is unknown; there are {', '.join(_TYPES)}")
        if type(value) is not _TYPES[name]:
            kind = "a number" if _TYPES[name] is int else "text"
            raise OriginError(f"{where}: {name} is {kind}, not {value!r}")
    missing = sorted(_REQUIRED - set(row))
    if missing:
        raise OriginError(f"{where}: {', '.join(missing)} is missing")
    return Session(**row)
