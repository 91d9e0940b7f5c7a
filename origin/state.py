"""What the origin must remember between runs so that nothing is ever numbered twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from delivery.publication import Numbers
from origin.errors import OriginError

SITE = "origin"
"""The name of the site's own session."""


def load_state(folder: Path, session: str = SITE) -> Numbers:
    """The numbers of a session in `folder`, the initial ones when there are none. Raises OriginError."""
    path = _path(folder, session)
    try:
        data = read_json(path)
        if data is None:
            return Numbers()
        return Numbers.from_json(data)
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(
            f"{path} is damaged ({error!r}); restore it, or start anew with another --state "
            "and new edge stores"
        ) from None


def save_state(folder: Path, numbers: Numbers, session: str = SITE) -> None:
    """Replace the numbers of a session in one step. Raises OriginError."""
    write_json(_path(folder, session), asdict(numbers))


def read_json(path: Path) -> Any:
    """What a file in the state folder holds, None when it is not there. Raises OriginError, ValueError."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OriginError(f"{path}: cannot read it: {error.strerror}; check --state") from None


def read_given(path: Path, what: str, option: str) -> Any:
    """The JSON document in a file that was named with `option`. Raises OriginError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OriginError(f"{path}: cannot read {what}: {error.strerror}; check {option}") from None
    except ValueError as error:
        raise OriginError(f"{path} is no JSON: {error}") from None


def write_json(path: Path, document: Any, mode: int = 0o644) -> None:
    """Replace a file in the state folder in one step. Raises OriginError."""
    aside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise OriginError(f"{path}: cannot write it: {error.strerror}; check --state") from None


def _path(folder: Path, session: str) -> Path:
    return folder / f"{session}.json"
