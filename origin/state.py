"""What the origin must remember between runs so that nothing is ever numbered twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from origin.errors import OriginError

_FILE = "origin.json"


@dataclass(frozen=True)
class OriginState:
    """The last version published with its blobs (SHA-256 to size), and the first unused numbers."""

    version: int = 0
    next_toi: int = 1
    next_fdt_instance: int = 0
    blobs: Mapping[str, int] = field(default_factory=dict)


def load_state(folder: Path) -> OriginState:
    """The state in `folder`, the initial one when there is none. Raises OriginError."""
    path = folder / _FILE
    try:
        data = json.loads(path.read_text())
        return OriginState(
            int(data["version"]), int(data["next_toi"]), int(data["next_fdt_instance"]), dict(data["blobs"])
        )
    except FileNotFoundError:
        return OriginState()
    except OSError as error:
        raise OriginError(f"{path}: cannot read it: {error.strerror}; check --state") from None
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(
            f"{path} is damaged ({error!r}); restore it, or start anew with another --state "
            "and new edge stores"
        ) from None


def save_state(folder: Path, state: OriginState) -> None:
    """Replace the state in one step. Raises OriginError."""
    path = folder / _FILE
    aside = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(aside, "w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise OriginError(f"{path}: cannot write it: {error.strerror}; check --state") from None
